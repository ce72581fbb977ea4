"""Description of cached objects for people and programs: one mapping of JSON for each."""

from collections.abc import Mapping

from s3mount.disk.contents import CachedObject


def described(cached: CachedObject) -> Mapping[str, object]:
    """Return what `s3mountctl cache ls --json` prints of *cached*; times are in seconds."""
    name = cached.name
    return {
        "bucket": name.bucket,
        "key": name.key,
        "etag": name.etag,
        "size": name.size,
        "present": cached.present,
        "accessed": cached.accessed_ms / 1000,
        "pinned": cached.is_pinned,
        "replaced": cached.is_replaced,
    }

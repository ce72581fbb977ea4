"""Check at the start of a mount with versions: whether its bucket has any.

A listing of versions tells it, unless all are of objects that were put while none were kept. Then
the bucket's configuration is asked (GetBucketVersioning), which not everybody may read.
"""

import logging
import time
from typing import Final, Protocol

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, S3MountError, SetupError
from s3mount.s3.model import NULL_VERSION, Reason, VersionPage, VersionQuery

log = logging.getLogger(__name__)

ROWS: Final = 100  # of the versions that are looked at
_UNKNOWN: Final = (400, 404, 405, 501)  # statuses by which a store refuses what it does not know


class VersionedBucket(Protocol):
    """A bucket that can be asked for its versions."""

    async def list_versions(self, query: VersionQuery) -> VersionPage: ...
    async def has_versioning(self) -> bool: ...


async def check_versioning(config: StoreConfig, bucket: VersionedBucket) -> None:
    """Check that *bucket* has what `--at` or `--versions` shows, and log what is shown.

    Raises SetupError if its versions cannot be listed, or if it keeps none for `--at`.
    """
    option = "--versions" if config.at_ns is None else "--at"
    query = VersionQuery(config.prefix, max_keys=ROWS, reason=Reason.CHECK)
    try:
        page = await bucket.list_versions(query)
    except S3MountError as exc:
        raise SetupError(_refusal(option, exc), bucket=config.bucket, code=exc.code) from exc
    has_any = any(row.version_id != NULL_VERSION for row in page.versions)
    if not has_any:
        _report_none(config, await _has_versioning(bucket))
    if config.at_ns is not None:
        log.info("showing the bucket as it was at %s", show_moment(config.at_ns))


def show_moment(moment_ns: int) -> str:
    """Return *moment_ns*, nanoseconds since 1970, as RFC 3339 has it, in UTC."""
    seconds, fraction = divmod(moment_ns, 10**9)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09}".rstrip("0").rstrip(".") + "Z"


async def _has_versioning(bucket: VersionedBucket) -> bool | None:
    """Return whether the bucket keeps versions, or did; None if the store does not tell."""
    try:
        return await bucket.has_versioning()
    except S3MountError as exc:
        log.debug("the store does not tell whether the bucket keeps versions: %s", exc)
        return None


def _report_none(config: StoreConfig, has_versioning: bool | None) -> None:  # noqa: FBT001 - three values
    """Report that no version was seen: log it, or raise SetupError."""
    if has_versioning:
        return
    name = f"bucket {config.bucket!r}"
    if has_versioning is None:
        log.warning("%s may keep no versions: none was seen, and the store does not tell", name)
    elif config.at_ns is None:
        log.warning("%s keeps no versions: --versions shows none but the current ones", name)
    else:
        raise SetupError(
            f"{name} keeps no versions, so its past cannot be shown: mount it without --at, and "
            "turn versioning on for the future",
            bucket=config.bucket,
        )


def _refusal(option: str, exc: S3MountError) -> str:
    if exc.status in _UNKNOWN:
        return f"{option}: the store does not list versions ({exc}): mount without {option}"
    if isinstance(exc, AccessDenied):
        return f"{option}: listing versions is denied ({exc}): allow s3:ListBucketVersions"
    return f"{option}: versions cannot be listed: {exc}"

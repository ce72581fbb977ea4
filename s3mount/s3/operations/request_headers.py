"""Parts of a request that choose bytes and versions: Range, If-Match, If-None-Match, versionId."""

from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.operations import validation
from s3mount.s3.transport import Fields


def range_header(byte_range: ByteRange) -> Fields:
    """Return the Range header for *byte_range*, which is not empty."""
    return (("range", f"bytes={byte_range.start}-{byte_range.stop - 1}"),)


def version_query(version_id: str | None) -> Fields:
    """Return the query that names *version_id*; nothing without one."""
    return (("versionId", version_id),) if version_id else ()


def condition_header(name: str, version: ObjectVersion) -> Fields:
    """Return If-Match or If-None-Match for *version*; nothing if its ETag cannot be sent."""
    return ((name, f'"{version.etag}"'),) if validation.has_sendable_etag(version) else ()

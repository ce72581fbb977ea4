"""Parts of a request that choose bytes and versions: Range, conditions, versionId."""

from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.operations import validation
from s3mount.s3.operations.modification_time import ModificationTimes, http_date
from s3mount.s3.transport import Fields


def range_header(byte_range: ByteRange) -> Fields:
    """Return the Range header for *byte_range*, which is not empty."""
    return (("range", f"bytes={byte_range.start}-{byte_range.stop - 1}"),)


def version_query(version_id: str | None) -> Fields:
    """Return the query that names *version_id*; nothing without one."""
    return (("versionId", version_id),) if version_id else ()


def match_header(version: ObjectVersion) -> Fields:
    """Return If-Match for *version*, or If-Unmodified-Since if it has no ETag of the store's.

    Nothing if neither can be sent.
    """
    if validation.has_sendable_etag(version):
        return (("if-match", f'"{version.etag}"'),)
    seconds = validation.synthetic_seconds(version.etag)
    if seconds is None or seconds <= 0:
        return ()
    return (("if-unmodified-since", http_date(seconds)),)


def none_match_header(version: ObjectVersion, times: ModificationTimes) -> Fields:
    """Return If-None-Match for *version*, or If-Modified-Since if a 304 to that may be believed."""
    if validation.has_sendable_etag(version):
        return (("if-none-match", f'"{version.etag}"'),)
    seconds = validation.synthetic_seconds(version.etag)
    if seconds is None or not times.may_settle(version):
        return ()
    return (("if-modified-since", http_date(seconds)),)

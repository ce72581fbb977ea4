"""The words of a request: paths, queries and heads.

Knows how S3 wants things written, nothing of connections. Nothing that came from a store goes into a head unchecked.
"""

from urllib.parse import quote

from s3mount.s3.model import ByteRange, ListQuery, ObjectVersion
from s3mount.s3.operations import validation


def quoted(text: str, safe: str = "") -> str:
    """Encoded once, as SigV4 and S3 both want it: of the bytes of a key all but letters, digits, `-_.~` and *safe*."""
    return quote(text, safe, "utf-8", "surrogateescape")


def object_path(base_path: str, key: str) -> str:
    """The path of an object. Dots and empty parts in a key are the key's own, and stay."""
    return f"{base_path}/{quoted(key, '/')}"


def list_query(query: ListQuery) -> str:
    """The query of ListObjectsV2, sorted by name.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    """
    token = f"continuation-token={quoted(query.token)}&" if query.token else ""
    delimiter = f"delimiter={quoted(query.delimiter)}&" if query.delimiter else ""
    start_after = f"&start-after={quoted(query.start_after)}" if query.start_after else ""
    return (
        f"{token}{delimiter}encoding-type=url&list-type=2&max-keys={query.max_keys}"
        f"&prefix={quoted(query.prefix)}{start_after}"
    )


def version_query(version_id: str | None) -> str:
    """The query of a GET for one version of a versioned bucket."""
    return f"versionId={quoted(version_id)}" if version_id else ""


def range_line(span: ByteRange) -> str:
    """The Range header, for a span that is not empty."""
    return f"Range: bytes={span.start}-{span.stop - 1}\r\n"


def condition_line(name: str, version: ObjectVersion) -> str:
    """If-Match or If-None-Match for *version*; nothing where it has no ETag that could be sent."""
    return f'{name}: "{version.etag}"\r\n' if has_sendable_etag(version) else ""


def has_sendable_etag(version: ObjectVersion) -> bool:
    """Whether the ETag is the store's own, and fit for a header: a listing can bring line breaks in one."""
    etag = version.etag
    return (
        bool(etag)
        and etag.isascii()
        and etag.isprintable()
        and '"' not in etag
        and not validation.is_synthetic(etag)
    )

"""HEAD of one object for all that it tells: system metadata, user metadata, checksums, parts.

Nothing here decides what a file is; `head_object` does. So a store without HEAD has no metadata.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
"""

import re
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header
from encodings.aliases import aliases
from typing import Final, NamedTuple

from s3mount.s3.model import ObjectMetadata, Reason
from s3mount.s3.operations import validation
from s3mount.s3.operations.checksum import CHECKSUM_MODE, may_have_md5_etag
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.head_object import HeadObject
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.operations.request_headers import version_query
from s3mount.s3.operations.store_traits import StoreTraits
from s3mount.s3.transport import (
    ErrorResponseError,
    InvalidResponseError,
    StoreRequest,
    content_length,
)

USER_METADATA: Final = "x-amz-meta-"
_WORD: Final = r"=\?[!->@-~]+\?[bBqQ]\?[ ->@-~]*\?="
_WORDS: Final = re.compile(rf"{_WORD}(?:[ \t]*{_WORD})*")  # in linear time, whatever is sent
# header -> member of HeadObject's output
FIELDS: Final[Mapping[str, str]] = {
    "accept-ranges": "AcceptRanges",
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-language": "ContentLanguage",
    "content-length": "ContentLength",
    "content-range": "ContentRange",
    "content-type": "ContentType",
    "etag": "ETag",
    "expires": "Expires",
    "last-modified": "LastModified",
    "x-amz-archive-status": "ArchiveStatus",
    "x-amz-checksum-crc32": "ChecksumCRC32",
    "x-amz-checksum-crc32c": "ChecksumCRC32C",
    "x-amz-checksum-crc64nvme": "ChecksumCRC64NVME",
    "x-amz-checksum-md5": "ChecksumMD5",
    "x-amz-checksum-sha1": "ChecksumSHA1",
    "x-amz-checksum-sha256": "ChecksumSHA256",
    "x-amz-checksum-sha512": "ChecksumSHA512",
    "x-amz-checksum-type": "ChecksumType",
    "x-amz-checksum-xxhash128": "ChecksumXXHASH128",
    "x-amz-checksum-xxhash3": "ChecksumXXHASH3",
    "x-amz-checksum-xxhash64": "ChecksumXXHASH64",
    "x-amz-delete-marker": "DeleteMarker",
    "x-amz-expiration": "Expiration",
    "x-amz-missing-meta": "MissingMeta",
    "x-amz-mp-parts-count": "PartsCount",
    "x-amz-object-lock-event-hold": "ObjectLockEventHold",
    "x-amz-object-lock-event-hold-duration-days": "ObjectLockEventHoldDurationDays",
    "x-amz-object-lock-event-hold-duration-years": "ObjectLockEventHoldDurationYears",
    "x-amz-object-lock-legal-hold": "ObjectLockLegalHoldStatus",
    "x-amz-object-lock-mode": "ObjectLockMode",
    "x-amz-object-lock-retain-until-date": "ObjectLockRetainUntilDate",
    "x-amz-replication-status": "ReplicationStatus",
    "x-amz-request-charged": "RequestCharged",
    "x-amz-restore": "Restore",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "SSEKMSKeyId",
    "x-amz-server-side-encryption-bucket-key-enabled": "BucketKeyEnabled",
    "x-amz-server-side-encryption-customer-algorithm": "SSECustomerAlgorithm",
    "x-amz-server-side-encryption-customer-key-md5": "SSECustomerKeyMD5",
    "x-amz-storage-class": "StorageClass",
    "x-amz-tagging-count": "TagCount",
    "x-amz-version-id": "VersionId",
    "x-amz-website-redirect-location": "WebsiteRedirectLocation",
}


class MetadataQuery(NamedTuple):
    """Object whose metadata is wanted: current or of *version_id*, or one part, from 1 on."""

    key: str
    version_id: str | None = None
    part_number: int | None = None
    reason: Reason = Reason.ATTRIBUTES


class HeadMetadata:
    """Metadata of objects, requested over *runner* from the store of *traits*.

    *head_object* finds out what a refusal without a code means.
    """

    def __init__(
        self, runner: OperationRunner, traits: StoreTraits, head_object: HeadObject
    ) -> None:
        self._runner = runner
        self._traits = traits
        self._head_object = head_object

    def metadata(self, query: MetadataQuery, *, deadline: float) -> ObjectMetadata:
        """See `Operations.metadata`."""
        return self._runner.run(Operation.HEAD, query.key, self._metadata, query, deadline)

    def _metadata(self, query: MetadataQuery, deadline: float) -> ObjectMetadata:
        try:
            return self._head(query, deadline)
        except ErrorResponseError as exc:
            if exc.response.status == 400 and not exc.response.code:  # see `HeadObject`
                self._head_object.head_by_get(
                    query.key, deadline=deadline, reason=query.reason, version_id=query.version_id
                )
            raise

    def _head(self, query: MetadataQuery, deadline: float) -> ObjectMetadata:
        part = () if query.part_number is None else (("partNumber", str(query.part_number)),)
        request = StoreRequest(
            "HeadObject",
            query.key,
            part + version_query(query.version_id),
            signed_headers=CHECKSUM_MODE,
            method="HEAD",
            reason=query.reason,
        )
        with self._runner.transport.send(request, deadline=deadline) as response:
            if response.status not in (200, 206):
                raise read_error(response)
            headers = response.headers
            is_md5 = self._traits.has_md5_etags if may_have_md5_etag(headers) else False
            return object_metadata(self._runner.bucket, query.key, headers, has_md5_etag=is_md5)


def object_metadata(
    bucket: str, key: str, headers: Mapping[str, str], *, has_md5_etag: bool | None = None
) -> ObjectMetadata:
    """Return what *headers* tell. Raises InvalidResponseError if they tell no size or version.

    Of one part, Content-Range tells the size of the object.
    """
    size = content_length(headers)
    if size is None:
        raise InvalidResponseError("HEAD without Content-Length")
    if validation.tells_range(headers):
        size = validation.content_range(206, headers, size).size
    return ObjectMetadata(
        validation.object_stat(bucket, key, headers, size),
        {FIELDS[name]: from_latin1(value) for name, value in headers.items() if name in FIELDS},
        {
            name.removeprefix(USER_METADATA): decode_words(value)
            for name, value in headers.items()
            if name.startswith(USER_METADATA)
        },
        has_md5_etag,
    )


def decode_words(value: str) -> str:
    """Return *value* with its encoded words decoded; as it is if one of them is malformed.

    Header values are read as Latin-1; one that some store sends as bare UTF-8 is decoded as that.
    """
    value = from_latin1(value)
    try:
        return _WORDS.sub(_decoded_words, value) if "=?" in value else value
    except (HeaderParseError, UnicodeError, LookupError):
        return value


def from_latin1(value: str) -> str:
    """Return *value*, which was read as Latin-1, as the UTF-8 that it is; else as it is."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _decoded_words(found: re.Match[str]) -> str:
    """Return the text of encoded words; spaces between them are none of it."""
    parts = decode_header(found[0])
    return "".join(
        part if isinstance(part, str) else part.decode(_charset(charset)) for part, charset in parts
    )


def _charset(name: str | None) -> str:
    """Return *name* if Python lists it: its cache keeps every other name that is asked for."""
    normal = (name or "ascii").lower().replace("-", "_")
    if normal not in aliases and normal not in aliases.values():
        raise LookupError("an unknown charset")
    return normal

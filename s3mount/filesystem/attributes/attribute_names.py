"""Names of extended attributes: the table from what S3 calls a field to what a file shows.

Pure. Names are bytes, as the kernel has them. `docs/attributes.md` has the table for users.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from s3mount.s3.model import SYNTHETIC_ETAG, ObjectMetadata

PREFIX: Final = b"user.s3."
NAME_MAX: Final = 255  # bytes, XATTR_NAME_MAX of limits.h

ETAG: Final = PREFIX + b"etag"
OWNER: Final = PREFIX + b"owner"
PARTS_COUNT: Final = PREFIX + b"parts_count"
PART_SIZE: Final = PREFIX + b"part_size"
STORAGE_CLASS: Final = PREFIX + b"storage_class"
VERSION_ID: Final = PREFIX + b"version_id"
USER_METADATA: Final = PREFIX + b"meta."

# of directories
DIRECTORY_PREFIX: Final = PREFIX + b"prefix"
HIDDEN_KEYS: Final = PREFIX + b"hidden_keys"
ENTRIES: Final = PREFIX + b"entries"
LISTING_AGE: Final = PREFIX + b"listing_age"

# names that goofys and GeeseFS give: answered, not listed
FOREIGN_ETAG: Final = b"s3.etag"
FOREIGN_STORAGE_CLASS: Final = b"s3.storage-class"

# member of HeadObject's output -> name
OF_MEMBER: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        member: PREFIX + name
        for member, name in {
            "ArchiveStatus": b"archive_status",
            "BucketKeyEnabled": b"bucket_key_enabled",
            "CacheControl": b"cache_control",
            "ChecksumCRC32": b"checksum_crc32",
            "ChecksumCRC32C": b"checksum_crc32c",
            "ChecksumCRC64NVME": b"checksum_crc64nvme",
            "ChecksumMD5": b"checksum_md5",
            "ChecksumSHA1": b"checksum_sha1",
            "ChecksumSHA256": b"checksum_sha256",
            "ChecksumSHA512": b"checksum_sha512",
            "ChecksumType": b"checksum_type",
            "ChecksumXXHASH128": b"checksum_xxhash128",
            "ChecksumXXHASH3": b"checksum_xxhash3",
            "ChecksumXXHASH64": b"checksum_xxhash64",
            "ContentDisposition": b"content_disposition",
            "ContentEncoding": b"content_encoding",
            "ContentLanguage": b"content_language",
            "ContentType": b"content_type",
            "Expiration": b"expiration",
            "Expires": b"expires",
            "LastModified": b"last_modified",
            "MissingMeta": b"missing_meta",
            "ObjectLockEventHold": b"object_lock_event_hold",
            "ObjectLockEventHoldDurationDays": b"object_lock_event_hold_duration_days",
            "ObjectLockEventHoldDurationYears": b"object_lock_event_hold_duration_years",
            "ObjectLockLegalHoldStatus": b"object_lock_legal_hold_status",
            "ObjectLockMode": b"object_lock_mode",
            "ObjectLockRetainUntilDate": b"object_lock_retain_until_date",
            "ReplicationStatus": b"replication_status",
            "Restore": b"restore",
            "SSECustomerAlgorithm": b"sse_customer_algorithm",
            "SSECustomerKeyMD5": b"sse_customer_key_md5",
            "SSEKMSKeyId": b"sse_kms_key_id",
            "ServerSideEncryption": b"server_side_encryption",
            "StorageClass": b"storage_class",
            "TagCount": b"tag_count",
            "VersionId": b"version_id",
            "WebsiteRedirectLocation": b"website_redirect_location",
        }.items()
    }
)
# members that are of the response, or that stat(2) and other attributes tell
NOT_SHOWN: Final = frozenset(
    {
        "AcceptRanges",
        "ContentLength",  # st_size
        "ContentRange",
        "DeleteMarker",
        "ETag",  # as the listing has it
        "PartsCount",
        "RequestCharged",
    }
)
_FROM_HEAD: Final = frozenset(OF_MEMBER.values())


def takes_head(name: bytes) -> bool:
    """Whether a HEAD may tell the attribute *name*."""
    return name in _FROM_HEAD or name.startswith(USER_METADATA)


def values_of(metadata: ObjectMetadata) -> dict[bytes, bytes]:
    """Return the attributes that *metadata* tells, by name. What can be no name is left out."""
    values = {
        name: value_of(metadata.fields[member])
        for member, name in OF_MEMBER.items()
        if member in metadata.fields
    }
    for key, text in metadata.user.items():
        name = USER_METADATA + value_of(key)
        if len(name) <= NAME_MAX and b"\0" not in name:
            values[name] = value_of(text)
    return values


def told_etag(etag: str) -> str | None:
    """Return *etag*; None if the store gave none."""
    return etag if etag and not etag.startswith(SYNTHETIC_ETAG) else None


def value_of(text: str) -> bytes:
    """Return *text* as the value of an attribute, in UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # some charsets of RFC 2047 decode to halves of characters
        return text.encode("utf-8", "replace")

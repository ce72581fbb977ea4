"""Values of the store interface: what a store is asked for, and what it returns.

Knows no library and no I/O. A key is a `str`, decoded from UTF-8 with `surrogateescape`, so any
bytes survive the way from a listing to a request. An ETag is without quotes and without `W/`.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from enum import Enum, StrEnum
from typing import Final, NamedTuple

from s3mount.frozen_dataclass import dataclass

SYNTHETIC_ETAG: Final = "s3mount-stand-in-"  # begins the ETag of a version that the store gave none
PAGE_SIZE: Final = 1000  # rows of a page: as many as Amazon S3 sends at most
STANDARD: Final = "STANDARD"  # the storage class of an object whose response names none

# what Apache (mod_deflate) and Jetty append to the ETag of a response that they might compress
_CODING_SUFFIX: Final = re.compile(r"(--?|;)gzip$")
_HEX_DIGITS: Final = re.compile(r"[0-9A-Fa-f]{32}(-\d+)?")  # an MD5, or a multipart upload's ETag


class _VersionIdentity(NamedTuple):
    """Fields that make two versions equal. A tuple, since versions are hashed with every open."""

    bucket: str
    key: str
    etag: str
    size: int


class ObjectVersion(_VersionIdentity):
    """One immutable state of one object: the identity of inodes, blocks and `If-Match`.

    *size* is in bytes. *etag* is empty if the store gives none. *version_id* is None unless the
    store has told it. *is_replaced*: the store has said that another version is current, so this
    one is read by its version id. *is_doubted*: the store has contradicted itself about its size
    or its ETag, which is then no evidence of its bytes. None takes part in equality or hash.
    """

    version_id: str | None = None
    is_replaced: bool = False
    is_doubted: bool = False

    def with_version_id(
        self, version_id: str | None, *, is_replaced: bool = False
    ) -> "ObjectVersion":
        """The same version, of which this is known."""
        version = ObjectVersion(*self)
        version.version_id = version_id
        version.is_replaced = is_replaced
        version.is_doubted = self.is_doubted
        return version

    def doubted(self) -> "ObjectVersion":
        """The same version, about which the store has contradicted itself."""
        version = self.with_version_id(self.version_id, is_replaced=self.is_replaced)
        version.is_doubted = True
        return version

    def is_same(self, other: "ObjectVersion") -> bool:
        """Whether *other*, of the same key, is this version, however their ETags are spelt."""
        return self.size == other.size and is_same_etag(self.etag, other.etag)


def is_same_etag(one: str, other: str) -> bool:
    """Whether two plain ETags are spellings of one: a proxy's suffix, or the case of hex digits.

    A body that was compressed has another size, which each caller compares too.
    """
    return one == other or _bare_etag(one) == _bare_etag(other)


def _bare_etag(etag: str) -> str:
    bare = _CODING_SUFFIX.sub("", etag)
    return bare.lower() if _HEX_DIGITS.fullmatch(bare) else bare


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """Bytes of an object, half-open."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """The attributes of an object, from the headers of a HEAD or a GET.

    *version_id* is None if the bucket has no versions. *is_archived*: the bytes cannot be read
    before a restore. *is_size_certain* unless only the length of a body tells the size: a page of a
    proxy has one, too.
    """

    version: ObjectVersion
    mtime_ns: int
    storage_class: str = STANDARD
    version_id: str | None = None
    is_archived: bool = False
    is_size_certain: bool = True


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """All that HeadObject tells of one version.

    *fields* are the members of HeadObject's output that the response has, by their names there
    ("ContentType"), as text. *user* is the user metadata, by name in lower case, decoded as
    RFC 2047 has it. *has_md5_etag* is whether the ETag is made of MD5s, as far as this object and
    others of the store tell; None if nothing does.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """

    stat: ObjectStat
    fields: Mapping[str, str]
    user: Mapping[str, str]
    has_md5_etag: bool | None = None


class ObjectPart(NamedTuple):
    """One part of the upload of an object: its *size* in bytes.

    *parts_count* is how many there are, None if the store does not tell or it was uploaded whole.
    *checksums* are by the names of HeadObject's output. *etag* is the object's, or the part's own.
    """

    size: int
    parts_count: int | None
    checksums: Mapping[str, str]
    etag: str


TARGET_MAX: Final = 4095  # bytes of a symbolic link's target: PATH_MAX without its NUL


class PosixAttributes(NamedTuple):
    """Attributes of an uploaded file in the user metadata of a version; None: it tells none.

    *mode* has permission bits only. *mtime_ns* is not negative. *target* is that of a symbolic
    link, of 1 to TARGET_MAX bytes without a NUL, or "" if the body has it. *uploaded_at*, in
    seconds since 1970: a later upload of equal bytes, by its Last-Modified, may have others.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    target: str | None = None
    uploaded_at: int = 0


class ListedObject(NamedTuple):
    """One `Contents` element of a listing page. A tuple, since a page has a thousand.

    *version_id* is None in a listing of current objects, which tells none. *owner* is the id of
    the account, None unless the listing was requested with owners.
    """

    key: str
    size: int
    mtime_ns: int
    etag: str
    storage_class: str = STANDARD
    version_id: str | None = None
    owner: str | None = None


class Reason(StrEnum):
    """Why a request is sent, for the request log.

    READ: a reader waits. READAHEAD: a reader is expected at these bytes. SIBLING: a small file that
    is likely to be read next. WALK: a scan of a subtree. LISTING: a page of a directory. LOOKUP: a
    name. REVALIDATE: whether a version is current. HEDGE: a read whose response is late. CHECK: the
    start, and probes of what the store supports. WARM: a user asked for it ahead. ATTRIBUTES: a
    program reads extended attributes. RESTORE: a user asks whether it is archived, and restores
    it. VERIFY: a user has an object verified.
    """

    READ = "read"
    READAHEAD = "readahead"
    SIBLING = "sibling"
    WALK = "walk"
    LISTING = "listing"
    LOOKUP = "lookup"
    REVALIDATE = "revalidate"
    HEDGE = "hedge"
    CHECK = "check"
    WARM = "warm"
    ATTRIBUTES = "attributes"
    RESTORE = "restore"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The page of a listing to request.

    *start_after* begins a listing behind a key; *token* continues one. *delimiter* is "/", or ""
    for everything below *prefix*. *max_keys* are the rows to request; PAGE_SIZE stands for as many
    as `--list-page-size` says. *has_owners*: the owners of objects are to be read. *reason* says
    why, and is no part of what is requested.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    """

    prefix: str
    delimiter: str = "/"
    start_after: str | None = None
    token: str | None = None
    max_keys: int = PAGE_SIZE
    has_owners: bool = False
    reason: Reason = field(default=Reason.LISTING, compare=False)


NULL_VERSION: Final = "null"  # the version id of an object that was put while none were kept


class ListedVersion(NamedTuple):
    """One version of an object, or one delete marker, of a page of versions.

    *is_latest*: it is current. A delete marker has no *size*, *etag* and *storage_class*. Of the
    version `NULL_VERSION` there is one at most, which the next one of that id replaces.
    """

    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    mtime_ns: int
    size: int = 0
    etag: str = ""
    storage_class: str = STANDARD


class VersionMarker(NamedTuple):
    """Position in a listing of versions: behind a version of *key*, or behind all of them."""

    key: str
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class VersionQuery:
    """The page of a listing of versions to request, behind *marker*.

    *max_keys* bounds versions, delete markers and common prefixes together.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
    """

    prefix: str
    delimiter: str = ""
    marker: VersionMarker | None = None
    max_keys: int = 1000
    reason: Reason = field(default=Reason.LISTING, compare=False)


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of versions, in the store's order, and common prefixes; *next_marker* continues it.

    A common prefix says that there is a version or a delete marker below it, of whatever time.
    """

    versions: list[ListedVersion]
    prefixes: list[str]
    next_marker: VersionMarker | None


class RowOddity(Enum):
    """Kind of an odd row of a listing page; the value says for the log what is made of the row."""

    NO_KEY = "a row without a key is skipped"
    OUTSIDE = "a row outside of the prefix is skipped"
    REPEATED = "a row that the page was to begin after is skipped"
    OWN_PREFIX = "the prefix itself, as a common prefix, is skipped"
    DIRECTORY_OBJECT = "a directory as an object is shown as a directory"
    BELOW_DELIMITER = "what is below a directory is shown as the directory"
    NO_DELIMITER = "a common prefix without its delimiter is shown as a directory"
    NO_BUCKET = "a name that no bucket can have is skipped"
    NO_TIME = "a time that is none is shown as 1970-01-01"
    NO_VERSION = "an object without a valid size, ETag or time is requested by itself"
    NOT_FOUND_OUT = "an object whose size and version were not found out is skipped"


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a listing: objects, and common prefixes (each ends with the delimiter).

    *next_token* continues the listing; None on the last page. *odd_rows* counts rows that were
    skipped, or read otherwise than they stand. *incomplete* has keys of objects whose size or
    version the page does not tell, each with its index in *objects*. *is_partial*: objects were
    left out, so no absence follows from the page.
    """

    objects: list[ListedObject]
    prefixes: list[str]
    next_token: str | None
    odd_rows: tuple[tuple[RowOddity, int], ...] = ()
    incomplete: tuple[tuple[int, str], ...] = ()
    is_partial: bool = False

    @property
    def has_lost_objects(self) -> bool:
        """Whether objects were left out that are certainly there."""
        return any(oddity is RowOddity.NOT_FOUND_OUT for oddity, _ in self.odd_rows)


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """The store that serves: *transport* is what sends requests.

    *endpoint* is its scheme and host, and the path before the bucket, if it has one.
    """

    endpoint: str
    region: str
    transport: str


@dataclass(frozen=True, slots=True)
class NotModified:
    """The result of a revalidation that found the same version (304)."""


@dataclass(frozen=True, slots=True)
class Modified:
    """The result of a revalidation that found another version.

    *head* is its first bytes, as many as were requested or the object has.
    """

    stat: ObjectStat
    head: bytes


Revalidation = NotModified | Modified

"""Some entries of one directory, in columns: what a million names must fit into.

Immutable but for the inode numbers, which move on when two live ones collide. Sorted by name, so that a name is found by
bisection. An entry is (this, index); a directory has the size -1.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from operator import itemgetter
from typing import Final, NamedTuple

from s3mount.filesystem.names import decode, encode
from s3mount.s3.model import ObjectVersion

DIRECTORY = -1  # the size that marks a directory
ENTRIES_MAX = 65_535  # an index has 16 bits in the inode table and in offsets of open directories
_MD5 = 32  # hex digits of the usual ETag

# What memory costs, in bytes, as measured on 64-bit CPython: one object with its empty columns; an entry in the fixed columns;
# an entry's share of the inode table, once the kernel refers to it; a str in a tuple of ETags beside its characters.
_WEIGHT = 800
_ENTRY_WEIGHT = 4 + 8 + 8 + 8
_INODE_WEIGHT = 120
_ETAG_WEIGHT = 57
_VERSION_ID_WEIGHT = 300  # with its dict

_NO_VERSION_IDS: Final[Mapping[int, str]] = {}


class Entry(NamedTuple):
    """One entry on its way into the columns."""

    name: bytes
    size: int = DIRECTORY
    mtime_ns: int = 0
    etag: str = ""
    version_id: str | None = None


_VERSION_ID: Final = itemgetter(Entry._fields.index("version_id"))


class EntryPage:
    """At most `ENTRIES_MAX` entries of the directory *prefix*, as the store told them at *as_of* (clock seconds).

    *weight* is what they cost in memory, in bytes. *live* counts the inodes that point here, and *number* names this among them;
    both belong to the inode table. Raises ValueError if there are more rows.
    """

    __slots__ = (
        "_etags",
        "_inodes",
        "_names",
        "_stops",
        "_version_ids",
        "as_of",
        "bucket",
        "live",
        "mtimes",
        "number",
        "prefix",
        "sizes",
        "weight",
    )

    def __init__(self, bucket: str, prefix: str, rows: Iterable[Entry], as_of: float) -> None:
        ordered = sorted(rows)
        if len(ordered) > ENTRIES_MAX:
            raise ValueError(f"{len(ordered)} entries in one page; the limit is {ENTRIES_MAX}")
        self.bucket = bucket
        self.prefix = prefix
        self.as_of = as_of
        self._names = b"".join(row.name for row in ordered)
        self._stops = array("I", accumulate((len(row.name) for row in ordered), initial=0))
        self.sizes = array("q", [row.size for row in ordered])
        self.mtimes = array("q", [row.mtime_ns for row in ordered])
        self._etags = _pack_etags(["0" * _MD5 if row.size < 0 else row.etag for row in ordered])
        self._inodes = array("Q", inode_numbers(bucket, prefix, ordered))
        self._version_ids = _version_ids(ordered)
        etags = (
            0
            if isinstance(self._etags, bytes)
            else sum(map(len, self._etags)) + (_ETAG_WEIGHT - 16) * len(ordered)
        )
        self.weight = (
            _WEIGHT + len(self._names) + etags + (16 + _ENTRY_WEIGHT + _INODE_WEIGHT) * len(ordered)
        ) + _VERSION_ID_WEIGHT * len(self._version_ids)
        self.live = 0
        self.number = 0

    def __len__(self) -> int:
        return len(self.sizes)

    def name(self, index: int) -> bytes:
        return self._names[self._stops[index] : self._stops[index + 1]]

    def is_directory(self, index: int) -> bool:
        return self.sizes[index] < 0

    def etag(self, index: int) -> str:
        """The ETag of a file."""
        if isinstance(self._etags, bytes):
            return self._etags[16 * index : 16 * index + 16].hex()
        return self._etags[index]

    def key(self, index: int) -> str:
        """The key of a file; of a directory, its prefix without the slash."""
        return self.prefix + decode(self.name(index))

    def version(self, index: int) -> ObjectVersion:
        version = ObjectVersion(self.bucket, self.key(index), self.etag(index), self.sizes[index])
        version_id = self._version_ids.get(index)
        return version if version_id is None else version.with_version_id(version_id)

    def inode(self, index: int) -> int:
        return self._inodes[index]

    @property
    def inodes(self) -> Sequence[int]:
        """All inode numbers, by index."""
        return self._inodes

    def move_inode(self, index: int, inode: int) -> None:
        """Give the entry another inode number, its own being taken."""
        self._inodes[index] = inode

    def find(self, name: bytes) -> int | None:
        """The index of *name*."""
        index = bisect_left(range(len(self.sizes)), name, key=self.name)
        return index if index < len(self.sizes) and self.name(index) == name else None

    @property
    def first(self) -> bytes:
        return self.name(0)

    @property
    def last(self) -> bytes:
        return self.name(len(self.sizes) - 1)

    def subset(self, places: Sequence[int]) -> "EntryPage":
        """The entries at *places*, which rise, as a page of their own."""
        rows = [
            Entry(
                self.name(at),
                self.sizes[at],
                self.mtimes[at],
                "" if self.is_directory(at) else self.etag(at),
                self._version_ids.get(at),
            )
            for at in places
        ]
        return EntryPage(self.bucket, self.prefix, rows, self.as_of)

    def hashes(self) -> "array[int]":
        """A hash of each entry's name and kind, by index; see `name_hash`."""
        return array(
            "q",
            [
                name_hash(self.name(index), self.sizes[index] < 0)
                for index in range(len(self.sizes))
            ],
        )

    def is_same(self, index: int, other: "EntryPage", at: int) -> bool:
        """Whether two entries are one inode: the same directory, or the same version of the same object."""
        return (self is other and index == at) or (
            self.prefix == other.prefix
            and self.sizes[index] == other.sizes[at]
            and self.name(index) == other.name(at)
            and self.etag(index) == other.etag(at)
        )


def _version_ids(rows: list[Entry]) -> Mapping[int, str]:
    """The version ids by index. Only lookups tell them, so most pages have none."""
    if not any(map(_VERSION_ID, rows)):
        return _NO_VERSION_IDS
    return {index: row.version_id for index, row in enumerate(rows) if row.version_id is not None}


def name_hash(name: bytes, is_directory: bool) -> int:  # noqa: FBT001 - a key of two parts
    """64 bits that stand for a name and its kind, the same for the life of the process."""
    return hash(name + b"/" if is_directory else name)


def _pack_etags(etags: list[str]) -> bytes | tuple[str, ...]:
    """16 bytes each where all are MD5s; else the strings themselves."""
    if any(len(etag) != _MD5 for etag in etags):
        return tuple(etags)
    text = "".join(etags)
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        return tuple(etags)
    return (
        packed if packed.hex() == text else tuple(etags)
    )  # upper case would not come back as it was


def inode_numbers(bucket: str, prefix: str, rows: list[Entry]) -> Iterable[int]:
    """A hash of each identity, so that numbers are stable over remounts: 63 bits (signed in some tools), never 0 or the root's 1."""
    seed = blake2b(encode(f"{bucket}/{prefix}"), digest_size=8)
    for row in rows:
        identity = seed.copy()
        identity.update(b"%b\0%b\0%d" % (row.name, row.etag.encode(), row.size))
        yield int.from_bytes(identity.digest(), "little") >> 1 | 2

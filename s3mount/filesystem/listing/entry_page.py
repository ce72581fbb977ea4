"""Page of a directory's entries in columns: what a million names must fit into.

An entry is (page, index); a directory has the size -1. Entries are sorted by name, so that a name
is found by bisection. Immutable but for two things. The inode table writes the column of inode
numbers, where a number moves on if two live ones collide, and the count of references. And a file
of which the listing told another version than the store has (`corrections`) is corrected in place,
as long as the kernel has none of its bytes.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import accumulate
from operator import itemgetter
from sys import byteorder
from typing import Final, NamedTuple

from s3mount.filesystem import weights
from s3mount.filesystem.names import decode, encode
from s3mount.s3.model import STANDARD, ObjectStat, ObjectVersion

DIRECTORY = -1  # the size that marks a directory
ENTRIES_MAX = 65_535  # an index has 16 bits in the inode table and in offsets of open directories
INODE_NUMBERS = 1 << 60  # up to which CPython's integers take 32 bytes, not 48
_MD5 = 32  # hex digits of the usual ETag
_BYTE_MAX = 255


class Entry(NamedTuple):
    """One entry on its way into the columns."""

    name: bytes
    size: int = DIRECTORY
    mtime_ns: int = 0
    etag: str = ""
    version_id: str | None = None
    storage_class: str = STANDARD
    owner: str | None = None


_VERSION_ID: Final = itemgetter(Entry._fields.index("version_id"))
_NO_VERSION_IDS: Final[dict[int, str]] = {}  # shared by pages that were never corrected
_STORAGE_CLASS: Final = itemgetter(Entry._fields.index("storage_class"))
_OWNER: Final = itemgetter(Entry._fields.index("owner"))


class Columns(NamedTuple):
    """The entries of a page that has no more of them than these columns."""

    names: bytes
    stops: "array[int]"
    sizes: "array[int]"
    mtimes: "array[int]"
    inodes: "array[int]"
    etags: bytes | tuple[str, ...]


class EntryPage:
    """At most `ENTRIES_MAX` entries of the directory *prefix*, requested at *requested_at*.

    They are of a listing, unless the page is *is_looked_up*: then a lookup brought its one entry.
    *weight* is their cost in memory, in bytes. The inode table writes *reference_count*, how many
    inodes stand for an entry here, and *table_number*, its number of this page. Raises ValueError
    if there are more entries.
    """

    __slots__ = (
        "_corrected_etags",
        "_etags",
        "_inodes",
        "_names",
        "_owners",
        "_stops",
        "_storage_classes",
        "_version_ids",
        "bucket",
        "is_looked_up",
        "mtimes",
        "prefix",
        "reference_count",
        "requested_at",
        "sizes",
        "table_number",
        "weight",
    )

    def __init__(
        self,
        bucket: str,
        prefix: str,
        entries: Iterable[Entry],
        requested_at: float,
        *,
        is_looked_up: bool = False,
    ) -> None:
        ordered = sorted(entries)
        if len(ordered) > ENTRIES_MAX:
            raise ValueError(f"{len(ordered)} entries in one page; the limit is {ENTRIES_MAX}")
        self.bucket = bucket
        self.prefix = prefix
        self.requested_at = requested_at
        self.is_looked_up = is_looked_up
        self._names = b"".join(entry.name for entry in ordered)
        self._stops = array("I", accumulate((len(entry.name) for entry in ordered), initial=0))
        self.sizes = array("q", [entry.size for entry in ordered])
        self.mtimes = array("q", [entry.mtime_ns for entry in ordered])
        self._etags = _pack_etags(["0" * _MD5 if e.size < 0 else e.etag for e in ordered])
        self._inodes = array("Q", inode_numbers(bucket, prefix, ordered))
        self._version_ids = _version_ids(ordered)
        self._storage_classes = _WordColumn.of(list(map(_STORAGE_CLASS, ordered)), STANDARD)
        self._owners = _WordColumn.of(list(map(_OWNER, ordered)), None)
        self._corrected_etags: dict[int, str] | None = None
        self.weight = weights.PAGE + len(self._names) + self._entries_weight()
        self.reference_count = 0
        self.table_number = 0

    @classmethod
    def of_columns(
        cls, bucket: str, prefix: str, columns: Columns, requested_at: float
    ) -> "EntryPage":
        """The page of a listing that had these `columns`."""
        page = cls.__new__(cls)
        page._set(bucket, prefix, columns, requested_at)  # noqa: SLF001 - its own class
        return page

    def _set(self, bucket: str, prefix: str, columns: Columns, requested_at: float) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.requested_at = requested_at
        self.is_looked_up = False
        self._names, self._stops, self.sizes, self.mtimes, self._inodes, self._etags = columns
        self._version_ids = _NO_VERSION_IDS
        self._storage_classes = self._owners = None
        self._corrected_etags = None
        self.reference_count = 0
        self.table_number = 0
        self.weight = weights.PAGE + len(self._names) + self._entries_weight()

    def columns(self) -> Columns | None:
        """All that it has, but for what it is of; None if it has more."""
        others = self._storage_classes, self._owners, self._corrected_etags
        if self.is_looked_up or self._version_ids or any(each is not None for each in others):
            return None
        return Columns(self._names, self._stops, self.sizes, self.mtimes, self._inodes, self._etags)

    def __len__(self) -> int:
        return len(self.sizes)

    def name(self, index: int) -> bytes:
        return self._names[self._stops[index] : self._stops[index + 1]]

    def is_directory(self, index: int) -> bool:
        return self.sizes[index] < 0

    def etag(self, index: int) -> str:
        """The ETag of a file."""
        if self._corrected_etags is not None and index in self._corrected_etags:
            return self._corrected_etags[index]
        if isinstance(self._etags, bytes):
            return self._etags[16 * index : 16 * index + 16].hex()
        return self._etags[index]

    def storage_class(self, index: int) -> str:
        """The storage class of a file, as it was listed."""
        column = self._storage_classes
        return STANDARD if column is None else column[index] or STANDARD

    def owner(self, index: int) -> str | None:
        """The id of the account that owns a file, if it was listed."""
        return None if self._owners is None else self._owners[index]

    def version_id(self, index: int) -> str | None:
        """The version id of a file, if it is known."""
        return self._version_ids.get(index)

    def key(self, index: int) -> str:
        """The key of a file; of a directory, its prefix without the slash."""
        return self.prefix + decode(self.name(index))

    def version(self, index: int) -> ObjectVersion:
        version = ObjectVersion(self.bucket, self.key(index), self.etag(index), self.sizes[index])
        version_id = self._version_ids.get(index)
        if version_id is not None:
            version = version.with_version_id(version_id)
        return version.doubted() if self.is_corrected(index) else version

    def inode(self, index: int) -> int:
        return self._inodes[index]

    @property
    def inodes(self) -> Sequence[int]:
        """All inode numbers, by index."""
        return self._inodes

    def index_of(self, inode: int) -> int | None:
        """The index of the entry with the inode number *inode*: 10 µs for a thousand entries."""
        column, number = self._inodes.tobytes(), inode.to_bytes(8, byteorder)
        at = column.find(number)
        while at % 8 and at >= 0:  # across two numbers
            at = column.find(number, at + 1)
        return at // 8 if at >= 0 else None

    def move_inode(self, index: int, inode: int) -> None:
        """Give the entry another inode number; for the inode table only."""
        self._inodes[index] = inode

    def correct(self, index: int, stat: ObjectStat) -> None:
        """Make a file the version of *stat*, under its inode number."""
        self.sizes[index] = stat.version.size
        self.mtimes[index] = stat.mtime_ns
        if self._corrected_etags is None:
            self._corrected_etags, self._version_ids = {}, self._version_ids.copy()
        self._corrected_etags[index] = stat.version.etag
        self._version_ids.pop(index, None)
        if stat.version_id is not None:
            self._version_ids[index] = stat.version_id

    def is_corrected(self, index: int) -> bool:
        return self._corrected_etags is not None and index in self._corrected_etags

    def find(self, name: bytes) -> int | None:
        """The index of *name*."""
        index = bisect_left(range(len(self.sizes)), name, key=self.name)
        return index if index < len(self.sizes) and self.name(index) == name else None

    @property
    def first_name(self) -> bytes:
        return self.name(0)

    @property
    def last_name(self) -> bytes:
        return self.name(len(self.sizes) - 1)

    def subset(self, indices: Sequence[int]) -> "EntryPage":
        """The entries at *indices*, which rise, as a page of their own."""
        entries = [
            Entry(
                self.name(index),
                self.sizes[index],
                self.mtimes[index],
                "" if self.is_directory(index) else self.etag(index),
                self._version_ids.get(index),
                self.storage_class(index),
                self.owner(index),
            )
            for index in indices
        ]
        page = EntryPage(
            self.bucket, self.prefix, entries, self.requested_at, is_looked_up=self.is_looked_up
        )
        page._corrected_etags = {
            at: self.etag(index) for at, index in enumerate(indices) if self.is_corrected(index)
        }
        page._version_ids = page._version_ids.copy()
        return page

    def hashes(self) -> "array[int]":
        """A hash of each entry's name and kind, by index; see `name_hash`."""
        names = map(self.name, range(len(self.sizes)))
        pairs = zip(names, self.sizes, strict=True)
        return array("q", [name_hash(name, size < 0) for name, size in pairs])

    def is_same(self, index: int, other: "EntryPage", at: int) -> bool:
        """Whether two entries are one inode: the same directory, or one version of an object."""
        return (self is other and index == at) or (
            self.prefix == other.prefix
            and self.sizes[index] == other.sizes[at]
            and self.name(index) == other.name(at)
            and self.etag(index) == other.etag(at)
            and self.bucket == other.bucket
        )

    def _entries_weight(self) -> int:
        fixed = (weights.COLUMNS + weights.INODE) * len(self.sizes)
        fixed += weights.VERSION_ID * len(self._version_ids)
        for column in (self._storage_classes, self._owners):
            fixed += 0 if column is None else column.weight
        if isinstance(self._etags, bytes):
            return fixed + len(self._etags)
        return fixed + weights.ETAG * len(self._etags) + sum(map(len, self._etags))


def _version_ids(entries: list[Entry]) -> dict[int, str]:
    """The known version ids by index; most pages have none."""
    if not any(map(_VERSION_ID, entries)):
        return _NO_VERSION_IDS
    ids = ((index, entry.version_id) for index, entry in enumerate(entries))
    return {index: version_id for index, version_id in ids if version_id is not None}


class _WordColumn:
    """Column of words of which there are few: a number for each entry, an index into *words*.

    A number takes a byte, or two if there are more words than that (S3 has 11 storage classes).
    """

    __slots__ = ("_column", "_words")

    def __init__(self, column: "bytes | array[int]", words: tuple[str | None, ...]) -> None:
        self._column = column
        self._words = words

    def __getitem__(self, index: int) -> str | None:
        return self._words[self._column[index]]

    @property
    def weight(self) -> int:
        """The cost in memory, in bytes."""
        words = sum(weights.ETAG + len(word) for word in self._words[1:] if word is not None)
        return memoryview(self._column).nbytes + words

    @classmethod
    def of(cls, column: list[str | None], default: str | None) -> "_WordColumn | None":
        """*column* in numbers; None if all are *default*, as in most pages."""
        found = set(column)
        if found <= {default}:
            return None
        others = sorted(word for word in found if word is not None and word != default)
        words = (default, *others)
        numbers = {word: number for number, word in enumerate(words)}
        indices = (numbers.get(word, 0) for word in column)
        return cls(bytes(indices) if len(others) <= _BYTE_MAX else array("H", indices), words)


def name_hash(name: bytes, is_directory: bool) -> int:  # noqa: FBT001 - a key of two parts
    """64 bits that stand for a name and its kind, the same for the life of the process."""
    return hash(name + b"/" if is_directory else name)


def _pack_etags(etags: list[str]) -> bytes | tuple[str, ...]:
    """16 bytes for each if all are MD5s; else the strings themselves."""
    if any(len(etag) != _MD5 for etag in etags):
        return tuple(etags)
    text = "".join(etags)
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        return tuple(etags)
    # upper case would not come back as it was
    return packed if packed.hex() == text else tuple(etags)


def inode_numbers(bucket: str, prefix: str, entries: Iterable[Entry]) -> Iterable[int]:
    """A hash of each entry's identity, so that inode numbers are stable over remounts.

    Evenly spread over `INODE_NUMBERS`; never 0, nor 1, the root's.
    """
    seed = blake2b(encode(f"{bucket}/{prefix}"), digest_size=8)
    for entry in entries:
        identity = seed.copy()
        identity.update(b"%b\0%b\0%d" % (entry.name, entry.etag.encode(), entry.size))
        yield int.from_bytes(identity.digest(), "little") >> 4 | 2  # 60 of 64 bits

"""What is known of one directory: its listing, and what single lookups have learned beside it.

Pure but for holding the pass that is under way. The newest knowledge of a name wins; knowledge that has expired is none.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cachetools import LRUCache

from s3mount.filesystem.entries import Entries
from s3mount.filesystem.lifetimes import Lifetimes
from s3mount.filesystem.passes import Pass

PAGES_KEPT = 8  # of a listing that is larger than all that may be kept: enough for readers a little apart
SINGLES_MAX = 10_000  # names learned one by one; beyond that the oldest go, as a flood of misses would fill the memory


class Known(NamedTuple):
    """What is known of a name as of a moment: an entry, or (without *entries*) that there is none."""

    as_of: float
    entries: Entries | None
    at: int = 0

    @property
    def exists(self) -> bool:
        return self.entries is not None

    @property
    def is_directory(self) -> bool:
        return self.entries is not None and self.entries.is_directory(self.at)

    def is_about(self, entries: Entries, index: int) -> bool:
        """Whether what is known is just this entry."""
        return self.entries is not None and self.entries.is_same(self.at, entries, index)


class Directory:
    """The directory of one prefix ("" or ending with a slash)."""

    __slots__ = (
        "_doubts",
        "_singles",
        "inode",
        "is_read",
        "misses",
        "misses_since",
        "passage",
        "plain_reads",
        "prefix",
        "visited",
    )

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.inode = 0  # the number that the kernel last used for it; 0 where it has not
        self.passage: Pass | None = None  # the newest listing, complete or growing
        self.misses = 0  # lookups since *misses_since* that no knowledge answered
        self.misses_since = 0.0
        self.is_read = False  # somebody has read it, name by name
        self.plain_reads = 0  # directories in it that were then listed one by one
        # to be called when it is read: whoever listed it ahead wants to know
        self.visited: Callable[[], None] = lambda: None
        # what lookups learned, and the names of which nothing older than a moment is believed any more
        self._singles: dict[bytes, Known] = {}
        self._doubts: dict[bytes, float] = {}

    def recall(self, name: bytes, now: float, lifetimes: Lifetimes) -> Known | None:
        """What is known of *name* and holds still."""
        known = self.latest(name)
        if known is None or lifetimes.left(known.as_of, now, exists=known.exists) <= 0:
            return None
        return known

    def latest(self, name: bytes, seen: Known | None = None) -> Known | None:
        """The newest knowledge of *name*, expired or not. Where it was *seen* before spares a search, if it is there still."""
        is_listed = seen is not None and self.passage is not None and self.passage.listing.holds(seen.entries)
        listed, single = seen if is_listed else self._listed(name), self._singles.get(name)
        known = single if listed is None or (single is not None and single.as_of > listed.as_of) else listed
        return None if known is None or self.is_doubted(name, known.as_of) else known

    def is_doubted(self, name: bytes, as_of: float) -> bool:
        """Whether knowledge of *name* as of then has been found wrong since."""
        return self._doubts.get(name, as_of) > as_of

    def learn(self, name: bytes, known: Known) -> None:
        """Take what a lookup has learned."""
        self._singles.pop(name, None)
        self._singles[name] = known
        self._doubts.pop(name, None)
        if len(self._singles) > SINGLES_MAX:
            del self._singles[next(iter(self._singles))]

    def doubt(self, name: bytes, now: float) -> None:
        """Believe nothing of *name* that was learned before *now*."""
        self._singles.pop(name, None)
        self._doubts[name] = now
        if len(self._doubts) > SINGLES_MAX:
            self.passage = None
            self._doubts.clear()

    def forget(self) -> None:
        """Know nothing any more."""
        self.passage = None
        self._singles.clear()
        self._doubts.clear()
        self.misses = 0

    def is_fresh(self, now: float, lifetimes: Lifetimes) -> bool:
        """Whether the listing, as far as it has come, is whole and holds still."""
        if self.passage is None or self.passage.listing.is_trimmed:
            return False
        return lifetimes.left(self.passage.listing.as_of, now) > 0

    @property
    def newest_ns(self) -> int:
        """The newest modification time among the known entries, or 0."""
        return self.passage.listing.newest_ns if self.passage is not None else 0

    @property
    def pages(self) -> Sequence[Entries]:
        """The entries of the listing, as far as they are kept."""
        return [] if self.passage is None else [page for page in self.passage.listing.pages if page is not None]

    @property
    def hidden_count(self) -> int:
        return self.passage.listing.hidden if self.passage is not None else 0

    @property
    def entry_count(self) -> int:
        """How much memory this is, in entries."""
        listed = self.passage.listing.entry_count if self.passage is not None else 0
        return listed + len(self._singles) + 1

    def _listed(self, name: bytes) -> Known | None:
        if self.passage is None:
            return None
        listing = self.passage.listing
        if (found := listing.find(name)) is not None:
            return Known(found[0].as_of, *found)
        return Known(listing.as_of, None) if listing.decides(name) else None


class Directories:
    """The directories known, least recently used ones forgotten beyond *limit* entries over all.

    A directory that is larger than the limit is not kept at all: whoever reads it holds its pass, of which only the last pages
    stay. What goes is told to *dropped*, so that the kernel's references to it go as well.
    """

    def __init__(self, limit: int, dropped: Callable[[Directory, Sequence[Entries]], None]) -> None:
        self._kept: LRUCache[str, Directory] = LRUCache(limit, getsizeof=lambda directory: directory.entry_count)
        self._dropped = dropped

    def use(self, prefix: str) -> Directory:
        """The directory of *prefix*, new if need be, now the most recently used."""
        directory = self._kept.get(prefix)
        if directory is None:
            directory = Directory(prefix)
            self.weigh(directory)
        return directory

    def get(self, prefix: str) -> Directory | None:
        return self._kept.get(prefix)

    def weigh(self, directory: Directory) -> None:
        """Note that *directory* has grown."""
        self._kept.pop(directory.prefix, None)
        size = directory.entry_count
        while self._kept and self._kept.currsize + size > self._kept.maxsize:
            _, oldest = self._kept.popitem()
            self._dropped(oldest, oldest.pages)
        if size <= self._kept.maxsize:
            self._kept[directory.prefix] = directory
        elif directory.passage is not None:
            self._dropped(directory, directory.passage.listing.trim(PAGES_KEPT))

    @property
    def directory_count(self) -> int:
        return len(self._kept)

    @property
    def entry_count(self) -> int:
        return int(self._kept.currsize)

    @property
    def hidden_count(self) -> int:
        """Keys and prefixes below the known directories that no name can show."""
        return sum(directory.hidden_count for directory in self._kept.values())

    def clear(self) -> None:
        """Know nothing any more, those who hold a directory included."""
        for directory in self._kept.values():
            directory.forget()
        self._kept.clear()

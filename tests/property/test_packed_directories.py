"""Packed directories and inode references agree, and leave nothing, whatever is done in any order.

Each example is a random sequence of operations on a cache of few unpacked directories. After each
one, every inode is the entry that the kernel was given, and every total is a sum of what is there.
"""

import random
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace import directory_lru, page_table
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.directory_lru import DirectoryLru
from s3mount.filesystem.namespace.inode_table import InodeTable
from tests.unit.filesystem.evidence import never_expiring, proven

BUCKET = "bucket"
PREFIXES = ("", "a/", "a/b/", "b/", "c/", "d/", "e/")
NAMES = (b"a", b"b", b"c", b"d-")
LIMITS = (8_000, 20_000, 1 << 30)
NUMBERS = (8, 16, 1 << 27)  # of directories: few, so that those of several collide
ORDER = proven()

Identity = tuple[str, int, str]


class Machine:
    """A cache of directories, the references of a kernel, and what each of them was given for."""

    def __init__(self, source: random.Random) -> None:
        self._random = source
        self.inodes = InodeTable()
        self.directories = DirectoryLru(
            source.choice(LIMITS), never_expiring(), lambda *_: None, self._shrink, self.inodes
        )
        self._held: dict[int, Identity] = {}
        self._counts: dict[int, int] = {}
        self._read: list[DirectoryListing] = []
        self._states: list[DirectoryState] = []  # that a task holds, while others run
        self._now = self._cleared_at = 0.0
        self._forgotten: dict[str, float] = {}  # subtrees, and when
        self._cleared: list[Iterator[None]] = []  # which drop what was cleared
        self.operations: tuple[Callable[[], None], ...] = (
            self.put,
            self.put,
            self.hold,
            self.refer,
            self.refer,
            self.refer_to_held,
            self.forget,
            self.forget,
            self.resolve,
            self.acquire,
            self.release,
            self.put_dentry,
            self.evict,
            self.forget_below,
            self.clear,
            self.drop_cleared,
        )

    def put(self) -> None:
        prefix = self._prefix()
        listing = DirectoryListing(BUCKET, prefix, self._tick(), ORDER)
        names = self._random.sample(NAMES, self._random.randint(0, len(NAMES)))
        listing.fill([self._entry(name) for name in names], 0)
        listing.is_unreferenced = self._random.random() < 0.7
        self.directories.put_scan((BUCKET, prefix), ListingScan(listing, None))

    def hold(self) -> None:
        directory = self.directories.get((BUCKET, self._prefix()))
        if directory is not None and directory.listing is not None:
            requested_at = directory.listing.requested_at
            assert requested_at > self._cleared_at
            for prefix, until in self._forgotten.items():
                assert requested_at > until or not directory.prefix.startswith(prefix)
        self._states += [] if directory is None else [directory]

    def refer(self) -> None:
        directory = self.directories.get((BUCKET, self._prefix()))
        if directory is not None:
            self._refer_to(directory)

    def refer_to_held(self) -> None:
        if self._states:
            self._refer_to(self._random.choice(self._states))

    def forget(self) -> None:
        if self._held:
            inode = self._random.choice(sorted(self._held))
            self._forget(inode, self._random.randint(1, self._counts[inode]))

    def resolve(self) -> None:
        if self._held:
            inode = self._random.choice(sorted(self._held))
            assert self._held[inode] == identity_of(*self.inodes.resolve(inode))

    def acquire(self) -> None:
        directory = self.directories.get((BUCKET, self._prefix()))
        if directory is not None and directory.listing is not None:
            self._read.append(directory.listing)
            self.directories.acquire(directory.listing)

    def release(self) -> None:
        if self._read:
            self.directories.release(self._read.pop())

    def put_dentry(self) -> None:
        prefix, now = self._prefix(), self._tick()
        directory = self.directories.get_or_add((BUCKET, prefix))
        page = EntryPage(BUCKET, prefix, [self._entry(b"a")], now, is_looked_up=True)
        self.directories.put_dentry(directory, b"a", CachedDentry(now, page))

    def evict(self) -> None:
        self.directories.evict((BUCKET, self._prefix()))

    def forget_below(self) -> None:
        prefix, until = self._prefix() or "a/", self._tick()
        self._forgotten[prefix] = until
        self._cleared.append(self.directories.forget_below(prefix, until).dropping)

    def clear(self) -> None:
        if self._random.random() < 0.3:
            self._cleared_at = self._tick()
            self._cleared.append(self.directories.clear(self._cleared_at))

    def drop_cleared(self) -> None:
        """Drop some directories that were cleared before."""
        if self._cleared:
            steps = self._random.choice(self._cleared)
            for _ in range(self._random.randint(1, 4)):
                next(steps, None)

    def end(self) -> None:
        """Give all references back, end all reads and drop all directories."""
        for inode in list(self._held):
            self._forget(inode, self._counts[inode])
        while self._read:
            self.release()
        for steps in (*self._cleared, self.directories.clear()):
            assert not any(steps)

    def check(self) -> None:
        """Check that totals are sums, and that no directory is packed twice, or packed and not."""
        packed, unpacked = self.inodes.packed, self.directories.snapshot()
        everything = [packed.find((BUCKET, prefix)) for prefix in PREFIXES]
        assert packed.count == len(packed.numbers())
        assert packed.count == len(everything) - everything.count(None)
        assert all(packed.find(each.key) is None for each in unpacked)
        assert len(self.inodes) == len(self._held)
        for number, item in self.inodes._pages.items():
            if isinstance(item, EntryPage):
                counted = self.inodes._count_references(number, item.inodes)
                assert (item.reference_count, item.table_number) == (counted, number)
                assert counted

    def _refer_to(self, directory: DirectoryState) -> None:
        for page in list(directory.known_pages()):
            for index in range(len(page)):
                self.directories.note_reference(directory)
                inode = self.inodes.add_reference(page, index)
                identity = identity_of(page, index)
                assert self._held.setdefault(inode, identity) == identity
                self._counts[inode] = self._counts.get(inode, 0) + 1

    def _forget(self, inode: int, count: int) -> None:
        self.inodes.forget(inode, count)
        self._counts[inode] -= count
        if not self._counts[inode]:
            del self._counts[inode], self._held[inode]

    def _shrink(self, pages: Sequence[EntryPage]) -> None:
        for page in pages:
            if page.reference_count:
                self.inodes.shrink(page)

    def _entry(self, name: bytes) -> Entry:
        if self._random.random() < 0.2:
            return Entry(name)
        size = self._random.choice((0, 7, 1 << 40))
        return Entry(name, size, -1, self._random.choice(("0" * 32, "1" * 32, "1-2")))

    def _prefix(self) -> str:
        return self._random.choice(PREFIXES)

    def _tick(self) -> float:
        self._now += 1
        return self._now


def identity_of(page: EntryPage, index: int) -> Identity:
    return page.key(index), page.sizes[index], page.etag(index)


@given(seed=st.integers(0, (1 << 32) - 1))
def test_packed_directories_and_references_agree_and_leave_nothing(seed: int) -> None:
    source = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory_lru, "UNPACKED_MAX", source.randint(1, 3))
        patch.setattr(page_table, "_HASHED", source.choice(NUMBERS))
        machine = Machine(source)
        machine.inodes._pages._last_number = max(NUMBERS)
        for _ in range(source.randint(1, 120)):
            source.choice(machine.operations)()
            machine.check()
        machine.end()

    assert list(machine.inodes._pages.items()) == []
    assert machine.inodes.packed._sources._sources == {}
    directories = machine.directories
    assert (directories.weight, directories.entry_count, directories.directory_count) == (0, 0, 0)

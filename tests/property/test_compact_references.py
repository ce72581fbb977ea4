"""References to packed directories are those that a plain dict of lookup counts has."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace import compact_map, directory_lru, inode_table
from s3mount.filesystem.namespace.directory_lru import DirectoryLru
from s3mount.filesystem.namespace.inode_table import InodeTable
from s3mount.filesystem.namespace.packed_directories import COMPACT_MAX
from tests.unit.filesystem.evidence import never_expiring, proven

ORDER = proven()
NUMBERS = 5
MANY = COMPACT_MAX + 1  # entries of which the references stay in dicts

directories = st.integers(0, NUMBERS - 1)
steps = st.tuples(
    st.sampled_from(
        ["list", "refer", "refer", "refer to directory", "forget", "read", "resolve", "evict"]
    ),
    directories,
    st.sampled_from([1, 1, 2, 7, 1 << 15, 1 << 40]),
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_lru, "UNPACKED_MAX", 2)
    monkeypatch.setattr(compact_map, "KEYS_MAX", 2)
    monkeypatch.setattr(inode_table, "_MOVED_MIN", 1)


class _Model:
    """An inode table with directories that are packed, beside a dict of lookup counts."""

    def __init__(self) -> None:
        self.inodes = InodeTable()
        self._lru = DirectoryLru(
            1 << 30, never_expiring(), lambda *_: None, lambda _: None, self.inodes
        )
        names = [Entry(b"%d" % number) for number in range(NUMBERS)]
        self._parent = EntryPage("bucket", "", names, 0.0)
        self._versions = 0
        self._held: dict[int, tuple[str, str]] = {}
        self.counts: dict[int, int] = {}
        self._read: set[int] = set()

    def list(self, number: int, size: int) -> None:
        """Put a listing of other versions than before."""
        self._versions += 1
        prefix, version = f"{number}/", self._versions
        listing = DirectoryListing("bucket", prefix, float(version), ORDER)
        count = min(size, MANY)
        listing.fill([Entry(b"%02d" % at, 7, 8, f"{version:032x}") for at in range(count)], 0)
        directory = self._lru.put_scan(("bucket", prefix), ListingScan(listing, None))
        directory.inode = self._parent.inode(number)

    def refer(self, number: int, times: int) -> None:
        directory = self._lru.get(("bucket", f"{number}/"))
        if directory is None:
            return
        self._lru.note_reference(directory)
        [page] = directory.known_pages()
        for at in range(len(page)):
            self._add(page, at, times)

    def refer_to_directory(self, number: int, times: int) -> None:
        self._add(self._parent, number, times)

    def forget(self, at: int, most: int) -> None:
        if not self.counts:
            return
        inode = sorted(self.counts)[at % len(self.counts)]
        count = min(most, self.counts[inode])
        self.inodes.forget(inode, count)
        self.counts[inode] -= count
        if not self.counts[inode]:
            del self.counts[inode], self._held[inode]
            self._read.discard(inode)

    def read(self, at: int) -> None:
        if self.counts:
            inode = sorted(self.counts)[at % len(self.counts)]
            self.inodes.mark_read(inode)
            self._read.add(inode)

    def resolve(self, at: int) -> None:
        """Look at an entry, which unpacks its directory."""
        if self.counts:
            inode = sorted(self.counts)[at % len(self.counts)]
            page, index = self.inodes.resolve(inode)
            assert _identity(page, index) == self._held[inode]

    def evict(self, number: int) -> None:
        self._lru.evict(("bucket", f"{number}/"))

    def check(self) -> None:
        inodes = self.inodes
        assert len(inodes) == len(self.counts)
        assert {inode for inode in self._held if inodes.was_read(inode)} == self._read
        for inode in self.counts:
            in_dicts = sum(inode in each for each in inodes._references)
            assert in_dicts + (inodes._compact.get(inode) is not None) == 1

    def _add(self, page: EntryPage, at: int, times: int) -> None:
        for _ in range(min(times, 3)):
            inode = self.inodes.add_reference(page, at)
            assert self._held.setdefault(inode, _identity(page, at)) == _identity(page, at)
            self.counts[inode] = self.counts.get(inode, 0) + 1
        if times > 1 << 15:  # as many lookups more
            carried = self.inodes._carried
            carried[inode] = carried.get(inode, 0) + times
            self.counts[inode] += times


def _identity(page: EntryPage, index: int) -> tuple[str, str]:
    return page.key(index), "" if page.is_directory(index) else page.etag(index)


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(steps, max_size=60))
def test_no_reference_is_lost_or_counted_twice_when_directories_are_packed(
    steps: list[tuple[str, int, int]],
) -> None:
    model = _Model()
    for number in range(NUMBERS):
        model.list(number, 1 + 4 * number)
    for step, number, count in steps:
        match step:
            case "list":
                model.list(number, count)
            case "refer":
                model.refer(number, count)
            case "refer to directory":
                model.refer_to_directory(number, count)
            case "forget":
                model.forget(number * 7, count)
            case "read":
                model.read(number * 7)
            case "resolve":
                model.resolve(number * 7)
            case _:
                model.evict(number)
        model.check()
    for inode in list(model.counts):
        model.resolve(sorted(model.counts).index(inode))
        model.forget(sorted(model.counts).index(inode), model.counts[inode])
    model.check()

    assert len(model.inodes) == 0
    assert list(model.inodes.pages()) == []

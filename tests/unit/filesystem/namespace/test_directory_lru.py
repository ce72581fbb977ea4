"""The LRU cache of directories keeps to its limit, whatever is being read."""

import contextlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import StoreError
from s3mount.filesystem import weights
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.directory_lru import PAGES_KEPT, DirectoryLru
from s3mount.s3.model import ListedObject, ListPage
from tests.unit.filesystem.evidence import never_expiring, proven

DIRECTORIES_KEPT = 5
PREFIXES = ("a/", "b/", "c/", "d/", "e/")


class Cache:
    """Directories within a limit, and the entries that were evicted from them."""

    def __init__(self, limit: int) -> None:
        self.evicted: list[tuple[int, int]] = []  # inodes of directories, and how many entries
        self.replaced: list[EntryPage] = []
        self.directories = DirectoryLru(
            limit, never_expiring(), self._on_evicted, self.replaced.extend
        )

    def _on_evicted(self, inode: int, pages: Sequence[EntryPage]) -> None:
        self.evicted.append((inode, sum(map(len, pages))))

    def directory(self, prefix: str) -> DirectoryState:
        return self.directories.get_or_add(("bucket", prefix))

    def start_listing(self, prefix: str) -> DirectoryListing:
        """A listing of the directory *prefix*, without a page."""
        update = self.directories.update_listing_weight
        listing = DirectoryListing("bucket", prefix, 0.0, proven(), update)
        self.directories.replace_scan(self.directory(prefix), ListingScan(listing, None))
        return listing

    def listing(self, prefix: str, pages: int) -> DirectoryListing:
        """A complete listing of so many pages of the directory *prefix*."""
        self.directory(prefix).inode = 7
        listing = self.start_listing(prefix)
        for number in range(pages):
            self.add(listing, number, is_last=number == pages - 1)
        return listing

    def walk_totals(self) -> tuple[int, int]:
        """Entries and hidden keys, counted in all directories."""
        directories = self.directories.snapshot()
        return (
            sum(directory.entry_count for directory in directories),
            sum(directory.hidden_count for directory in directories),
        )

    @staticmethod
    def add(listing: DirectoryListing, number: int, *, is_last: bool = False) -> None:
        objects = [
            ListedObject(f"{listing.prefix}{number:04}-{index:03}", 1, 0, "e" * 32)
            for index in range(100)
        ]
        listing.add(ListPage(objects, [], None if is_last else f"t{number}"), 0.0)


def test_dentries_that_lookups_put_count() -> None:
    cache = Cache(100_000)
    for number in range(50):
        directory = cache.directory(f"d{number}/")
        for name in range(200):
            cache.directories.put_dentry(directory, b"x%d" % name, CachedDentry(0.0, None))

    assert cache.directories.weight <= 100_000
    assert cache.directories.directory_count < 5


def test_statistics_use_no_directory() -> None:
    cache = Cache(DIRECTORIES_KEPT * (weights.DIRECTORY + len("d0/")))
    for number in range(DIRECTORIES_KEPT):
        cache.directory(f"d{number}/")
    cache.directory("d0/")

    assert (cache.directories.entry_count, cache.directories.hidden_count) == (0, 0)
    cache.directory("new/")

    assert cache.directories.get(("bucket", "d0/")) is not None
    assert cache.directories.get(("bucket", "d1/")) is None


def test_statistics_walk_through_no_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(1 << 20)
    cache.listing("a/", 2)
    cache.listing("b/", 1)
    for walked in ("entry_count", "hidden_count", "weight"):
        monkeypatch.setattr(DirectoryState, walked, property(lambda _: pytest.fail("walked")))

    directories = cache.directories
    counts = directories.entry_count, directories.hidden_count, directories.directory_count

    assert counts == (300, 0, 2)
    assert directories.weight > 0


def test_an_evicted_directory_does_not_take_the_place_of_a_newer_one() -> None:
    cache = Cache(10_000)
    old = cache.directory("a/")
    for number in range(20):
        cache.directory(f"f{number}/")
    new = cache.directory("a/")
    cache.directories.put_dentry(old, b"x", CachedDentry(0.0, None))

    assert new is not old
    assert cache.directories.get(("bucket", "a/")) is new


def test_a_replaced_listing_that_is_being_read_is_counted_and_trimmed() -> None:
    cache = Cache(400_000)
    listing = cache.listing("a/", 15)
    cache.directories.acquire(listing)
    weight = cache.directories.weight
    cache.directories.replace_scan(cache.directory("a/"), None)
    assert cache.directories.weight > weight / 2
    cache.listing("b/", 15)

    assert cache.directories.weight <= 400_000
    assert listing.is_trimmed
    is_kept = [page is not None for page in listing.pages]
    assert is_kept == [False] * (15 - PAGES_KEPT) + [True] * PAGES_KEPT
    cache.directories.release(listing)
    assert cache.directories.weight <= 400_000 / 2 + 100_000


def test_a_listing_above_the_limit_is_not_kept_and_its_reader_has_the_last_pages() -> None:
    cache = Cache(200_000)
    listing = cache.start_listing("a/")
    cache.directories.acquire(listing)
    for number in range(50):
        cache.add(listing, number)
        assert cache.directories.weight <= 250_000

    assert cache.directory("a/").scan is None
    assert sum(page is not None for page in listing.pages) == PAGES_KEPT


def test_evicted_entries_are_dropped_from_the_kernel() -> None:
    cache = Cache(400_000)
    cache.listing("a/", 15)
    cache.listing("b/", 15)

    assert cache.evicted == [(7, 15 * 100)]


def test_a_directory_can_be_evicted_before_others_that_are_used_less() -> None:
    cache = Cache(1 << 20)
    kept = cache.listing("a/", 1)
    entries = cache.listing("b/", 1).entry_count

    cache.directories.evict(("bucket", "b/"))
    cache.directories.evict(("bucket", "c/"))  # which is not kept

    assert cache.evicted == [(7, entries)]
    assert [each.listing for each in cache.directories.snapshot()] == [kept]
    assert cache.directories.entry_count == kept.entry_count


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "looked up"])
def test_a_prefetched_listing_weighs_inodes_from_its_first_use_on(*, is_read: bool) -> None:
    cache = Cache(1 << 20)
    listing = DirectoryListing("bucket", "a/", 0.0, proven())
    listing.fill([Entry(b"%d" % number) for number in range(10)], 0)
    directory = cache.directories.put_scan(("bucket", "a/"), ListingScan(listing, None))
    before = cache.directories.weight

    if is_read:
        cache.directories.acquire(listing)
    else:
        cache.directories.note_reference(directory)

    assert cache.directories.weight == before + 10 * weights.INODE


def test_a_complete_listing_drops_what_only_a_growing_one_needs() -> None:
    listing = Cache(1 << 20).listing("a/", 3)

    assert listing.weight < 3 * 100 * 250
    assert listing._growth is None
    assert listing._on_page is None


def test_directories_of_two_buckets_share_one_limit_and_no_entry() -> None:
    cache = Cache(1 << 20)
    cache.listing("a/", 1)
    other = cache.directories.get_or_add(("other", "a/"))

    assert other is not cache.directory("a/")
    assert other.get(b"0000-000") is None
    assert cache.directories.directory_count == 2


@given(
    limit=st.sampled_from([3000, 30_000, 1 << 20]),
    steps=st.lists(st.tuples(st.integers(0, 8), st.sampled_from(PREFIXES), st.integers(0, 3))),
)
def test_the_totals_are_those_of_a_walk_through_all_directories(
    limit: int, steps: list[tuple[int, str, int]]
) -> None:
    operations = Operations(limit)

    for number, prefix, argument in steps:
        operations.run(number, prefix, argument)

        directories = operations.cache.directories
        totals = directories.entry_count, directories.hidden_count
        assert totals == operations.cache.walk_totals()


class Operations:
    """All that changes a cache; *listings* has the newest of each directory, *read* those in use.

    A directory and a number are the arguments of each.
    """

    def __init__(self, limit: int) -> None:
        self.cache = Cache(limit)
        self._lru = self.cache.directories
        self._listings = {prefix: self.cache.start_listing(prefix) for prefix in PREFIXES}
        self._read: list[DirectoryListing] = []

    def run(self, operation: int, prefix: str, number: int) -> None:
        all_operations = (
            *(self._start, self._add, self._derive, self._put, self._acquire, self._release),
            *(self._forget, self._replace, self._clear),
        )
        all_operations[operation](prefix, number)

    def _start(self, prefix: str, _: int) -> None:
        self._listings[prefix] = self.cache.start_listing(prefix)

    def _add(self, prefix: str, number: int) -> None:
        """Add a page with two hidden keys, the last one if *number* is 0."""
        listing = self._listings[prefix]
        if not listing.is_complete:
            names = (f"{len(listing.pages):03}", ".")
            objects = [ListedObject(prefix + name, 1, 0, "e" * 32) for name in names]
            page = ListPage(objects, [f"{prefix}/"], f"t{number}" if number else None)
            with contextlib.suppress(StoreError):  # the token was there before
                listing.add(page, 0.0)

    def _derive(self, prefix: str, number: int) -> None:
        derived = DirectoryListing("bucket", prefix, 0.0, proven())
        derived.fill([Entry(b"%d" % each, 1, 0, "e" * 32) for each in range(number)], number)
        self._lru.put_scan(("bucket", prefix), ListingScan(derived, None))

    def _put(self, prefix: str, number: int) -> None:
        dentry = CachedDentry(0.0, None)
        self._lru.put_dentry(self.cache.directory(prefix), b"%d" % number, dentry)

    def _acquire(self, prefix: str, _: int) -> None:
        self._read.append(self._listings[prefix])
        self._lru.acquire(self._listings[prefix])

    def _release(self, _prefix: str, _number: int) -> None:
        if self._read:
            self._lru.release(self._read.pop())

    def _forget(self, prefix: str, _: int) -> None:
        self._lru.forget(self.cache.directory(prefix))

    def _replace(self, prefix: str, _: int) -> None:
        self._lru.replace_scan(self.cache.directory(prefix), None)

    def _clear(self, _prefix: str, _number: int) -> None:
        self._lru.clear()

"""The LRU cache of directories keeps to its limit, whatever is being read."""

from collections.abc import Sequence

from s3mount.filesystem import weights
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.directory_lru import PAGES_KEPT, DirectoryLru
from s3mount.s3.model import ListedObject, ListPage
from tests.unit.filesystem.evidence import never_expiring, proven

DIRECTORIES_KEPT = 5


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

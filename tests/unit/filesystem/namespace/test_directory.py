"""What is known of one name, and what all that is known may weigh."""

from collections.abc import Sequence

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.directory import (
    PAGES_KEPT,
    CachedDentry,
    DirectoryLru,
    DirectoryState,
)
from s3mount.filesystem.namespace.invalidations import Invalidations
from s3mount.s3.model import ListedObject, ListPage
from tests.unit.filesystem.proof import proven


def doubts() -> Invalidations:
    return Invalidations(lambda _: None)


def entry(name: bytes, size: int = 1) -> EntryPage:
    return EntryPage("bucket", "d/", [Entry(name, size, 0, "e" * 32)], 0.0)


class Kept:
    """Directories within a limit, and the entries that were dropped from them."""

    def __init__(self, limit: int) -> None:
        self.dropped: list[
            tuple[int, int]
        ] = []  # inode numbers of directories, and how many entries of each
        self.replaced: list[EntryPage] = []
        self.directories = DirectoryLru(limit, doubts(), self._drop, self.replaced.extend)

    def _drop(self, inode: int, pages: Sequence[EntryPage]) -> None:
        self.dropped.append((inode, sum(map(len, pages))))

    def listing(self, prefix: str, pages: int) -> DirectoryListing:
        """A complete listing of so many pages, given to the directory *prefix*."""
        directory = self.directories.use(prefix)
        directory.inode = 7
        listing = DirectoryListing("bucket", prefix, 0.0, proven(), self.directories.weigh_listing)
        self.directories.replace_passage(directory, ListingScan(listing, None))
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


def test_knowledge_from_before_a_doubt_is_none_in_whatever_order_both_come() -> None:
    doubted = doubts()
    directory = DirectoryState("d/", doubted)
    doubted.add("d/", b"x", 5.0)
    directory.learn(b"x", CachedDentry(4.0, None))

    assert directory.latest(b"x") is None
    directory.learn(b"x", CachedDentry(6.0, None))
    assert directory.latest(b"x") == CachedDentry(6.0, None)


def test_newer_knowledge_wins_in_whatever_order_both_come() -> None:
    directory = DirectoryState("d/", doubts())
    newer = CachedDentry(6.0, entry(b"x"))
    directory.learn(b"x", newer)
    directory.learn(b"x", CachedDentry(4.0, None))

    assert directory.latest(b"x") is newer


def test_names_learned_one_by_one_count() -> None:
    kept = Kept(100_000)
    for number in range(50):
        directory = kept.directories.use(f"d{number}/")
        for name in range(200):
            directory.learn(b"x%d" % name, CachedDentry(0.0, None))
            kept.directories.weigh(directory)

    assert kept.directories.weight <= 100_000
    assert kept.directories.directory_count < 5


def test_a_directory_that_was_evicted_does_not_take_the_place_of_a_newer_one() -> None:
    kept = Kept(10_000)
    old = kept.directories.use("a/")
    for number in range(20):
        kept.directories.use(f"f{number}/")
    new = kept.directories.use("a/")
    old.learn(b"x", CachedDentry(0.0, None))
    kept.directories.weigh(old)

    assert new is not old
    assert kept.directories.get("a/") is new


def test_a_listing_that_is_read_and_no_directory_s_any_more_is_counted_and_trimmed() -> None:
    kept = Kept(400_000)
    listing = kept.listing("a/", 15)
    kept.directories.acquire(listing)
    weight = kept.directories.weight
    kept.directories.replace_passage(kept.directories.use("a/"), None)
    assert kept.directories.weight > weight / 2
    kept.listing("b/", 15)

    assert kept.directories.weight <= 400_000
    assert listing.is_trimmed
    assert [page is not None for page in listing.pages] == [False] * (15 - PAGES_KEPT) + [
        True
    ] * PAGES_KEPT
    kept.directories.release(listing)
    assert kept.directories.weight <= 400_000 / 2 + 100_000


def test_a_listing_larger_than_the_limit_is_not_kept_and_its_reader_has_the_last_pages() -> None:
    kept = Kept(200_000)
    directory = kept.directories.use("a/")
    listing = DirectoryListing("bucket", "a/", 0.0, proven(), kept.directories.weigh_listing)
    kept.directories.replace_passage(directory, ListingScan(listing, None))
    kept.directories.acquire(listing)
    for number in range(50):
        kept.add(listing, number)
        assert kept.directories.weight <= 250_000

    assert directory.passage is None
    assert sum(page is not None for page in listing.pages) == PAGES_KEPT


def test_what_is_evicted_is_dropped_from_the_kernel() -> None:
    kept = Kept(400_000)
    kept.listing("a/", 15)
    kept.listing("b/", 15)

    assert kept.dropped == [(7, 15 * 100)]


def test_what_a_complete_listing_needs_no_more_is_let_go() -> None:
    kept = Kept(1 << 20)
    listing = kept.listing("a/", 3)

    assert listing.weight < 3 * 100 * 250
    assert listing._assembler is None
    assert listing._grown is None
    assert listing._tokens is None

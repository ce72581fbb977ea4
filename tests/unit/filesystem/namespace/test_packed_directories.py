"""Directories that are not in use are packed, and nothing of them is lost."""

from collections.abc import Iterator, Sequence

import pytest

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace import directory_lru
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.directory_lru import DirectoryLru
from s3mount.filesystem.namespace.inode_table import InodeTable
from s3mount.filesystem.namespace.page_table import PROBES
from s3mount.s3.model import ListedObject, ListPage, ObjectStat
from tests.unit.filesystem.evidence import never_expiring, proven

UNPACKED = 2
ORDER = proven()


@pytest.fixture(autouse=True)
def _few_unpacked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(directory_lru, "UNPACKED_MAX", UNPACKED)
    return iter(())


class Cache:
    """Directories of two files each, and an inode table; the kernel drops what is evicted."""

    def __init__(self, limit: int = 1 << 30) -> None:
        self.inodes = InodeTable()
        self.evicted: list[tuple[int, list[bytes]]] = []
        self.directories = DirectoryLru(
            limit, never_expiring(), self._on_evicted, lambda _: None, self.inodes
        )

    def _on_evicted(self, inode: int, pages: Sequence[EntryPage]) -> None:
        for page in pages:
            if page.reference_count:
                self.evicted.append((inode, [page.name(at) for at in range(len(page))]))

    def put(self, prefix: str, inode: int = 5, time: float = 1.5) -> DirectoryState:
        listing = DirectoryListing("bucket", prefix, time, ORDER)
        entries = [Entry(name, 7, 8, f"{at:032x}") for at, name in enumerate((b"a", b"b"))]
        listing.fill(entries, 0)
        directory = self.directories.put_scan(("bucket", prefix), ListingScan(listing, None))
        directory.inode = inode
        return directory

    def refer(self, directory: DirectoryState) -> list[int]:
        """References to all entries, as READDIRPLUS takes them."""
        assert directory.listing is not None
        self.directories.note_reference(directory)
        [page] = directory.known_pages()
        return [self.inodes.add_reference(page, at) for at in range(len(page))]

    def push_out(self) -> None:
        """Use so many others that those before are packed, if they can be."""
        for number in range(UNPACKED):
            self.put(f"other-{number}/")

    def get(self, prefix: str) -> DirectoryState | None:
        return self.directories.get(("bucket", prefix))

    def is_packed(self, prefix: str) -> bool:
        return self.inodes.packed.find(("bucket", prefix)) is not None


def run_to_end(steps: Iterator[None]) -> None:
    assert all(step is None for step in steps)


def _stat_of(page: EntryPage) -> ObjectStat:
    return ObjectStat(page.version(0), 9)


def test_a_directory_that_is_used_least_recently_is_packed_and_weighs_little() -> None:
    cache = Cache()
    cache.put("d/")
    weight = cache.directories.weight
    cache.push_out()

    assert cache.is_packed("d/")
    assert cache.inodes.packed.weight < weight / 5
    assert cache.directories.directory_count == 1 + UNPACKED
    assert cache.directories.entry_count == 2 * (1 + UNPACKED)
    assert cache.directories.has(("bucket", "d/"))


def test_a_look_at_a_packed_directory_unpacks_it() -> None:
    cache = Cache()
    cache.put("d/", inode=12)
    cache.push_out()

    directory = cache.get("d/")

    assert directory is not None
    assert directory.inode == 12
    assert not cache.is_packed("d/")
    assert directory.get(b"b") is not None
    assert cache.get("e/") is None


def test_an_inode_of_a_packed_directory_is_the_entry_that_it_was() -> None:
    cache = Cache()
    inodes = cache.refer(cache.put("d/"))
    cache.inodes.add_reference(*cache.inodes.resolve(inodes[0]))
    cache.inodes.mark_read(inodes[1])
    cache.push_out()
    assert cache.is_packed("d/")

    page, at = cache.inodes.resolve(inodes[1])

    assert (page.prefix, page.name(at), page.reference_count) == ("d/", b"b", 2)
    assert cache.inodes.was_read(inodes[1])
    directory = cache.get("d/")
    assert directory is not None
    assert [page] == list(directory.known_pages())
    assert inodes == [cache.inodes.add_reference(page, index) for index in range(2)]
    cache.inodes.forget(inodes[0], 3)
    cache.inodes.forget(inodes[1], 2)
    assert (len(cache.inodes), page.reference_count) == (0, 0)


def test_references_that_the_kernel_forgets_of_a_packed_directory_are_forgotten() -> None:
    cache = Cache()
    inodes = cache.refer(cache.put("d/"))
    cache.push_out()

    cache.inodes.forget(inodes[0], 1)

    assert cache.inodes.get(inodes[0]) is None
    assert cache.is_packed("d/")
    page, at = cache.inodes.resolve(inodes[1])
    assert (page.name(at), page.reference_count) == (b"b", 1)


def test_a_packed_directory_that_is_evicted_is_given_back_by_the_kernel() -> None:
    cache = Cache()
    inodes = cache.refer(cache.put("d/", inode=12))
    cache.push_out()

    cache.directories.evict(("bucket", "d/"))

    assert cache.evicted == [(12, [b"a", b"b"])]
    assert cache.get("d/") is None
    assert [page.prefix for page in cache.inodes.pages()] == ["d/"]
    assert cache.inodes.packed.weight == 0
    for inode in inodes:
        cache.inodes.forget(inode, 1)
    assert list(cache.inodes.pages()) == []
    assert cache.inodes.packed.numbers() == []


@pytest.mark.parametrize("drop", ["evict", "forget_below", "clear"])
@pytest.mark.parametrize("was_referenced", [True, False])
def test_nothing_is_kept_of_a_packed_directory_that_is_dropped_and_has_no_reference(
    drop: str,
    was_referenced: bool,  # noqa: FBT001 - a parameter
) -> None:
    cache = Cache()
    directory = cache.put("d/")
    cache.directories.note_reference(directory)  # as of readers who were given names only
    for inode in cache.refer(directory) if was_referenced else []:
        cache.inodes.forget(inode, 1)
    cache.push_out()
    assert cache.is_packed("d/")

    match drop:
        case "evict":
            cache.directories.evict(("bucket", "d/"))
        case "forget_below":
            run_to_end(cache.directories.forget_below("d/").dropping)
        case _:
            run_to_end(cache.directories.clear())

    assert cache.evicted == []
    assert b"d/" not in b"".join(
        item for _, item in cache.inodes._pages.items() if isinstance(item, bytes)
    )


def test_a_listing_that_was_requested_page_by_page_is_packed_as_of_the_oldest_request() -> None:
    cache = Cache()
    listing = DirectoryListing("bucket", "d/", 1.0, ORDER)
    listing.add(ListPage([ListedObject("d/a", 1, 0, "e" * 32)], [], None), 1.5)
    cache.directories.put_scan(("bucket", "d/"), ListingScan(listing, None))
    cache.push_out()
    assert cache.is_packed("d/")

    directory = cache.get("d/")

    assert directory is not None
    assert directory.listing is not None
    [page] = directory.known_pages()
    assert (page.name(0), page.requested_at) == (b"a", 1.0)
    assert (directory.listing.requested_at, directory.listing.newest_requested_at) == (1.0, 1.0)


def test_the_pages_of_a_subtree_are_those_that_are_packed_and_those_that_are_not() -> None:
    cache = Cache()
    for prefix in ("d/", "d/packed/", "dd/"):
        cache.refer(cache.put(prefix))
    cache.put("d/unreferenced/")
    cache.push_out()
    cache.refer(cache.put("d/unpacked/"))

    pages = cache.inodes.pages("d/")

    assert sorted(page.prefix for page in pages) == ["d/", "d/packed/", "d/unpacked/"]


def test_a_directory_is_packed_again_however_often_it_was_dropped() -> None:
    cache = Cache()
    for _ in range(2 * PROBES):
        cache.directories.note_reference(cache.put("d/"))
        cache.push_out()
        assert cache.is_packed("d/")
        cache.directories.evict(("bucket", "d/"))


def test_an_evicted_packed_directory_leaves_its_entries_to_the_kernel_until_it_forgets() -> None:
    cache = Cache()
    inodes = cache.refer(cache.put("d/"))
    cache.push_out()
    run_to_end(cache.directories.clear())

    page, at = cache.inodes.resolve(inodes[0])

    assert (page.name(at), page.reference_count) == (b"a", 2)
    assert cache.directories.weight == 0


@pytest.mark.parametrize("steps", range(4))
def test_what_is_packed_is_not_found_once_it_is_cleared_however_late_it_is_dropped(
    steps: int,
) -> None:
    cache = Cache()
    inodes = cache.refer(cache.put("referenced/"))
    for prefix in ("d/", "e/"):
        cache.put(prefix)
    cache.push_out()
    dropping = cache.directories.clear(2.0)
    for _ in range(steps):
        next(dropping)

    assert [cache.get(prefix) for prefix in ("referenced/", "d/")] == [None, None]
    assert not _has(cache, "e/")
    page, at = cache.inodes.resolve(inodes[1])
    assert (page.prefix, page.name(at), page.reference_count) == ("referenced/", b"b", 2)

    for prefix in ("d/", "referenced/"):  # listed anew, and packed before the others are dropped
        cache.refer(cache.put(prefix, time=3.0))
    cache.push_out()
    run_to_end(dropping)
    assert [_has(cache, prefix) for prefix in ("d/", "e/", "referenced/")] == [True, False, True]
    assert cache.directories.entry_count == 2 * (2 + UNPACKED)
    cache.inodes.resolve(inodes[1])
    assert cache.get("referenced/") is not None


def test_the_least_recently_used_goes_first_whether_it_is_packed_or_not() -> None:
    cache = Cache()
    cache.put("packed/")
    cache.directories.put_dentry(cache.put("looked-up/"), b"x", CachedDentry(2.0, None))
    cache.put("packed-later/")
    cache.push_out()
    assert cache.is_packed("packed/")
    assert not cache.is_packed("looked-up/")

    names = ("packed/", "looked-up/", "packed-later/")
    left = []
    for _ in names:
        cache.directories._evict(cache.directories.weight - 1)
        left.append([name for name in names if _has(cache, name)])

    assert left == [["looked-up/", "packed-later/"], ["packed-later/"], []]


def _has(cache: Cache, prefix: str) -> bool:
    return cache.directories.has(("bucket", prefix))


def test_a_subtree_is_dropped_with_what_is_packed_in_it() -> None:
    cache = Cache()
    cache.put("d/")
    cache.put("d/e/")
    cache.put("f/")
    cache.push_out()

    forgotten = cache.directories.forget_below("d/")

    assert forgotten.name_count == 4
    for _ in range(3):
        assert [_has(cache, prefix) for prefix in ("d/", "d/e/", "f/")] == [False, False, True]
        next(forgotten.dropping, None)
    assert cache.directories.directory_count == 1 + UNPACKED
    assert [_has(cache, prefix) for prefix in ("d/", "d/e/", "f/")] == [False, False, True]


def test_what_has_more_than_can_be_packed_stays_as_it_is() -> None:
    cache = Cache()
    cache.directories.put_dentry(cache.put("looked-up/"), b"x", CachedDentry(2.0, None))
    read, corrected = cache.put("read/").listing, cache.put("corrected/")
    assert read is not None
    cache.directories.acquire(read)
    [page] = corrected.known_pages()
    page.correct(0, _stat_of(page))
    cache.push_out()

    assert cache.inodes.packed.count == 0
    cache.directories.release(read)
    assert cache.get("looked-up/") is not None
    assert cache.get("read/") is not None
    assert cache.get("corrected/") is corrected

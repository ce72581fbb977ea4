import gc
from itertools import chain

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.prefetch.file_reader import AHEAD_MAX, FileReader
from s3mount.filesystem.prefetch.policy import SMALL
from s3mount.filesystem.prefetch.sibling_prefetcher import (
    READERS_MAX,
    TRUSTED_MAX,
    SiblingPrefetcher,
)
from s3mount.filesystem.prefetch.traversal_order import (
    KEPT_MAX,
    SORTED_MAX,
    SORTED_PER_OPEN,
    OrderKind,
    TraversalOrders,
)


def page_of(count: int, prefix: str = "d/", size: int = 100) -> EntryPage:
    return EntryPage(
        "bucket", prefix, [Entry(b"%05d" % index, size, 0, "e") for index in range(count)], 0.0
    )


class Reader:
    """Reader of files of *pages*, whose directories are completely known."""

    def __init__(self, *pages: EntryPage, is_whole: bool = True) -> None:
        self.pages = pages
        self.directories = {page.prefix: self._of(page.prefix) for page in pages}
        self._is_whole = is_whole
        self._siblings = SiblingPrefetcher(TraversalOrders(self._pages_of, ""))

    def open(self, page: EntryPage, index: int) -> list[tuple[EntryPage, int]]:
        """Open a file; the files to prefetch."""
        return [(found.page, found.at) for found in self._siblings.on_open(page, index)]

    def open_in(self, page: EntryPage, index: int) -> list[int]:
        """The same, but only the files of *page*."""
        return [at for found, at in self.open(page, index) if found is page]

    def by_inode(self, prefix: str = "d/") -> list[tuple[EntryPage, int]]:
        """The files of a directory in the order in which `cp -r` opens them."""
        files = [
            (page, at)
            for page in self._of(prefix)
            for at in range(len(page))
            if not page.is_directory(at)
        ]
        return sorted(files, key=lambda file: file[0].inode(file[1]))

    def _of(self, prefix: str) -> list[EntryPage]:
        return [page for page in self.pages if page.prefix == prefix]

    def _pages_of(self, prefix: str, most: int) -> list[EntryPage] | None:
        pages = self.directories.get(prefix)
        return pages if pages and self._is_whole and sum(map(len, pages)) <= most else None


def tree(*names: str, files: int) -> tuple[EntryPage, ...]:
    """A root page, and a page for each of the directories *names*, with so many *files*."""
    root = EntryPage("bucket", "", [Entry(name.encode()) for name in names], 0.0)
    return root, *(page_of(files, prefix=f"{name}/") for name in names)


def test_one_open_prefetches_nothing() -> None:
    page = page_of(10)

    assert Reader(page).open(page, 3) == []


def test_each_open_in_order_doubles_what_is_prefetched() -> None:
    page = page_of(1000)
    reader = Reader(page)
    fetched = [reader.open_in(page, index) for index in range(8)]

    assert fetched[1] == [2, 3, 4, 5]
    assert all(len(step) <= AHEAD_MAX for step in fetched)
    assert list(chain.from_iterable(fetched)) == list(range(2, 8 + AHEAD_MAX))  # each once


def test_random_opens_prefetch_nothing() -> None:
    page = page_of(1000)
    reader = Reader(page)

    assert all(not reader.open_in(page, index) for index in (500, 20, 800, 300, 10, 990))


def test_opens_slightly_out_of_order_count_as_in_order() -> None:
    page = page_of(1000)
    reader = Reader(page)
    fetched = [index for opened in (0, 2, 1, 3, 5, 4, 6) for index in reader.open_in(page, opened)]

    assert fetched == sorted(set(fetched))
    assert fetched[-1] > 6 + AHEAD_MAX // 4


def test_a_directory_read_in_order_is_followed_from_the_first_file_of_the_next() -> None:
    page, following = page_of(20), page_of(20, prefix="e/")
    reader = Reader(page, following)
    for index in range(20):
        reader.open_in(page, index)

    assert reader.open(following, 0)


def test_directories_and_large_and_empty_files_are_not_prefetched() -> None:
    rows = [
        Entry(b"a", 1, 0, "e"),
        Entry(b"b", 1, 0, "e"),
        Entry(b"c"),
        Entry(b"d", SMALL + 1),
        Entry(b"e", 0),
        Entry(b"f", 9, 0, "e"),
    ]
    page = EntryPage("bucket", "", rows, 0.0)
    reader = Reader(page)
    reader.open(page, 0)

    assert reader.open_in(page, 1) == [5]


def test_a_file_without_room_is_returned_again() -> None:
    page = page_of(100)
    siblings = SiblingPrefetcher(TraversalOrders(lambda _prefix, _most: None, ""))
    list(siblings.on_open(page, 0))
    next(iter(siblings.on_open(page, 1)))

    assert next(iter(siblings.on_open(page, 2))) == (page, 3)


def test_pages_of_one_directory_are_one_order() -> None:
    first = page_of(20)
    second = EntryPage(
        "bucket", "d/", [Entry(b"x%05d" % index, 100, 0, "e") for index in range(20)], 0.0
    )
    reader = Reader(first, second)
    ahead = [found for index in range(20) for found in reader.open(first, index)]

    assert ahead == [*((first, at) for at in range(2, 20)), *((second, at) for at in range(20))]


def test_files_opened_by_inode_number_have_the_next_ones_prefetched() -> None:
    reader = Reader(
        page_of(1000),
        EntryPage("bucket", "d/", [Entry(b"x%d" % n, 1, 0, "e") for n in range(500)], 0.0),
    )
    order = reader.by_inode()
    ahead = [found for page, index in order[:12] for found in reader.open(page, index)]

    assert len(set(ahead)) == len(ahead)
    assert set(ahead) >= set(order[4 : 11 + AHEAD_MAX // 2])
    assert len(ahead) <= 11 + 2 * AHEAD_MAX  # some by chance, being the next by name as well


def test_a_directory_read_by_inode_is_followed_from_the_first_file_of_the_next() -> None:
    reader = Reader(page_of(30), page_of(30, prefix="e/"))
    for page, index in reader.by_inode():
        reader.open(page, index)

    page, index = reader.by_inode("e/")[0]
    assert reader.open(page, index)[:2] == reader.by_inode("e/")[1:3]


def test_an_incomplete_or_huge_directory_is_not_sorted_by_inode() -> None:
    unknown = Reader(page_of(100), is_whole=False)
    huge = Reader(*(page_of(50_000) for _ in range(SORTED_MAX // 50_000 + 1)))
    for reader in (unknown, huge):
        opened = reader.by_inode()[:40]
        ahead = [found for page, index in opened for found in reader.open(page, index)]

        assert len(ahead) < len(opened)  # by chance


def test_a_reader_that_went_on_to_the_next_directory_has_the_one_after_prefetched() -> None:
    root, a, b, c, d = tree("a", "b", "c", "d", files=5)
    reader = Reader(root, a, b, c, d)
    for index in range(5):
        assert all(page is a for page, _ in reader.open(a, index))

    assert reader.open(b, 0) == [
        *((b, at) for at in range(1, 5)),
        *((c, at) for at in range(5)),
        *((d, at) for at in range(5)),
    ]
    assert reader.open(b, 1) == []


def test_a_reader_that_skips_a_directory_has_no_other_directory_prefetched() -> None:
    root, a, b, c = tree("a", "b", "c", files=20)
    reader = Reader(root, a, b, c)
    for index in range(20):
        reader.open(a, index)

    assert all(page is c for page, _ in reader.open(c, 0))
    assert all(page is c for page, _ in reader.open(c, 1))


def test_the_next_directory_may_be_at_another_depth() -> None:
    root = EntryPage("bucket", "", [Entry(b"a"), Entry(b"z")], 0.0)
    a = EntryPage("bucket", "a/", [Entry(b"x"), Entry(b"y")], 0.0)
    z = EntryPage("bucket", "z/", [Entry(b"deep")], 0.0)
    leaves = [page_of(4, prefix=prefix) for prefix in ("a/x/", "a/y/", "z/deep/")]
    reader = Reader(root, a, z, *leaves)
    for index in range(4):
        reader.open(leaves[0], index)

    assert reader.open(leaves[1], 0) == [
        (leaves[1], 1),
        (leaves[1], 2),
        (leaves[1], 3),
        *((leaves[2], at) for at in range(4)),
    ]


def test_an_unknown_directory_ends_the_prefetch() -> None:
    root, a, b, _ = tree("a", "b", "c", files=5)
    reader = Reader(root, a, b)
    for index in range(5):
        reader.open(a, index)

    assert reader.open(b, 0) == [(b, at) for at in range(1, 5)]


def test_a_reader_by_inode_goes_on_to_the_next_directory_by_inode() -> None:
    root, *directories = tree("a", "b", "c", "d", files=6)
    reader = Reader(root, *directories)
    first, second, third, *_ = sorted(
        directories, key=lambda each: root.inode(directories.index(each))
    )
    for page, index in reader.by_inode(first.prefix):
        reader.open(page, index)
    ahead = [
        found
        for page, index in reader.by_inode(second.prefix)[:2]
        for found in reader.open(page, index)
    ]

    assert [at for page, at in ahead if page is third][:3] == [
        at for _, at in reader.by_inode(third.prefix)[:3]
    ]


def test_the_first_files_alone_of_many_directories_have_few_others_prefetched() -> None:
    pages = tree(*(f"{number:03}" for number in range(100)), files=50)
    reader = Reader(*pages)
    for index in range(5):  # a reader in order, so that others are expected to be as well
        reader.open(pages[1], index)
    prefetched = [len(reader.open(page, 0)) for page in pages[2:]]

    assert sum(map(bool, prefetched)) == TRUSTED_MAX
    assert not any(prefetched[TRUSTED_MAX:])


def test_a_reader_in_order_is_followed_again_after_one_that_left_each_directory() -> None:
    pages = tree(*(f"{number:03}" for number in range(40)), files=4)
    reader = Reader(*pages)
    for index in range(4):
        reader.open(pages[1], index)
    for page in pages[30:10:-1]:
        reader.open(page, 0)
    for index in range(4):
        reader.open(pages[5], index)

    assert reader.open_in(pages[3], 0)


def test_orders_of_more_directories_than_are_cached_are_made_as_files_are_opened() -> None:
    pages = {f"{number:03}/": [page_of(1000, f"{number:03}/")] for number in range(300)}
    orders = TraversalOrders(lambda prefix, _most: pages[prefix], "")

    def made(kind: OrderKind) -> int:
        return sum(orders.get(kind, prefix) is not None for prefix in pages)

    assert made(OrderKind.INODE) == KEPT_MAX // 1000
    assert made(OrderKind.NAME) == 0
    for _ in range(10):
        orders.record_open()
    assert made(OrderKind.NAME) == 10 * SORTED_PER_OPEN // 1000


def test_readers_in_directories_that_are_known_no_longer_are_dropped() -> None:
    pages = [page_of(100, f"{number:03}/") for number in range(READERS_MAX)]
    reader = Reader(*pages)
    for page in pages:
        for index in range(4):
            reader.open(page, index)
    reader.directories.clear()
    last = page_of(1000, "last/")
    for index in range(READERS_MAX):
        reader.open(last, index)

    kept = [each for each in gc.get_objects() if type(each) is FileReader]
    assert [each.last.page for each in kept if each.last.page in pages] == []

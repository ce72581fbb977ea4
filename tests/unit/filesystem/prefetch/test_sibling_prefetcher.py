from itertools import chain

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.prefetch.sibling_prefetcher import AHEAD_MAX, SMALL, SiblingPrefetcher
from s3mount.filesystem.prefetch.traversal_order import SORTED_MAX, TraversalOrders


def entries(count: int, prefix: str = "d/", size: int = 100) -> EntryPage:
    return EntryPage(
        "bucket", prefix, [Entry(b"%05d" % index, size, 0, "e") for index in range(count)], 0.0
    )


class Reader:
    """Opens files of *pages*, each directory's known whole, and has what is to be fetched ahead then."""

    def __init__(self, *pages: EntryPage, is_whole: bool = True) -> None:
        self.pages = pages
        self._is_whole = is_whole
        self._siblings = SiblingPrefetcher(TraversalOrders(self._pages_of, ""))

    def open(self, entries: EntryPage, index: int) -> list[tuple[EntryPage, int]]:
        return [(place.page, place.at) for place in self._siblings.on_open(entries, index)]

    def open_in(self, entries: EntryPage, index: int) -> list[int]:
        """The same, where all of it is in *entries* too."""
        return [at for page, at in self.open(entries, index) if page is entries]

    def by_number(self, prefix: str = "d/") -> list[tuple[EntryPage, int]]:
        """Every file of a directory as `cp -r` opens them."""
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
        pages = self._of(prefix)
        return pages if pages and self._is_whole and sum(map(len, pages)) <= most else None


def tree(*names: str, files: int) -> tuple[EntryPage, ...]:
    """A root with the directories *names*, and so many *files* in each."""
    root = EntryPage("bucket", "", [Entry(name.encode()) for name in names], 0.0)
    return root, *(entries(files, prefix=f"{name}/") for name in names)


def test_one_file_opened_says_nothing() -> None:
    columns = entries(10)

    assert Reader(columns).open(columns, 3) == []


def test_files_opened_in_order_have_twice_as_many_fetched_ahead_at_each_step() -> None:
    columns = entries(1000)
    reader = Reader(columns)
    fetched = [reader.open_in(columns, index) for index in range(8)]

    assert fetched[1] == [2, 3, 4, 5]
    assert all(len(step) <= AHEAD_MAX for step in fetched)
    assert list(chain.from_iterable(fetched)) == list(range(2, 8 + AHEAD_MAX))  # each once


def test_files_opened_at_random_have_none_fetched_ahead() -> None:
    columns = entries(1000)
    reader = Reader(columns)

    assert all(not reader.open_in(columns, index) for index in (500, 20, 800, 300, 10, 990))


def test_workers_a_little_out_of_step_are_in_order_still() -> None:
    columns = entries(1000)
    reader = Reader(columns)
    fetched = [
        index for opened in (0, 2, 1, 3, 5, 4, 6) for index in reader.open_in(columns, opened)
    ]

    assert fetched == sorted(set(fetched))
    assert fetched[-1] > 6 + AHEAD_MAX // 4


def test_who_has_read_one_directory_in_order_is_believed_from_the_first_file_of_the_next() -> None:
    columns, following = entries(20), entries(20, prefix="e/")
    reader = Reader(columns, following)
    for index in range(20):
        reader.open_in(columns, index)

    assert reader.open(following, 0)


def test_directories_large_and_empty_files_are_not_fetched_ahead() -> None:
    rows = [
        Entry(b"a", 1, 0, "e"),
        Entry(b"b", 1, 0, "e"),
        Entry(b"c"),
        Entry(b"d", SMALL + 1),
        Entry(b"e", 0),
        Entry(b"f", 9, 0, "e"),
    ]
    columns = EntryPage("bucket", "", rows, 0.0)
    reader = Reader(columns)
    reader.open(columns, 0)

    assert reader.open_in(columns, 1) == [5]


def test_what_there_was_no_room_for_is_asked_for_again() -> None:
    columns = entries(100)
    siblings = SiblingPrefetcher(TraversalOrders(lambda _prefix, _most: None, ""))
    list(siblings.on_open(columns, 0))
    next(siblings.on_open(columns, 1))

    assert next(siblings.on_open(columns, 2)) == (columns, 3)


def test_pages_of_one_directory_are_one_way() -> None:
    first = entries(20)
    second = EntryPage(
        "bucket", "d/", [Entry(b"x%05d" % index, 100, 0, "e") for index in range(20)], 0.0
    )
    reader = Reader(first, second)
    ahead = [place for index in range(20) for place in reader.open(first, index)]

    assert ahead == [*((first, at) for at in range(2, 20)), *((second, at) for at in range(20))]


def test_files_opened_in_the_order_of_their_numbers_have_the_next_ones_fetched_ahead() -> None:
    reader = Reader(
        entries(1000),
        EntryPage("bucket", "d/", [Entry(b"x%d" % n, 1, 0, "e") for n in range(500)], 0.0),
    )
    order = reader.by_number()
    ahead = [place for page, index in order[:12] for place in reader.open(page, index)]

    assert len(set(ahead)) == len(ahead)
    assert set(ahead) >= set(order[4 : 11 + AHEAD_MAX // 2])
    assert len(ahead) <= 11 + 2 * AHEAD_MAX  # some by chance, being the next by name as well


def test_who_has_read_one_directory_by_number_is_believed_from_the_first_file_of_the_next() -> None:
    reader = Reader(entries(30), entries(30, prefix="e/"))
    for page, index in reader.by_number():
        reader.open(page, index)

    page, index = reader.by_number("e/")[0]
    assert reader.open(page, index)[:2] == reader.by_number("e/")[1:3]


def test_a_directory_that_is_not_known_whole_or_is_huge_has_no_order_of_numbers() -> None:
    unknown = Reader(entries(100), is_whole=False)
    huge = Reader(*(entries(50_000) for _ in range(SORTED_MAX // 50_000 + 1)))
    for reader in (unknown, huge):
        opened = reader.by_number()[:40]
        ahead = [place for page, index in opened for place in reader.open(page, index)]

        assert len(ahead) < len(opened)  # by chance


def test_who_went_on_into_the_next_directory_has_the_one_after_fetched_too() -> None:
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


def test_whoever_turns_aside_has_no_other_directory_fetched() -> None:
    root, a, b, c = tree("a", "b", "c", files=20)
    reader = Reader(root, a, b, c)
    for index in range(20):
        reader.open(a, index)

    assert all(page is c for page, _ in reader.open(c, 0))
    assert all(page is c for page, _ in reader.open(c, 1))


def test_the_next_directory_may_be_above_or_below() -> None:
    root = EntryPage("bucket", "", [Entry(b"a"), Entry(b"z")], 0.0)
    a = EntryPage("bucket", "a/", [Entry(b"x"), Entry(b"y")], 0.0)
    z = EntryPage("bucket", "z/", [Entry(b"deep")], 0.0)
    leaves = [entries(4, prefix=prefix) for prefix in ("a/x/", "a/y/", "z/deep/")]
    reader = Reader(root, a, z, *leaves)
    for index in range(4):
        reader.open(leaves[0], index)

    assert reader.open(leaves[1], 0) == [
        (leaves[1], 1),
        (leaves[1], 2),
        (leaves[1], 3),
        *((leaves[2], at) for at in range(4)),
    ]


def test_directories_that_are_not_known_end_it() -> None:
    root, a, b, _ = tree("a", "b", "c", files=5)
    reader = Reader(root, a, b)
    for index in range(5):
        reader.open(a, index)

    assert reader.open(b, 0) == [(b, at) for at in range(1, 5)]


def test_a_copy_goes_on_by_number() -> None:
    root, *directories = tree("a", "b", "c", "d", files=6)
    reader = Reader(root, *directories)
    first, second, third, *_ = sorted(
        directories, key=lambda each: root.inode(directories.index(each))
    )
    for page, index in reader.by_number(first.prefix):
        reader.open(page, index)
    ahead = [
        place
        for page, index in reader.by_number(second.prefix)[:2]
        for place in reader.open(page, index)
    ]

    assert [at for page, at in ahead if page is third][:3] == [
        at for _, at in reader.by_number(third.prefix)[:3]
    ]

from collections.abc import Iterator
from itertools import chain

from s3mount.filesystem.entries import Entries, Row
from s3mount.filesystem.siblings import AHEAD_MAX, NUMBERED_MAX, SMALL, Siblings


def entries(count: int, prefix: str = "d/", size: int = 100) -> Entries:
    return Entries("bucket", prefix, [Row(b"%05d" % index, size, 0, "e") for index in range(count)], 0.0)


class Reader:
    """Opens files of *pages*, a directory known whole, and has what is to be fetched ahead then: the indexes in all pages together."""

    def __init__(self, *pages: Entries, is_whole: bool = True) -> None:
        self.pages = list(pages)
        self.firsts = [sum(map(len, pages[:number])) for number in range(len(pages))]
        self.siblings = Siblings(lambda _: self.pages if is_whole else None)

    def open(self, entries: Entries, index: int) -> Iterator[int]:
        for sibling in self.siblings.opened(entries, index):
            yield self.firsts[self.pages.index(sibling.entries)] + sibling.at

    def by_number(self) -> list[tuple[Entries, int]]:
        """Every file as `cp -r` opens them."""
        files = [(page, index) for page in self.pages for index in range(len(page)) if not page.is_directory(index)]
        return sorted(files, key=lambda file: file[0].inode(file[1]))


def test_one_file_opened_says_nothing() -> None:
    columns = entries(10)

    assert list(Reader(columns).open(columns, 3)) == []


def test_files_opened_in_order_have_twice_as_many_fetched_ahead_at_each_step() -> None:
    columns = entries(1000)
    reader = Reader(columns)
    fetched = [list(reader.open(columns, index)) for index in range(8)]

    assert fetched[1] == [2, 3, 4, 5]
    assert all(len(step) <= AHEAD_MAX for step in fetched)
    assert list(chain.from_iterable(fetched)) == list(range(2, 8 + AHEAD_MAX))  # each once


def test_files_opened_at_random_have_none_fetched_ahead() -> None:
    columns = entries(1000)
    reader = Reader(columns)

    assert all(not list(reader.open(columns, index)) for index in (500, 20, 800, 300, 10, 990))


def test_workers_a_little_out_of_step_are_in_order_still() -> None:
    columns = entries(1000)
    reader = Reader(columns)
    fetched = [index for opened in (0, 2, 1, 3, 5, 4, 6) for index in reader.open(columns, opened)]

    assert fetched == sorted(set(fetched))
    assert fetched[-1] > 6 + AHEAD_MAX // 4


def test_who_has_read_one_directory_in_order_is_believed_from_the_first_file_of_the_next() -> None:
    columns, following = entries(20), entries(20, prefix="e/")
    reader = Reader(columns, following)
    for index in range(20):
        list(reader.open(columns, index))

    assert list(reader.open(following, 0))


def test_directories_large_and_empty_files_are_not_fetched_ahead() -> None:
    rows = [
        Row(b"a", 1, 0, "e"),
        Row(b"b", 1, 0, "e"),
        Row(b"c"),
        Row(b"d", SMALL + 1),
        Row(b"e", 0),
        Row(b"f", 9, 0, "e"),
    ]
    columns = Entries("bucket", "", rows, 0.0)
    reader = Reader(columns)
    list(reader.open(columns, 0))

    assert list(reader.open(columns, 1)) == [5]


def test_what_there_was_no_room_for_is_asked_for_again() -> None:
    columns = entries(100)
    reader = Reader(columns)
    list(reader.open(columns, 0))
    next(reader.open(columns, 1))

    assert next(reader.open(columns, 2)) == 3


def test_files_opened_in_the_order_of_their_numbers_have_the_next_ones_fetched_ahead() -> None:
    reader = Reader(entries(1000), Entries("bucket", "d/", [Row(b"x%d" % n, 1, 0, "e") for n in range(500)], 0.0))
    order = [reader.firsts[reader.pages.index(page)] + index for page, index in reader.by_number()]
    fetched = [list(reader.open(page, index)) for page, index in reader.by_number()[:12]]

    by_number = list(chain.from_iterable(fetched))
    assert len(set(by_number)) == len(by_number)
    assert set(by_number) >= set(order[4 : 11 + AHEAD_MAX // 2])
    assert len(by_number) <= 11 + 2 * AHEAD_MAX  # some by chance, being the next by name as well


def test_who_has_read_one_directory_by_number_is_believed_from_the_first_file_of_the_next() -> None:
    first, second = Reader(entries(30)), Reader(entries(30, prefix="e/"))
    pages = {"d/": first.pages, "e/": second.pages}
    siblings = Siblings(lambda columns: pages[columns.prefix])
    for page, index in first.by_number():
        list(siblings.opened(page, index))

    page, index = second.by_number()[0]
    assert [tuple(each) for each in siblings.opened(page, index)][:2] == second.by_number()[1:3]


def test_a_directory_that_is_not_known_whole_or_is_huge_has_no_order_of_numbers() -> None:
    unknown = Reader(entries(100), is_whole=False)
    huge = Reader(*(entries(50_000) for _ in range(NUMBERED_MAX // 50_000 + 1)))
    for reader in (unknown, huge):
        opened = reader.by_number()[:40]
        alone = [list(reader.open(page, index)) for page, index in opened]

        assert sum(map(len, alone)) < len(opened)

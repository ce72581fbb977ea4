from itertools import chain

from s3mount.filesystem.entries import Entries, Row
from s3mount.filesystem.siblings import AHEAD_MAX, SMALL, Siblings


def entries(count: int, prefix: str = "d/", size: int = 100) -> Entries:
    return Entries("bucket", prefix, [Row(b"%05d" % index, size, 0, "e") for index in range(count)], 0.0)


def test_one_file_opened_says_nothing() -> None:
    assert list(Siblings().opened(entries(10), 3)) == []


def test_files_opened_in_order_have_twice_as_many_fetched_ahead_at_each_step() -> None:
    siblings, columns = Siblings(), entries(1000)
    fetched = [list(siblings.opened(columns, index)) for index in range(8)]

    assert fetched[1] == [2, 3, 4, 5]
    assert all(len(step) <= AHEAD_MAX for step in fetched)
    assert list(chain.from_iterable(fetched)) == list(range(2, 8 + AHEAD_MAX))  # each once


def test_files_opened_at_random_have_none_fetched_ahead() -> None:
    siblings, columns = Siblings(), entries(1000)

    assert all(not list(siblings.opened(columns, index)) for index in (500, 20, 800, 300, 10, 990))


def test_workers_a_little_out_of_step_are_in_order_still() -> None:
    siblings, columns = Siblings(), entries(1000)
    fetched = [index for opened in (0, 2, 1, 3, 5, 4, 6) for index in siblings.opened(columns, opened)]

    assert fetched == sorted(set(fetched))
    assert fetched[-1] > 6 + AHEAD_MAX // 4


def test_who_has_read_one_directory_in_order_is_believed_from_the_first_file_of_the_next() -> None:
    siblings, columns = Siblings(), entries(20)
    for index in range(20):
        list(siblings.opened(columns, index))

    assert list(siblings.opened(entries(20, prefix="e/"), 0))


def test_directories_large_and_empty_files_are_not_fetched_ahead() -> None:
    rows = [
        Row(b"a", 1, 0, "e"),
        Row(b"b", 1, 0, "e"),
        Row(b"c"),
        Row(b"d", SMALL + 1),
        Row(b"e", 0),
        Row(b"f", 9, 0, "e"),
    ]
    siblings, columns = Siblings(), Entries("bucket", "", rows, 0.0)
    list(siblings.opened(columns, 0))

    assert list(siblings.opened(columns, 1)) == [5]


def test_what_there_was_no_room_for_is_asked_for_again() -> None:
    siblings, columns = Siblings(), entries(100)
    list(siblings.opened(columns, 0))
    next(siblings.opened(columns, 1))

    assert next(siblings.opened(columns, 2)) == 3

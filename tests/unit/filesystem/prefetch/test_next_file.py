"""Prediction of the large file that a reader goes on to."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.entry_page import DIRECTORY, Entry, EntryPage
from s3mount.filesystem.prefetch.next_file import FILES_MAX, STEP_MAX, NextFilePredictor
from s3mount.filesystem.prefetch.policy import SMALL
from s3mount.filesystem.prefetch.traversal_order import EntryRef, TraversalOrders

LARGE = SMALL + 1


def page_of(sizes: Sequence[int], prefix: str = "d/") -> EntryPage:
    entries = [Entry(b"%05d" % number, size, 0, "e") for number, size in enumerate(sizes)]
    return EntryPage("bucket", prefix, entries, 0.0)


def predictor_of(*pages: EntryPage, is_whole: bool = True) -> NextFilePredictor:
    def pages_of(prefix: str, most: int) -> list[EntryPage] | None:
        found = [page for page in pages if page.prefix == prefix]
        return found if found and is_whole and sum(map(len, found)) <= most else None

    return NextFilePredictor(TraversalOrders(pages_of, ""))


def next_file(predictor: NextFilePredictor, page: EntryPage, index: int) -> EntryRef | None:
    return next(iter(predictor.next_files(page, index)), None)


@pytest.mark.parametrize("is_whole", [False, True])
def test_the_next_large_file_by_name_follows(*, is_whole: bool) -> None:
    page = page_of([LARGE, SMALL, DIRECTORY, LARGE, LARGE])
    predictor = predictor_of(page, is_whole=is_whole)

    assert [EntryRef(page, 3), EntryRef(page, 4), None] == [
        next_file(predictor, page, index) for index in (0, 3, 4)
    ]


def test_nothing_follows_a_small_file() -> None:
    page = page_of([SMALL, LARGE])

    assert next_file(predictor_of(page), page, 0) is None


def test_a_reader_by_inode_number_goes_on_by_inode_number() -> None:
    page = page_of([LARGE] * 50)
    by_inode = sorted(range(50), key=page.inode)
    predictor = predictor_of(page)

    predicted = [next_file(predictor, page, index) for index in by_inode]

    assert [EntryRef(page, index) for index in by_inode[2:]] == predicted[1:-1]


def test_a_reader_in_another_directory_begins_by_name() -> None:
    first, second = page_of([LARGE] * 50, "a/"), page_of([LARGE] * 50, "b/")
    predictor = predictor_of(first, second)
    for index in sorted(range(50), key=first.inode):
        next_file(predictor, first, index)

    assert EntryRef(second, 1) == next_file(predictor, second, 0)


@given(
    sizes=st.lists(st.sampled_from((DIRECTORY, 0, SMALL, LARGE)), min_size=1, max_size=30),
    chance=st.randoms(use_true_random=False),
    is_whole=st.booleans(),
)
def test_what_is_predicted_is_another_large_file_of_the_directory(
    *, sizes: list[int], chance: Random, is_whole: bool
) -> None:
    page = page_of(sizes)
    predictor = predictor_of(page, is_whole=is_whole)
    files = [index for index, size in enumerate(sizes) if size != DIRECTORY]

    for index in chance.choices(files, k=20) if files else ():
        predicted = next_file(predictor, page, index)
        if predicted is not None:
            assert predicted.page is page
            assert predicted.at != index
            assert sizes[index] > SMALL < sizes[predicted.at]


@given(st.lists(st.sampled_from((DIRECTORY, SMALL, LARGE)), min_size=1, max_size=30))
def test_a_reader_by_name_is_predicted_at_each_step(sizes: list[int]) -> None:
    page = page_of(sizes)
    predictor = predictor_of(page)
    large = [index for index, size in enumerate(sizes) if size == LARGE]

    for index, following in zip(large, [*large[1:], None], strict=False):
        is_near = following is not None and following - index <= STEP_MAX
        expected = EntryRef(page, following) if following is not None and is_near else None
        assert expected == next_file(predictor, page, index)
        if not is_near:  # the step to the next may be one by inode number, too
            predictor = predictor_of(page)


def test_as_many_files_as_a_window_may_have_are_predicted() -> None:
    page = page_of([LARGE] * 20)

    predicted = predictor_of(page).next_files(page, 3)

    assert [EntryRef(page, index) for index in range(4, 4 + FILES_MAX)] == list(predicted)

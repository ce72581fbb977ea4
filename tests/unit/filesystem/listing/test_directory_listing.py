from dataclasses import replace

import pytest

from s3mount.errors import StoreError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.s3.model import ListedObject, ListPage, ListQuery
from tests.unit.filesystem.evidence import proven, unordered


def page(*raws: str, token: str | None = None) -> ListPage:
    objects = [ListedObject(raw, 1, 7, "e") for raw in raws if not raw.endswith("/")]
    return ListPage(objects, [raw for raw in raws if raw.endswith("/")], token)


def names(listing: DirectoryListing) -> list[bytes]:
    return [
        entries.name(index) for entries in listing.pages if entries for index in range(len(entries))
    ]


def test_a_page_is_requested_by_its_token_until_it_is_received() -> None:
    listing = DirectoryListing("bucket", "d/", 0.0, proven())

    assert listing.next_query() == ListQuery("d/")
    listing.add(page("d/a", token="t"), 0.0)
    assert listing.next_query() == listing.next_query() == ListQuery("d/", token="t")


def test_a_complete_listing_is_final_on_absent_names() -> None:
    listing = DirectoryListing("bucket", "d/", 0.0, proven())
    listing.add(page("d/a", token="t"), 0.0)

    assert not listing.is_final(b"b")
    listing.add(page("d/c"), 0.0)
    assert listing.is_final(b"b")
    assert listing.find(b"b") is None
    assert listing.find(b"c") is not None


def test_a_listing_that_repeats_a_token_fails() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(page("a", token="t"), 0.0)
    listing.add(page("b", token="u"), 0.0)

    with pytest.raises(StoreError):
        listing.add(page("c", token="t"), 0.0)


def test_late_disorder_neither_loses_nor_repeats_a_name() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(page("b", "c", "d", token="t"), 0.0)
    listing.add(page("a", "b", "e"), 0.0)

    assert sorted(names(listing)) == [b"a", b"b", b"c", b"d", b"e"]


def test_disorder_that_makes_a_shown_file_a_directory_fails() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(page("b", "c", "d", token="t"), 0.0)

    with pytest.raises(StoreError):
        listing.add(page("a", "b/"), 0.0)


def test_pages_without_an_entry_are_left_out() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(page(token="t"), 0.0)
    listing.add(page("a"), 0.0)

    assert len(listing.pages) == 1


def test_without_order_nothing_is_shown_or_final_before_the_end() -> None:
    listing = DirectoryListing("bucket", "", 0.0, unordered())
    listing.add(page("a", "b", token="t"), 0.0)

    assert not names(listing)
    assert not listing.is_final(b"aa")
    listing.add(page("aa", "b/"), 0.0)
    assert sorted(names(listing)) == [b"a", b"aa", b"b"]


def test_disorder_is_recorded_even_if_the_listing_fails_by_it() -> None:
    order = proven()
    listing = DirectoryListing("bucket", "", 0.0, order)
    listing.add(page("b", "c", "d", token="t"), 0.0)

    with pytest.raises(StoreError):
        listing.add(page("a", "b/"), 0.0)
    assert not listing.is_ordered
    assert order.keys_needed


def test_a_file_that_was_held_back_for_long_does_not_slow_the_search_down() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(page("img", *(f"img-{number:04}" for number in range(100)), token="t0"), 0.0)
    for number in range(1, 50):
        listing.add(
            page(*(f"img-{number * 100 + n:04}" for n in range(100)), token=f"t{number}"), 0.0
        )
    listing.add(page("jpg"), 0.0)

    assert len(list(listing._candidates(b"img-2345"))) <= 2
    names = [b"img", b"jpg", *(b"img-%04d" % number for number in range(5000))]
    found = [listing.find(name) for name in names]
    assert [None if each is None else each[0].name(each[1]) for each in found] == names
    assert all(listing.has_page(each) for each in listing.pages)


def test_a_prefix_twice_in_a_page_is_shown_once() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(ListPage([], ["a/", "a/", "b/"], None), 0.0)

    assert [len(each) for each in listing.pages if each is not None] == [2]


def test_a_listing_that_left_objects_out_denies_nothing() -> None:
    listing = DirectoryListing("bucket", "d/", 0.0, proven())
    listing.add(replace(page("d/a", token="t"), is_partial=True), 0.0)
    listing.add(page("d/b"), 0.0)

    assert listing.is_complete
    assert listing.is_final(b"a")
    assert not listing.is_final(b"c")

import pytest

from s3mount.errors import StoreError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.s3.model import ListedObject, ListPage, ListQuery
from tests.unit.filesystem.proof import proven, unordered


def page(*raws: str, token: str | None = None) -> ListPage:
    objects = [ListedObject(raw, 1, 7, "e") for raw in raws if not raw.endswith("/")]
    return ListPage(objects, [raw for raw in raws if raw.endswith("/")], token)


def names(listing: DirectoryListing) -> list[bytes]:
    return [
        entries.name(index) for entries in listing.pages if entries for index in range(len(entries))
    ]


def test_a_page_is_asked_for_by_its_token_again_and_again_until_it_has_come() -> None:
    listing = DirectoryListing("bucket", "d/", 0.0, proven())

    assert listing.next_query() == ListQuery("d/")
    listing.add(page("d/a", token="t"), 0.0)
    assert listing.next_query() == listing.next_query() == ListQuery("d/", token="t")


def test_what_a_complete_listing_lacks_does_not_exist() -> None:
    listing = DirectoryListing("bucket", "d/", 0.0, proven())
    listing.add(page("d/a", token="t"), 0.0)

    assert not listing.decides(b"b")
    listing.add(page("d/c"), 0.0)
    assert listing.decides(b"b")
    assert listing.find(b"b") is None
    assert listing.find(b"c") is not None


def test_a_listing_that_goes_round_in_circles_fails() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(page("a", token="t"), 0.0)
    listing.add(page("b", token="u"), 0.0)

    with pytest.raises(StoreError):
        listing.add(page("c", token="t"), 0.0)


def test_disorder_found_late_neither_loses_nor_repeats_a_name() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(page("b", "c", "d", token="t"), 0.0)
    listing.add(page("a", "b", "e"), 0.0)

    assert sorted(names(listing)) == [b"a", b"b", b"c", b"d", b"e"]


def test_disorder_that_makes_a_shown_file_a_directory_fails() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(page("b", "c", "d", token="t"), 0.0)

    with pytest.raises(StoreError):
        listing.add(page("a", "b/"), 0.0)


def test_pages_without_an_entry_are_no_pages() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(page(token="t"), 0.0)
    listing.add(page("a"), 0.0)

    assert len(listing.pages) == 1
    assert listing.newest_ns == 7


def test_where_no_order_is_to_be_expected_nothing_is_shown_or_decided_before_the_end() -> None:
    listing = DirectoryListing("bucket", "", 0.0, unordered())
    listing.add(page("a", "b", token="t"), 0.0)

    assert not names(listing)
    assert not listing.decides(b"aa")
    listing.add(page("aa", "b/"), 0.0)
    assert sorted(names(listing)) == [b"a", b"aa", b"b"]


def test_disorder_is_told_even_where_it_ends_the_listing() -> None:
    order = proven()
    listing = DirectoryListing("bucket", "", 0.0, order)
    listing.add(page("b", "c", "d", token="t"), 0.0)

    with pytest.raises(StoreError):
        listing.add(page("a", "b/"), 0.0)
    assert not listing.is_ordered
    assert order.proof

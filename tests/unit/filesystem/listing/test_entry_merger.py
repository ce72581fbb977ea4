"""Raw pages in, entries out. Whole trees are held against the reference model in tests/property."""

from s3mount.filesystem.listing.entry_merger import EntryMerger
from s3mount.s3.model import ListedObject, ListPage


def page(*raws: str, token: str | None = "more") -> ListPage:
    objects = [ListedObject(raw, 1, 0, "e") for raw in raws if not raw.endswith("/")]
    return ListPage(objects, [raw for raw in raws if raw.endswith("/")], token)


def feed(merger: EntryMerger, *raws: str) -> list[str]:
    return sorted(row.name.decode() for row in merger.add(page(*raws)))


def finish(merger: EntryMerger) -> list[str]:
    return [row.name.decode() for row in merger.finish()]


def test_a_file_is_held_back_while_its_directory_can_still_come() -> None:
    merger = EntryMerger("")

    assert feed(merger, "a") == []
    assert feed(merger, "a-b") == []
    assert feed(merger, "b") == ["a", "a-b"]
    assert finish(merger) == ["b"]


def test_a_directory_shadows_its_file_over_any_number_of_pages() -> None:
    merger = EntryMerger("")

    assert feed(merger, "a") == []
    assert feed(merger, "a-b") == []
    assert feed(merger, "a/") == ["a", "a-b"]
    assert finish(merger) == []


def test_a_million_names_behind_a_held_one_are_not_held_with_it() -> None:
    merger = EntryMerger("")
    feed(merger, "a")

    assert feed(merger, "a-1", "a-2", "a-3") == ["a-1", "a-2"]


def test_component_order_is_an_order_too() -> None:
    merger = EntryMerger("")

    assert feed(merger, "a/") == ["a"]
    assert feed(merger, "a-b", "b") == ["a-b"]
    assert merger.is_ordered


def test_in_a_listing_without_order_nothing_is_certain_before_its_end() -> None:
    merger = EntryMerger("")

    assert feed(merger, "c", "a", "b") == []
    assert feed(merger, "a/") == []
    assert sorted(finish(merger)) == ["a", "b", "c"]
    assert not merger.is_ordered


def test_a_page_that_repeats_the_last_name_of_the_one_before_adds_nothing() -> None:
    merger = EntryMerger("")

    assert feed(merger, "a/", "b") == ["a"]
    assert feed(merger, "b", "c/") == ["b", "c"]
    assert feed(merger, "c/", "d/") == ["d"]


def test_markers_are_not_shown_and_impossible_names_are_counted() -> None:
    merger = EntryMerger("d/")

    marker = ListPage([ListedObject("d/", 0, 0, "e")], [], "more")

    assert merger.add(marker) == []
    assert feed(merger, "d/.", "d/..", "d//", "d/./", "d/ok/") == ["ok"]
    assert merger.hidden_count == 4


def test_a_listing_in_order_is_past_a_name_when_neither_it_nor_its_directory_can_come() -> None:
    merger = EntryMerger("d/")
    feed(merger, "d/a", "d/b", "d/c")

    assert merger.is_past("a")
    assert merger.is_past("aa")
    assert not merger.is_past("c")

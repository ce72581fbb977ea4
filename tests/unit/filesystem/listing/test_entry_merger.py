"""Raw pages in, entries out; tests/property compares whole trees with the reference model."""

from s3mount.filesystem.listing.entry_merger import EntryMerger
from s3mount.s3.model import ListedObject, ListPage


def page(*raws: str, token: str | None = "more") -> ListPage:
    objects = [ListedObject(raw, 1, 0, "e") for raw in raws if not raw.endswith("/")]
    return ListPage(objects, [raw for raw in raws if raw.endswith("/")], token)


def add(merger: EntryMerger, *raws: str) -> list[str]:
    return sorted(entry.name.decode() for entry in merger.add(page(*raws)))


def finish(merger: EntryMerger) -> list[str]:
    return [entry.name.decode() for entry in merger.finish()]


def test_a_file_is_held_back_while_its_directory_can_still_come() -> None:
    merger = EntryMerger("")

    assert add(merger, "a") == []
    assert add(merger, "a-b") == []
    assert add(merger, "b") == ["a", "a-b"]
    assert finish(merger) == ["b"]


def test_a_directory_shadows_its_file_over_any_number_of_pages() -> None:
    merger = EntryMerger("")

    assert add(merger, "a") == []
    assert add(merger, "a-b") == []
    assert add(merger, "a/") == ["a", "a-b"]
    assert finish(merger) == []


def test_names_after_a_held_file_are_not_held_with_it() -> None:
    merger = EntryMerger("")
    add(merger, "a")

    assert add(merger, "a-1", "a-2", "a-3") == ["a-1", "a-2"]


def test_component_order_is_an_order_too() -> None:
    merger = EntryMerger("")

    assert add(merger, "a/") == ["a"]
    assert add(merger, "a-b", "b") == ["a-b"]
    assert merger.is_ordered


def test_an_unordered_listing_has_nothing_certain_before_its_end() -> None:
    merger = EntryMerger("")

    assert add(merger, "c", "a", "b") == []
    assert add(merger, "a/") == []
    assert sorted(finish(merger)) == ["a", "b", "c"]
    assert not merger.is_ordered


def test_a_page_that_repeats_the_last_name_of_the_one_before_adds_nothing() -> None:
    merger = EntryMerger("")

    assert add(merger, "a/", "b") == ["a"]
    assert add(merger, "b", "c/") == ["b", "c"]
    assert add(merger, "c/", "d/") == ["d"]


def test_markers_are_not_shown_and_impossible_names_are_counted() -> None:
    merger = EntryMerger("d/")

    marker = ListPage([ListedObject("d/", 0, 0, "e")], [], "more")

    assert merger.add(marker) == []
    assert add(merger, "d/.", "d/..", "d//", "d/./", "d/ok/") == ["ok"]
    assert merger.hidden_count == 4


def test_an_ordered_listing_is_past_a_name_when_neither_it_nor_its_directory_can_come() -> None:
    merger = EntryMerger("d/")
    add(merger, "d/a", "d/b", "d/c")

    assert merger.is_past("a")
    assert merger.is_past("aa")
    assert not merger.is_past("c")

"""Raw pages in, entries out. Whole trees are held against the reference model in tests/property."""

from s3mount.filesystem.listing.entry_merger import EntryMerger
from s3mount.s3.model import ListedObject, ListPage


def page(*raws: str, token: str | None = "more") -> ListPage:
    objects = [ListedObject(raw, 1, 0, "e") for raw in raws if not raw.endswith("/")]
    return ListPage(objects, [raw for raw in raws if raw.endswith("/")], token)


def feed(assembler: EntryMerger, *raws: str) -> list[str]:
    return sorted(row.name.decode() for row in assembler.feed(page(*raws)))


def finish(assembler: EntryMerger) -> list[str]:
    return [row.name.decode() for row in assembler.finish()]


def test_a_file_is_held_back_while_its_directory_can_still_come() -> None:
    assembler = EntryMerger("")

    assert feed(assembler, "a") == []
    assert feed(assembler, "a-b") == []
    assert feed(assembler, "b") == ["a", "a-b"]
    assert finish(assembler) == ["b"]


def test_a_directory_shadows_its_file_over_any_number_of_pages() -> None:
    assembler = EntryMerger("")

    assert feed(assembler, "a") == []
    assert feed(assembler, "a-b") == []
    assert feed(assembler, "a/") == ["a", "a-b"]
    assert finish(assembler) == []


def test_a_million_names_behind_a_held_one_are_not_held_with_it() -> None:
    assembler = EntryMerger("")
    feed(assembler, "a")

    assert feed(assembler, "a-1", "a-2", "a-3") == ["a-1", "a-2"]


def test_component_order_is_an_order_too() -> None:
    assembler = EntryMerger("")

    assert feed(assembler, "a/") == ["a"]
    assert feed(assembler, "a-b", "b") == ["a-b"]
    assert assembler.is_ordered


def test_in_a_listing_without_order_nothing_is_certain_before_its_end() -> None:
    assembler = EntryMerger("")

    assert feed(assembler, "c", "a", "b") == []
    assert feed(assembler, "a/") == []
    assert sorted(finish(assembler)) == ["a", "b", "c"]
    assert not assembler.is_ordered


def test_a_page_that_repeats_the_last_name_of_the_one_before_adds_nothing() -> None:
    assembler = EntryMerger("")

    assert feed(assembler, "a/", "b") == ["a"]
    assert feed(assembler, "b", "c/") == ["b", "c"]
    assert feed(assembler, "c/", "d/") == ["d"]


def test_markers_are_not_shown_and_impossible_names_are_counted() -> None:
    assembler = EntryMerger("d/")

    marker = ListPage([ListedObject("d/", 0, 0, "e")], [], "more")

    assert assembler.feed(marker) == []
    assert feed(assembler, "d/.", "d/..", "d//", "d/./", "d/ok/") == ["ok"]
    assert assembler.hidden == 4


def test_a_listing_in_order_is_past_a_name_when_neither_it_nor_its_directory_can_come() -> None:
    assembler = EntryMerger("d/")
    feed(assembler, "d/a", "d/b", "d/c")

    assert assembler.is_past("a")
    assert assembler.is_past("aa")
    assert not assembler.is_past("c")

"""Raw pages in, escaped entries out; tests/property compares whole trees."""

from s3mount.filesystem.listing.escaped_merger import EscapedEntryMerger
from s3mount.s3.model import ListedObject, ListPage
from s3mount.s3.views.key_escape import KeyEscape


def new_merger(prefix: str = "", *, keys_needed: int | None = 0) -> EscapedEntryMerger:
    return EscapedEntryMerger(prefix, KeyEscape(), keys_needed=keys_needed)


def add(merger: EscapedEntryMerger, *raws: str, marker: int = 0) -> list[str]:
    objects = [ListedObject(raw, 1, 0, "e") for raw in raws if not raw.endswith("/")]
    objects[:0] = [ListedObject("", marker, 0, "e")] if marker else []
    page = ListPage(objects, [raw for raw in raws if raw.endswith("/")], "more")
    return sorted(entry.name.decode() for entry in merger.add(page))


def finish(merger: EscapedEntryMerger) -> list[str]:
    return sorted(entry.name.decode() for entry in merger.finish())


def test_a_shadowed_file_is_shown_as_soon_as_its_directory_has_come() -> None:
    merger = new_merger()

    assert add(merger, "a", "a-b") == []
    assert add(merger, "a/", "b") == ["%file=a", "a", "a-b"]
    assert finish(merger) == ["b"]


def test_a_shadowed_file_in_no_order_is_shown_with_its_directory() -> None:
    merger = new_merger(keys_needed=None)

    add(merger, "c/", "a", "b")
    add(merger, "a/", "c", "b")

    assert finish(merger) == ["%file=a", "%file=c", "a", "b", "c"]


def test_names_that_sort_elsewhere_break_no_order() -> None:
    merger = new_merger()

    assert add(merger, "!", "%file=x", ".", "/", "./", "x") == [
        "!",
        "%dir=",
        "%dir=.",
        "%file=%file=x",
        "%file=.",
    ]
    assert merger.is_ordered
    assert merger.hidden_count == 0


def test_a_marker_is_shown_if_it_has_bytes() -> None:
    assert add(new_merger(), "b", "c", marker=3) == ["%file=", "b"]
    assert add(new_merger(), "b", "c") == ["b"]


def test_the_directory_of_a_part_is_shown_once_and_last() -> None:
    merger = new_merger()
    begin = "n" * 200

    assert add(merger, begin + "a" * 60, begin + "b/", begin + "c") == [begin + "b"]
    assert add(merger, begin + "d" * 60 + "/", "o", "p") == [begin + "c", "o"]
    assert finish(merger) == ["%long=" + begin, "p"]


def test_a_copy_goes_on_by_itself() -> None:
    merger = new_merger()
    add(merger, "n" * 260)

    twin = merger.copy()
    add(twin, "o" * 260)

    assert finish(merger) == ["%long=" + "n" * 200]
    assert finish(twin) == ["%long=" + "n" * 200, "%long=" + "o" * 200]
    assert (merger.pending_count, twin.pending_count) == (1, 2)

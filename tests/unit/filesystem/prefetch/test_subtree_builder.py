import pytest

from s3mount.filesystem.prefetch.subtree_builder import (
    Finished,
    SubtreeBuilder,
    UnorderedListingError,
)
from s3mount.s3.model import ListedObject, ListPage, ListQuery


def page(*keys: str, token: str | None = None) -> ListPage:
    return ListPage([ListedObject(key, 1, 0, "e") for key in keys], [], token)


def shown(finished: list[Finished]) -> dict[str, list[str]]:
    return {
        directory.prefix: sorted(
            row.name.decode() + "/" * (row.size < 0) for row in directory.entries
        )
        for directory in finished
    }


def test_a_directory_is_finished_when_a_key_has_left_it() -> None:
    subtree = SubtreeBuilder("", "a/")

    first = subtree.add(page("a/1", "a/x/2", "a/y", "b/3", token="t"), 0.0)
    assert shown(first) == {"a/x/": ["2"], "a/": ["1", "x/", "y"]}
    assert shown(subtree.add(page("b/4"), 0.0)) == {"b/": ["3", "4"]}
    assert subtree.is_complete


def test_a_finished_directory_is_not_kept() -> None:
    """A scan is remembered for long, and what it keeps is not in the metadata limit."""
    subtree = SubtreeBuilder("", "a/")

    finished = subtree.add(page("a/x/1", "b/2", token="t"), 0.0)

    assert len(finished) == 2
    assert subtree._finished == []


def test_the_first_directory_is_finished_even_if_no_key_is_in_it() -> None:
    assert shown(SubtreeBuilder("", "a/").add(page("b/1"), 0.0)) == {"a/": [], "b/": ["1"]}


def test_a_directory_shadows_a_file_of_its_name() -> None:
    assert shown(SubtreeBuilder("", "a/").add(page("a/b", "a/b-c", "a/b/d"), 0.0)) == {
        "a/b/": ["d"],
        "a/": ["b-c", "b/"],
    }


def test_invalid_names_are_counted_once_for_each_component() -> None:
    [inner, outer] = SubtreeBuilder("", "a/").add(
        page("a/", "a/.", "a/./d", "a//b", "a//c", "a/ok/e"), 0.0
    )

    assert shown([inner, outer]) == {"a/ok/": ["e"], "a/": ["ok/"]}
    assert outer.hidden == 3


def test_keys_out_of_order_raise() -> None:
    with pytest.raises(UnorderedListingError):
        SubtreeBuilder("", "a/").add(page("a/2", "b/1", "a/1"), 0.0)


def test_a_listing_starts_after_its_start_and_continues_by_token() -> None:
    subtree = SubtreeBuilder("p/", "p/a/")

    assert subtree.next_query() == ListQuery("p/", delimiter="", start_after="p/a/")
    subtree.add(page("p/a/1", token="t"), 0.0)
    assert subtree.next_query() == ListQuery("p/", delimiter="", token="t")


def test_a_directory_is_as_old_as_the_request_for_its_first_key() -> None:
    subtree = SubtreeBuilder("", "a/")
    subtree.add(page("a/1", "b/1", token="t"), 5.0)

    [finished] = subtree.add(page("b/2"), 9.0)
    assert (finished.prefix, finished.requested_at) == ("b/", 5.0)

"""Prefetched files are small and bounded, in whatever order files are opened."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.prefetch.sibling_prefetcher import AHEAD_MAX, SMALL, SiblingPrefetcher
from s3mount.filesystem.prefetch.traversal_order import TraversalOrders

Tree = dict[str, list[EntryPage]]  # the pages of each directory

_sizes = st.sampled_from([0, 1, SMALL, SMALL + 1])


@st.composite
def trees(draw: st.DrawFn, prefix: str = "", depth: int = 3) -> Tree:
    """Directories with files and directories, each in pages of up to five entries."""
    names = sorted(draw(st.sets(st.integers(0, 40), max_size=12)))
    directories = [name for name in names if depth and draw(st.integers(0, 2)) == 0]
    rows = [
        Entry(b"%02d" % name)
        if name in directories
        else Entry(b"%02d" % name, draw(_sizes), 0, "e")
        for name in names
    ]
    tree = {
        prefix: [
            EntryPage("bucket", prefix, rows[at : at + 5], 0.0) for at in range(0, len(rows), 5)
        ]
    }
    for name in directories:
        tree |= draw(trees(f"{prefix}{name:02}/", depth - 1))
    return tree


def files_of(tree: Tree) -> list[tuple[EntryPage, int]]:
    pages = [page for directory in tree.values() for page in directory]
    return [
        (page, index)
        for page in pages
        for index in range(len(page))
        if not page.is_directory(index)
    ]


@given(trees(), st.data())
def test_any_files_may_be_opened_in_any_order(tree: Tree, data: st.DataObject) -> None:
    known: Sequence[str] = data.draw(st.lists(st.sampled_from(sorted(tree)), unique=True))
    siblings = SiblingPrefetcher(
        TraversalOrders(
            lambda prefix, _most: (tree.get(prefix) or None) if prefix in known else None, ""
        )
    )
    files = files_of(tree)
    opened = data.draw(st.lists(st.integers(0, len(files) - 1), max_size=40)) if files else []
    for number in opened:
        ahead = list(siblings.on_open(*files[number]))

        assert len(ahead) <= AHEAD_MAX
        assert all(0 < found.page.sizes[found.at] <= SMALL for found in ahead)

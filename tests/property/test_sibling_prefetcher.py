"""Prefetched files are small and bounded, in whatever order files are opened."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.prefetch.file_reader import AHEAD_MAX
from s3mount.filesystem.prefetch.policy import SMALL
from s3mount.filesystem.prefetch.sibling_prefetcher import SiblingPrefetcher
from s3mount.filesystem.prefetch.traversal_cursor import Descent, Traversal, TraversalCursor
from s3mount.filesystem.prefetch.traversal_order import EntryRef, OrderKind, TraversalOrders

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


def prefetcher(tree: Tree, known: Sequence[str]) -> SiblingPrefetcher:
    """A prefetcher that knows the directories *known* whole; an empty one has no pages."""
    pages = {prefix: tree[prefix] for prefix in known}
    return SiblingPrefetcher(TraversalOrders(lambda prefix, _most: pages.get(prefix), ""))


@given(trees(), st.data())
def test_any_files_may_be_opened_in_any_order(tree: Tree, data: st.DataObject) -> None:
    known: Sequence[str] = data.draw(st.lists(st.sampled_from(sorted(tree)), unique=True))
    siblings = prefetcher(tree, known)
    files = files_of(tree)
    opened = data.draw(st.lists(st.integers(0, len(files) - 1), max_size=40)) if files else []
    for number in opened:
        ahead = list(siblings.on_open(*files[number]))

        assert len(ahead) <= AHEAD_MAX
        assert all(0 < found.page.sizes[found.at] <= SMALL for found in ahead)


PER_OPEN_MAX = 32  # files in vain


@given(trees(), st.data())
def test_what_is_prefetched_in_vain_is_bounded_by_what_was_opened(
    tree: Tree, data: st.DataObject
) -> None:
    """The reader goes along with what was prefetched, and turns aside at the worst moments."""
    siblings, files = prefetcher(tree, sorted(tree)), files_of(tree)
    if not files:
        return
    opened: set[tuple[EntryPage, int]] = set()
    prefetched: set[tuple[EntryPage, int]] = set()
    ahead = files
    for count in range(1, 41):
        page, index = data.draw(st.sampled_from(ahead[:2] + files))
        found = [(each.page, each.at) for each in siblings.on_open(page, index)]
        opened.add((page, index))
        prefetched.update(found)
        ahead = found or ahead[1:]

        assert len(prefetched - opened) <= PER_OPEN_MAX * count


def orders(tree: Tree, prefix: str, kind: OrderKind, descent: Descent) -> list[EntryRef]:
    """The files below *prefix* as a reader of the whole tree opens them: the model."""
    rows = [EntryRef(page, index) for page in tree[prefix] for index in range(len(page))]
    if kind is OrderKind.INODE:
        rows.sort(key=lambda row: row.page.inode(row.at))
    if descent is not Descent.IN_PLACE:
        is_last = descent is Descent.AFTER_FILES
        rows.sort(key=lambda row: (row.size < 0) is is_last)
    found: list[EntryRef] = []
    for row in rows:
        if row.size < 0:
            found += orders(tree, row.page.key(row.at) + "/", kind, descent)
        elif row.size:
            found.append(row)
    return found


@given(trees(), st.sampled_from(OrderKind), st.sampled_from(Descent), st.data())
def test_a_cursor_goes_through_a_tree_as_its_reader_does(
    tree: Tree, kind: OrderKind, descent: Descent, data: st.DataObject
) -> None:
    files = orders(tree, "", kind, descent)
    if not files:
        return
    start = data.draw(st.integers(0, len(files) - 1))
    known = TraversalOrders(lambda prefix, _most: tree.get(prefix), "")
    order = known.containing(kind, files[start].page)
    assert order is not None
    cursor = TraversalCursor(known, Traversal(kind, descent), order, files[start])

    assert list(iter(cursor.next, None)) == files[start + 1 :]


@given(trees(), st.sampled_from(OrderKind), st.sampled_from(Descent), st.data())
def test_a_cursor_goes_on_when_more_directories_are_known(
    tree: Tree, kind: OrderKind, descent: Descent, data: st.DataObject
) -> None:
    files = orders(tree, "", kind, descent)
    if not files:
        return
    pages = {files[0].page.prefix: tree[files[0].page.prefix]}
    known = TraversalOrders(lambda prefix, _most: pages.get(prefix), "")
    order = known.containing(kind, files[0].page)
    assert order is not None
    cursor = TraversalCursor(known, Traversal(kind, descent), order, files[0])
    found: list[EntryRef] = []
    for prefix in data.draw(st.permutations(sorted(tree))):
        found += iter(cursor.next, None)
        pages[prefix] = tree[prefix]

    assert found + list(iter(cursor.next, None)) == files[1:]


@given(tree=trees(), every=st.integers(1, 5), step=st.integers(1, 2))
def test_files_may_be_opened_while_pages_become_others(tree: Tree, every: int, step: int) -> None:
    """As those of directories do that are packed and unpacked."""
    calls = iter(range(1, 1 << 30))

    def pages_of(prefix: str, _most: int) -> Sequence[EntryPage] | None:
        if prefix in tree and next(calls) % every == 0:
            tree[prefix] = [page.subset(range(len(page))) for page in tree[prefix]]
        return tree.get(prefix)

    policy = SiblingPrefetcher(TraversalOrders(pages_of, ""))

    for number in range(0, len(files_of(tree)), step):
        list(policy.on_open(*files_of(tree)[number]))

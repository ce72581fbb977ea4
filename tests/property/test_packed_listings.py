"""What is unpacked equals what was packed, whatever the names; and a tree shows no difference."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import DIRECTORY, Entry, EntryPage
from s3mount.filesystem.listing.listing_state import ListingState
from s3mount.filesystem.listing.packed_listing import (
    ENTRIES_MAX,
    entry_count,
    header,
    inodes_of,
    is_below,
    pack,
    prefix_of,
    unpack,
    unpack_page,
)
from s3mount.filesystem.names import PLAIN_NAMES, decode, encode
from s3mount.filesystem.namespace import directory_lru
from tests.fakes.memory_store import MemoryStore
from tests.property.kernel import Clock, kernel_on, truth, walk
from tests.property.running import run
from tests.property.strategies import bodies, page_sizes
from tests.unit.filesystem.evidence import proven, unordered

names = st.one_of(st.binary(min_size=1, max_size=255), st.text("ab-/.é", min_size=1).map(encode))
sizes = st.one_of(st.just(DIRECTORY), st.integers(0, 3), st.integers(0, 2**63 - 1))
times = st.integers(-(2**63), 2**63 - 1)
md5s = st.binary(min_size=16, max_size=16).map(bytes.hex)
etags = st.one_of(md5s, st.text(max_size=40).filter(str.isprintable))
prefixes = st.one_of(st.just(""), names.map(lambda name: f"{decode(name)}/"))
ORDERS = {"in order": proven(), "in no order": unordered()}


@st.composite
def entries(draw: st.DrawFn, etag: st.SearchStrategy[str] = etags) -> list[Entry]:
    files = draw(st.dictionaries(names, st.tuples(sizes, times, etag), max_size=6))
    return [
        Entry(name) if size == DIRECTORY else Entry(name, size, mtime_ns, etag)
        for name, (size, mtime_ns, etag) in files.items()
    ]


def _filled(prefix: str, entries: list[Entry], order: str) -> DirectoryListing:
    listing = DirectoryListing("bucket", prefix, 3.25, ORDERS[order], names=PLAIN_NAMES)
    listing.fill(entries, 0)
    return listing


@given(
    entries=st.one_of(entries(), entries(md5s)),
    prefix=prefixes,
    order=st.sampled_from(sorted(ORDERS)),
    is_referenced=st.booleans(),
    moved=st.integers(1, 2**60 - 1),
)
def test_what_is_unpacked_equals_what_was_packed(
    *, entries: list[Entry], prefix: str, order: str, is_referenced: bool, moved: int
) -> None:
    listing = _filled(prefix, entries, order)
    listing.is_unreferenced = not is_referenced
    page = listing.pages[0] if listing.pages else None
    if page is not None:
        page.move_inode(len(page) - 1, moved)
    state = listing.state()
    assert state is not None

    packed = pack(state, page, source=7, used_at=8, inode=2**60 - 1)

    assert packed is not None
    assert (7, 8, 2**60 - 1) == (
        header(packed).source,
        header(packed).used_at,
        header(packed).inode,
    )
    assert encode(prefix) == prefix_of(packed)
    assert all(is_below(packed, encode(prefix)[:length]) for length in range(len(prefix) + 1))
    if page is not None:  # whose first inode number follows the prefix
        assert not is_below(packed, encode(prefix) + inodes_of(packed).tobytes()[:1])
    assert listing.entry_count == header(packed).entry_count == entry_count(packed)
    twin = unpack(packed, listing.source)
    assert (state, listing.source) == (twin.state(), twin.source)
    assert (listing.weight, listing.entry_count) == (twin.weight, twin.entry_count)
    assert list(inodes_of(packed)) == ([] if page is None else list(page.inodes))
    assert list(_rows(listing.pages)) == list(_rows(twin.pages))
    assert all(twin.find(entry.name) is not None for entry in entries)


def _rows(pages: list[EntryPage | None]) -> Iterator[tuple[object, ...]]:
    for page in filter(None, pages):
        for index in range(len(page)):
            fields = page.sizes[index], page.mtimes[index], page.inode(index)
            is_file = not page.is_directory(index)
            yield page.name(index), *fields, is_file and page.version(index), page.requested_at


def _state_of(page: EntryPage) -> ListingState | None:
    listing = DirectoryListing("bucket", page.prefix, page.requested_at, ORDERS["in order"])
    listing.restore([page], 0, is_derived=False)
    return listing.state()


@pytest.mark.parametrize(
    "entry",
    [
        Entry(b"a", 1, 1, "e" * 32, version_id="1"),
        Entry(b"a", 1, 1, "e" * 32, storage_class="GLACIER"),
        Entry(b"a", 1, 1, "e" * 32, owner="o"),
        Entry(b"a", 1, 1, "e" * 70_000),
    ],
    ids=["version id", "storage class", "owner", "long ETag"],
)
def test_what_does_not_fit_is_not_packed(entry: Entry) -> None:
    page = EntryPage("bucket", "d/", [entry], 0.0)
    state = _state_of(page)
    assert state is not None

    assert pack(state, page, source=1, used_at=1, inode=1) is None


def test_a_large_directory_is_not_packed() -> None:
    entries = [Entry(b"%d" % n, n, n, f"{n:032x}") for n in range(ENTRIES_MAX + 1)]
    page = EntryPage("bucket", "d/", entries, 0.0)
    state = _state_of(page)
    assert state is not None

    assert pack(state, page, source=1, used_at=1, inode=1) is None


@pytest.mark.parametrize(("breaks", "source"), [(1 << 32, 1), (0, 1 << 32)])
def test_numbers_beyond_their_fields_are_not_packed(breaks: int, source: int) -> None:
    page = EntryPage("bucket", "d/", [Entry(b"a", 1, 1, "e" * 32)], 0.0)
    state = _state_of(page)
    assert state is not None

    assert (
        pack(state._replace(subtree_breaks=breaks), page, source=source, used_at=1, inode=1) is None
    )


@pytest.mark.parametrize("name_length", [1, 255])
@pytest.mark.parametrize("prefix_length", [1, 1024])
def test_the_longest_names_of_the_largest_directory_are_packed(
    name_length: int, prefix_length: int
) -> None:
    count = ENTRIES_MAX if name_length > 1 else 1
    names = [b"%0*d" % (name_length, number) for number in range(count)]
    entries = [Entry(name, (1 << 63) - 1, (1 << 63) - 1, "ä" * 16_000) for name in names]
    page = EntryPage("bucket", "d" * (prefix_length - 1) + "/", entries, 0.0)
    state = _state_of(page)
    assert state is not None

    packed = pack(state, page, source=1, used_at=(1 << 64) - 1, inode=(1 << 64) - 1)

    assert packed is not None
    twin = unpack_page(packed, "bucket")
    assert twin is not None
    assert (twin.prefix, twin.columns()) == (page.prefix, page.columns())


@given(bodies=bodies(), page_size=page_sizes, unpacked=st.integers(1, 3))
def test_a_tree_of_packed_directories_is_the_same(
    bodies: dict[str, bytes], page_size: int, unpacked: int
) -> None:
    store = MemoryStore(bodies, page_size=page_size)

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            for _ in range(2):
                assert await walk(kernel) == truth(store)
                kernel.forget_all()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory_lru, "UNPACKED_MAX", unpacked)
        run(main)

"""Each version has one inode number while it is referred to, the same after a remount."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.errors import StaleVersion
from s3mount.filesystem.listing.entry_page import ENTRIES_MAX, Entry, EntryPage
from s3mount.filesystem.namespace.inode_table import ROOT, InodeTable
from tests.fakes.memory_store import BUCKET, MemoryStore
from tests.property.kernel import Clock, Kernel, Seen, kernel_on, truth
from tests.property.running import run
from tests.property.strategies import bodies, page_sizes
from tests.reference import directories_of, files_of

names = st.sampled_from([b"a", b"b", b"ab"])


@given(bodies=bodies(), page_size=page_sizes)
def test_no_number_stands_for_two_and_a_remount_gives_the_same(
    bodies: dict[str, bytes], page_size: int
) -> None:
    store = MemoryStore(bodies, page_size=page_size)

    async def main() -> dict[bytes, int]:
        async with kernel_on(store, Clock()) as kernel:
            numbers = await _numbers(kernel)
            assert len(set(numbers.values())) == len(numbers)
            assert ROOT not in numbers.values()
            return numbers

    assert run(main) == run(main)


@given(bodies=bodies(), page_size=page_sizes)
def test_a_lookup_and_a_listing_show_the_same_number(
    bodies: dict[str, bytes], page_size: int
) -> None:
    store = MemoryStore(bodies, page_size=page_size)
    paths = [*directories_of(truth(store)), *(path for path, _ in files_of(truth(store)))]

    async def looked_up() -> dict[bytes, int]:
        async with kernel_on(store, Clock()) as kernel:
            found = {path: await kernel.resolve(path) for path in paths}
            return {path: seen.inode for path, seen in found.items() if seen is not None}

    async def listed() -> dict[bytes, int]:
        async with kernel_on(store, Clock()) as kernel:
            return await _numbers(kernel)

    assert run(looked_up) == run(listed)


@given(body=st.binary(max_size=3), other=st.binary(max_size=3))
def test_a_new_version_has_a_new_number(body: bytes, other: bytes) -> None:
    store = MemoryStore({"a": body})
    clock = Clock()

    async def main() -> None:
        async with kernel_on(store, clock) as kernel:
            before = await kernel.lookup(ROOT, b"a")
            store.put("a", other)
            clock.now += 61
            after = await kernel.lookup(ROOT, b"a")
            assert before is not None
            assert after is not None
            assert (before.inode == after.inode) == (body == other)

    run(main)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["look up", "forget"]),
            st.integers(0, 3),
            names,
            st.integers(0, 1),
            st.integers(1, 3),
        ),
        max_size=40,
    )
)
def test_lookup_counts_add_up_even_if_all_numbers_collide(
    steps: list[tuple[str, int, bytes, int, int]],
) -> None:
    table = InodeTable()
    pages = [_colliding(number) for number in range(4)]
    held: dict[int, tuple[str, str]] = {}
    counts: dict[int, int] = {}
    for step, number, name, etag, count in steps:
        page = pages[number][etag]
        if step == "look up":
            index = page.find(name)
            assert index is not None
            inode = table.add_reference(page, index)
            identity = (page.key(index), page.etag(index))
            assert held.setdefault(inode, identity) == identity
            counts[inode] = counts.get(inode, 0) + 1
        elif counts:
            inode = sorted(counts)[count % len(counts)]
            table.forget(inode, min(count, counts[inode]))
            counts[inode] -= min(count, counts[inode])
            if not counts[inode]:
                del counts[inode], held[inode]
        assert len(table) == len(counts)
        for inode in counts:
            entries, index = table.resolve(inode)
            assert (entries.key(index), entries.etag(index)) == held[inode]


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(-70_000, 40_000), min_size=1, max_size=6),
    pages=st.integers(1, 2),
)
def test_counts_of_many_thousand_lookups_are_exact(counts: list[int], pages: int) -> None:
    table = InodeTable()
    same = [EntryPage(BUCKET, "d/", [Entry(b"a", 1, 0, "e")], float(at)) for at in range(pages)]
    inode, held = same[0].inode(0), 0
    for count in counts:  # positive: lookups, of each page in turn; negative: forgotten
        for at in range(count):
            table.add_reference(same[at % pages], 0)
            table.mark_read(inode)
        held += count if count > 0 else -min(held, -count)
        if count < 0:
            table.forget(inode, -count)
        assert len(table) == (held > 0)
        assert table.was_read(inode) == (held > 0)

    if held:
        table.forget(inode, held - 1)
        assert len(table) == 1
        table.forget(inode, 1)
    assert len(table) == 0
    assert not any(page.reference_count for page in same)


def test_a_number_without_a_reference_is_stale() -> None:
    table = InodeTable()

    with pytest.raises(StaleVersion):
        table.resolve(4711)


def _colliding(number: int) -> tuple[EntryPage, EntryPage]:
    """Two listings of one directory, before and after a change; all inode numbers are the same."""
    both = tuple(
        EntryPage(
            BUCKET,
            f"{number}/",
            [Entry(name, 1, 0, etag * 32) for name in (b"a", b"b", b"ab")],
            0.0,
        )
        for etag in ("0", "1")
    )
    for entries in both:
        for index in range(len(entries)):
            entries.move_inode(index, 7)
    return both[0], both[1]


async def _numbers(
    kernel: Kernel, above: Seen | None = None, path: bytes = b""
) -> dict[bytes, int]:
    numbers: dict[bytes, int] = {}
    for name, seen in await kernel.readdir(above.inode if above else ROOT):
        numbers[path + name] = seen.inode
        if seen.is_directory:
            numbers |= await _numbers(kernel, seen, path + name + b"/")
    return numbers


@given(
    sizes=st.lists(
        st.sampled_from([1, 2, 255, 256, 1000, ENTRIES_MAX - 1, ENTRIES_MAX]),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=20)
def test_the_number_of_any_entry_of_a_page_of_any_size_stands_for_that_entry(
    sizes: list[int],
) -> None:
    table = InodeTable()
    pages = [
        EntryPage(
            BUCKET,
            f"{number}/",
            [Entry(b"%06d" % index, index, 0, "e") for index in range(size)],
            0.0,
        )
        for number, size in enumerate(sizes)
    ]
    inodes = {
        table.add_reference(page, index): (page, index)
        for page in pages
        for index in {0, len(page) // 2, len(page) - 2, len(page) - 1} & set(range(len(page)))
    }

    assert {inode: table.resolve(inode) for inode in inodes} == inodes
    for inode in inodes:
        table.forget(inode, 1)
    assert len(table) == 0
    assert [page.reference_count for page in pages] == [0] * len(pages)


def test_a_page_has_no_more_entries_than_an_index_can_count() -> None:
    with pytest.raises(ValueError, match="the limit is 65535"):
        EntryPage(BUCKET, "", [Entry(b"%06d" % index) for index in range(ENTRIES_MAX + 1)], 0.0)


def test_an_inode_can_be_looked_up_more_often_than_32_bits_count() -> None:
    table, page = (
        InodeTable(),
        EntryPage(BUCKET, "", [Entry(b"a", 1, 0, "e"), Entry(b"b", 1, 0, "e")], 0.0),
    )
    inode = table.add_reference(page, 0)
    table.add_reference(page, 1)
    table._carried[inode] = 1 << 40  # as many lookups more

    assert table.resolve(inode) == (page, 0)
    table.forget(inode, (1 << 40) + 1)
    assert len(table) == 1

import tracemalloc

import pytest

from s3mount.errors import StaleVersion
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.namespace.inode_table import InodeTable


def entries(*names: bytes, etag: str = "e", requested_at: float = 0.0) -> EntryPage:
    return EntryPage("bucket", "d/", [Entry(name, 1, 0, etag) for name in names], requested_at)


def test_an_inode_lives_until_every_reference_is_forgotten() -> None:
    table, page = InodeTable(), entries(b"a")
    inode = table.add_reference(page, 0)
    table.add_reference(page, 0)

    table.forget(inode, 1)
    assert table.resolve(inode) == (page, 0)
    table.forget(inode, 1)
    assert len(table) == 0
    assert page.reference_count == 0


def test_an_inode_that_the_kernel_does_not_refer_to_is_stale() -> None:
    with pytest.raises(StaleVersion):
        InodeTable().resolve(99)


def test_a_newer_entry_of_the_same_version_takes_the_inode_over() -> None:
    table, old, new = InodeTable(), entries(b"a"), entries(b"a", requested_at=1.0)
    inode = table.add_reference(old, 0)

    assert table.add_reference(new, 0) == inode
    assert table.resolve(inode) == (new, 0)
    assert old.reference_count == 0
    table.forget(inode, 2)
    assert len(table) == 0


def test_that_an_inode_was_read_is_known_until_it_is_forgotten_whatever_page_it_is_in() -> None:
    table, old, new = InodeTable(), entries(b"a", b"b", b"c", b"d"), entries(b"a", requested_at=1.0)
    inode = table.add_reference(old, 0)
    assert not table.was_read(inode)

    table.mark_read(inode)
    table.add_reference(old, 0)
    table.shrink(old)
    table.add_reference(new, 0)

    assert table.was_read(inode)
    table.forget(inode, 2)
    assert table.was_read(inode)
    table.forget(inode, 1)
    assert len(table) == 0
    table.mark_read(inode)
    assert not table.was_read(inode)
    assert new.reference_count == old.reference_count == 0


def test_an_inode_stands_for_one_entry_of_one_page() -> None:
    table, old, new = InodeTable(), entries(b"a"), entries(b"a", requested_at=1.0)
    assert not table.stands_for(old, 0)
    inode = table.add_reference(old, 0)
    assert (table.stands_for(old, 0), table.stands_for(new, 0)) == (True, False)

    table.add_reference(new, 0)

    assert (table.stands_for(old, 0), table.stands_for(new, 0)) == (False, True)
    table.forget(inode, 2)
    assert not table.stands_for(new, 0)


def test_another_version_is_another_inode() -> None:
    table = InodeTable()

    assert table.add_reference(entries(b"a"), 0) != table.add_reference(entries(b"a", etag="f"), 0)


def test_of_two_live_inodes_of_one_number_the_second_moves_on() -> None:
    table, first, second = InodeTable(), entries(b"a"), entries(b"b")
    inode = table.add_reference(first, 0)
    second.move_inode(0, inode)

    assert table.add_reference(second, 0) == inode + 1
    assert table.add_reference(second, 0) == inode + 1
    assert table.resolve(inode) == (first, 0)
    assert table.resolve(inode + 1) == (second, 0)


def test_forgetting_more_than_was_referred_to_does_no_harm() -> None:
    table = InodeTable()
    inode = table.add_reference(entries(b"a"), 0)

    table.forget(inode, 5)
    table.forget(inode, 5)
    assert len(table) == 0


def test_a_page_with_few_references_shrinks_to_the_entries_that_have_them() -> None:
    table = InodeTable()
    page = EntryPage(
        "bucket", "", [Entry(b"%04d" % index, index, 0, "e") for index in range(1000)], 0.0
    )
    inodes = {table.add_reference(page, index): index for index in (7, 500, 999)}
    for index in inodes.values():
        table.add_reference(page, index)
    table.shrink(page)

    assert page.reference_count == 0
    for inode, index in inodes.items():
        subset, at = table.resolve(inode)
        assert (len(subset), subset.name(at), subset.inode(at)) == (3, b"%04d" % index, inode)
        table.forget(inode, 2)
    assert len(table) == 0


def test_a_page_with_many_references_stays_as_it_is() -> None:
    table = InodeTable()
    page = EntryPage(
        "bucket", "", [Entry(b"%04d" % index, index, 0, "e") for index in range(10)], 0.0
    )
    inode = table.add_reference(page, 3)
    for index in range(5):
        table.add_reference(page, index)
    table.shrink(page)

    assert table.resolve(inode) == (page, 3)


def test_a_table_that_grows_takes_little_memory_twice() -> None:
    count = 2 * (1 << 16) // 3 + 10  # where a dict has just grown
    page = EntryPage("bucket", "d/", [Entry(b"%05d" % number) for number in range(count)], 0.0)
    table = InodeTable()
    tracemalloc.start()

    for index in range(count):
        table.add_reference(page, index)

    taken, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - taken < taken / 20

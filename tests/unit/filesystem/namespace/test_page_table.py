"""Numbers of pages stay within their bits, however long the mount lives."""

import pytest

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.namespace import page_table
from s3mount.filesystem.namespace.inode_table import InodeTable

REFERENCE_MAX = (
    1 << 60
)  # beyond it CPython's integers take 48 bytes, beyond 2**64 no array has them


def looked_up(name: bytes) -> EntryPage:
    return EntryPage("bucket", "d/", [Entry(name, 1, 0, "e")], 0.0, is_looked_up=True)


def test_a_number_is_used_again_once_all_were_but_not_while_a_reference_points_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_table, "_HASHED", page_table._NUMBER_MAX - 3)
    table = InodeTable()
    table._pages._last_number = page_table._NUMBER_MAX - 3
    kept = looked_up(b"kept")
    inode = table.add_reference(kept, 0)

    for number in range(20):
        page = looked_up(b"%d" % number)
        other = table.add_reference(page, 0)
        assert table.resolve(inode) == (kept, 0)
        assert table.resolve(other) == (page, 0)
        assert all(each < REFERENCE_MAX for dicts in table._references for each in dicts.values())
        table.forget(other, 1)

    table.forget(inode, 1)
    assert table._pages.numbers() == []

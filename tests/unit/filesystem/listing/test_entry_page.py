import pytest

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.s3.model import ObjectVersion

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def entries(*rows: Entry, prefix: str = "d/") -> EntryPage:
    return EntryPage("bucket", prefix, rows, as_of=0.0)


def test_entries_are_sorted_and_found_by_name() -> None:
    columns = entries(Entry(b"b", 2, 20, MD5), Entry(b"a", 1, 10, MD5), Entry(b"c"))

    assert [columns.name(index) for index in range(3)] == [b"a", b"b", b"c"]
    assert columns.find(b"b") == 1
    assert columns.find(b"bb") is None


def test_a_file_gives_its_version_back() -> None:
    columns = entries(Entry(b"a", 1, 10, MD5))

    assert columns.version(0) == ObjectVersion("bucket", "d/a", MD5, 1)


def test_a_version_id_comes_back_with_its_version() -> None:
    page = entries(Entry(b"a", 1, 10, MD5), Entry(b"b", 1, 10, MD5, version_id="v1"))

    assert [page.version(index).version_id for index in range(2)] == [None, "v1"]
    assert [page.subset([1]).version(0).version_id] == ["v1"]


@pytest.mark.parametrize(
    "etag", [MD5, MD5.upper(), MD5 + "-12", "", "no hex at all, of 32 characters.", "é"]
)
def test_any_etag_comes_back_as_it_went_in(etag: str) -> None:
    columns = entries(Entry(b"a", 1, 10, etag), Entry(b"b", 1, 10, MD5))

    assert [etag, MD5] == [columns.etag(0), columns.etag(1)]


def test_an_inode_number_depends_on_bucket_prefix_name_etag_and_size_alone() -> None:
    row = Entry(b"a", 1, 10, MD5)
    number = entries(row).inode(0)

    assert number == entries(row._replace(mtime_ns=99), Entry(b"b")).inode(0)
    assert number not in {
        entries(row, prefix="e/").inode(0),
        entries(row._replace(name=b"b")).inode(0),
        entries(row._replace(size=2)).inode(0),
        entries(row._replace(etag=MD5 + "-1")).inode(0),
        EntryPage("other", "d/", [row], 0.0).inode(0),
    }


def test_an_inode_number_is_neither_none_nor_the_root_s_and_positive_in_63_bits() -> None:
    numbers = [entries(Entry(b"%d" % index, 1, 0, MD5)).inode(0) for index in range(2000)]

    assert all(1 < number < 1 << 63 for number in numbers)


def test_an_empty_etag_among_files_is_not_mistaken_for_zeros() -> None:
    assert not entries(Entry(b"a", 1, 0, "")).is_same(0, entries(Entry(b"a", 1, 0, "0" * 32)), 0)

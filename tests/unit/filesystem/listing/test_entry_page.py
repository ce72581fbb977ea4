import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem import weights
from s3mount.filesystem.listing.entry_page import INODE_BITS, Entry, EntryPage
from s3mount.s3.model import ObjectVersion

MD5 = "d41d8cd98f00b204e9800998ecf8427e"


def entries(*rows: Entry, prefix: str = "d/") -> EntryPage:
    return EntryPage("bucket", prefix, rows, requested_at=0.0)


def test_entries_are_sorted_and_found_by_name() -> None:
    page = entries(Entry(b"b", 2, 20, MD5), Entry(b"a", 1, 10, MD5), Entry(b"c"))

    assert [page.name(index) for index in range(3)] == [b"a", b"b", b"c"]
    assert page.find(b"b") == 1
    assert page.find(b"bb") is None


def test_an_entry_of_a_file_is_its_version() -> None:
    page = entries(Entry(b"a", 1, 10, MD5))

    assert page.version(0) == ObjectVersion("bucket", "d/a", MD5, 1)


@pytest.mark.parametrize(
    "etag", [MD5, MD5.upper(), MD5 + "-12", "", "no hex at all, of 32 characters.", "é"]
)
def test_any_etag_comes_back_as_it_went_in(etag: str) -> None:
    page = entries(Entry(b"a", 1, 10, etag), Entry(b"b", 1, 10, MD5))

    assert [etag, MD5] == [page.etag(0), page.etag(1)]


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


def test_inode_numbers_are_above_the_root_s_and_fill_their_bits() -> None:
    numbers = [entries(Entry(b"%d" % index, 1, 0, MD5)).inode(0) for index in range(2000)]

    assert all(1 < number < 1 << INODE_BITS for number in numbers)
    assert max(numbers) > 1 << INODE_BITS - 1  # those who weigh distances rely on it


def test_an_empty_etag_is_not_mistaken_for_zeros() -> None:
    assert not entries(Entry(b"a", 1, 0, "")).is_same(0, entries(Entry(b"a", 1, 0, "0" * 32)), 0)


@given(st.lists(st.integers(0, 2**63 - 1) | st.sampled_from([0x0101, 0x010101010101]), min_size=1))
def test_an_entry_is_found_by_its_inode_number(numbers: list[int]) -> None:
    """Also where the bytes of two neighbours together look like a number."""
    page = entries(*(Entry(b"%04d" % index) for index in range(len(numbers))))
    for index, number in enumerate(numbers):
        page.move_inode(index, number)

    assert [page.index_of(each) for each in numbers] == [numbers.index(each) for each in numbers]
    assert page.index_of(2**63 - 2) == (numbers.index(2**63 - 2) if 2**63 - 2 in numbers else None)


def test_storage_classes_cost_memory_only_where_one_is_not_standard() -> None:
    rows = [Entry(b"a", 1, 0, MD5, None, "GLACIER"), Entry(b"b", 1, 0, MD5), Entry(b"c")]
    page, plain = entries(*rows), entries(*(row._replace(storage_class="STANDARD") for row in rows))
    assert [page.storage_class(index) for index in range(3)] == ["GLACIER", "STANDARD", "STANDARD"]
    assert plain.storage_class(0) == "STANDARD"
    assert page.weight == plain.weight + len(rows) + weights.ETAG + len("GLACIER")
    assert page.subset([0, 2]).storage_class(0) == "GLACIER"


def test_no_owner_and_no_storage_class_is_lost_however_many_there_are() -> None:
    rows = [
        Entry(b"%05d" % n, 1, 0, MD5, None, f"CLASS{n}", None if n == 7 else f"{n}")
        for n in range(65_535)
    ]
    page = entries(*rows)
    for at in (0, 7, 254, 255, 256, 300, 65_534):
        assert page.storage_class(at) == f"CLASS{at}"
        assert page.owner(at) == rows[at].owner
    few, many = entries(*rows[:255]), entries(*rows[:300])
    assert [few.owner(at) for at in (7, 254)] == [None, "254"]
    assert [many.owner(at) for at in (7, 299)] == [None, "299"]


def test_owners_cost_memory_only_where_they_were_listed() -> None:
    rows = [Entry(b"a", 1, 0, MD5, owner="one"), Entry(b"b", 1, 0, MD5), Entry(b"c")]
    page, plain = entries(*rows), entries(*(row._replace(owner=None) for row in rows))
    assert [page.owner(index) for index in range(3)] == ["one", None, None]
    assert plain.owner(0) is None
    assert page.weight == plain.weight + len(rows) + weights.ETAG + len("one")
    assert page.subset([0, 2]).owner(0) == "one"

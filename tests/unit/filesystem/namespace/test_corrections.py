"""What the store's responses make of an entry that GET denies."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.namespace import corrections
from s3mount.filesystem.namespace.corrections import (
    Corrections,
    Responses,
    actual_stat,
    is_size_confirmed,
)
from s3mount.s3.model import ObjectStat, ObjectVersion, is_same_etag

SECOND = 10**9


def stat(etag: str, size: int, mtime: int = 100) -> ObjectStat:
    return ObjectStat(ObjectVersion("bucket", "d/a", etag, size), mtime * SECOND)


LISTED, GOT, THIRD = stat("listed", 10), stat("got", 8), stat("third", 9)
LIKE = stat("got", 10)
NEW = stat("got", 8, mtime=200)


@pytest.mark.parametrize(
    ("told", "is_contradiction"),
    [
        (Responses(GOT, GOT, LISTED), True),  # an encrypting gateway
        (Responses(NEW, NEW, LISTED), False),  # a late listing
        (Responses(stat("got", 10, 200), None, LISTED), True),  # the same, of as many bytes
        (Responses(GOT, None, LISTED), True),  # the same, without HEAD
        (Responses(GOT, LISTED, LISTED), True),  # GET alone tells another ETag
        (Responses(GOT, LISTED, GOT), True),  # HEAD tells another size
        (Responses(GOT, THIRD, LISTED), True),  # each tells an ETag of its own
        (Responses(LIKE, LIKE, stat("third", 10)), True),  # the listing makes ETags up
        (Responses(LIKE, LIKE, None), True),  # the listing is refused by now
        (Responses(GOT, GOT, THIRD), False),  # replaced twice within a second
        (Responses(GOT, GOT, None), False),
        (Responses(LISTED, GOT, LISTED), False),  # GET tells what was told: nothing to correct
        (Responses(NEW, NEW, NEW), False),  # replaced
        (Responses(GOT, GOT, GOT), False),  # replaced within the second
        (Responses(NEW, NEW, None), False),  # replaced, and the listing fails
        (Responses(NEW, NEW, THIRD), False),  # replaced twice
        (Responses(NEW, LISTED, LISTED), False),  # a proxy keeps another object's GET
        (Responses(NEW, None, None), False),
        (Responses(GOT, THIRD, THIRD), False),  # replaced with every request
    ],
)
def test_only_a_contradiction_is_corrected(told: Responses, *, is_contradiction: bool) -> None:
    assert (told.got if is_contradiction else None) == actual_stat(LISTED, told)


stats = st.builds(
    stat, st.sampled_from(["a", "b", "c"]), st.integers(1, 2), st.sampled_from([100, 200])
)


@given(entry=stats, new=stats)
def test_no_replacement_in_a_store_that_does_not_err_is_corrected(
    entry: ObjectStat, new: ObjectStat
) -> None:
    assert actual_stat(entry, Responses(new, new, new)) is None


@given(entry=stats, got=stats, head=st.none() | stats, listed=st.none() | stats)
def test_an_entry_is_corrected_to_what_get_tells(
    entry: ObjectStat, got: ObjectStat, head: ObjectStat | None, listed: ObjectStat | None
) -> None:
    found = actual_stat(entry, Responses(got, head, listed))

    assert found is None or (found == got and not got.version.is_same(entry.version))


def test_a_size_is_confirmed_by_another_response_only() -> None:
    assert is_size_confirmed(Responses(GOT, GOT, LISTED))
    assert not is_size_confirmed(Responses(GOT, LISTED, LISTED))
    assert not is_size_confirmed(Responses(GOT, None, None))


def page(*names: bytes, size: int = 10, etag: str = "listed") -> EntryPage:
    return EntryPage("bucket", "d/", [Entry(name, size, 0, etag) for name in names], 0.0)


def test_a_correction_is_found_for_every_page_that_tells_what_it_corrects() -> None:
    table, old = Corrections(), page(b"a", b"b")
    inode = old.inode(0)

    table.add(old, 0, GOT)

    assert (old.version(0), old.mtimes[0], old.inode(0)) == (GOT.version, GOT.mtime_ns, inode)
    assert old.version(1).etag == "listed"
    assert table.find(old, 0) is None
    assert table.find(page(b"a"), 0) == GOT
    assert table.find(page(b"a", size=11), 0) is None
    assert table.find(page(b"a", etag="new"), 0) is None
    assert table.find(page(b"b"), 0) is None


def test_a_correction_of_a_correction_is_of_what_listings_tell() -> None:
    table, old = Corrections(), page(b"a")
    table.add(old, 0, GOT)

    table.add(old, 0, THIRD)

    assert table.find(page(b"a"), 0) == THIRD
    assert len(table) == 1


def test_a_replaced_version_takes_its_correction_with_it() -> None:
    table, old = Corrections(), page(b"a")
    table.add(old, 0, GOT)

    table.remove(("bucket", "d/"), b"a")
    table.remove(("bucket", "d/"), b"a")

    assert table.find(page(b"a"), 0) is None
    assert (len(table), table.has_any(old)) == (0, False)


def test_corrections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "CORRECTIONS_MAX", 3)
    table, names = Corrections(), [b"%d" % number for number in range(9)]

    for name in names:
        table.add(page(name), 0, replace(GOT))

    assert len(table) == 3
    assert [name for name in names if table.find(page(name), 0)] == names[-3:]


def test_the_first_open_is_doubted_and_some_after_a_contradiction() -> None:
    table, plain = Corrections(), page(b"a")

    assert table.doubts(plain, 0)
    table.record_open(page(b"a"))
    assert not table.doubts(plain, 0)
    table.add(page(b"b"), 0, GOT)
    assert table.doubts(plain, 0)
    for _ in range(corrections.DOUBTED):
        table.record_open(page(b"a"))
    assert not table.doubts(plain, 0)


def test_a_listing_proves_nothing_of_lookups() -> None:
    table, looked_up = Corrections(), EntryPage("b", "", [Entry(b"a", 1)], 0.0, is_looked_up=True)

    table.record_open(page(b"a"))
    assert table.doubts(looked_up, 0)
    table.record_open(looked_up)
    assert not table.doubts(looked_up, 0)


def test_a_size_of_nothing_is_doubted_until_one_has_proved_true() -> None:
    table = Corrections()
    table.record_open(page(b"a"))

    assert table.doubts(page(b"a", size=0), 0)
    assert not table.doubts(page(b"a", size=0, etag=corrections.MD5_OF_NOTHING), 0)
    table.has_empty_file = True
    assert table.doubts(page(b"a", size=0), 0)  # no listing has told a size
    table.doubts(page(b"a", size=1), 0)
    assert not table.doubts(page(b"a", size=0), 0)


def test_a_subset_of_a_page_keeps_its_corrections() -> None:
    whole = page(b"a", b"b", b"c")
    whole.correct(1, GOT)

    part = whole.subset([1, 2])

    assert (part.version(0).etag, part.version(0).size) == ("got", 8)
    assert [part.is_corrected(0), part.is_corrected(1)] == [True, False]
    assert [part.version(0).is_doubted, part.version(1).is_doubted] == [True, False]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("abc", "abc-gzip", True),
        ("abc;gzip", "abc--gzip", True),
        ("ABCDEF0123456789abcdef0123456789", "abcdef0123456789ABCDEF0123456789", True),
        ("ABCDEF0123456789abcdef0123456789-2", "abcdef0123456789abcdef0123456789-2", True),
        ("0x8D9953E36AF2607", "0x8d9953e36af2607", False),
        ("abc", "abcgzip", False),
        ("abc", "ABC", False),
        ("abc", "abd-gzip", False),
    ],
)
def test_etags_are_one_if_only_their_spelling_differs(
    one: str, other: str, *, is_same: bool
) -> None:
    assert is_same_etag(one, other) is is_same


def test_a_page_is_corrected_in_time_that_grows_with_its_entries() -> None:
    page = EntryPage("bucket", "d/", [Entry(b"%06d" % n, 10, 0, "e") for n in range(20_000)], 0.0)
    started = time.process_time()

    for index in range(len(page)):
        page.correct(index, replace(GOT, version_id="1"))

    assert time.process_time() - started < 1  # seconds


def test_corrections_of_a_page_are_its_own() -> None:
    one, other = (EntryPage("bucket", "d/", [Entry(b"a", 10, 0, "e")], 0.0) for _ in range(2))

    one.correct(0, replace(GOT, version_id="1"))
    one.subset([0]).correct(0, replace(GOT, version_id="2"))

    assert (one.version(0).version_id, other.version(0).version_id) == ("1", None)
    assert not other.is_corrected(0)

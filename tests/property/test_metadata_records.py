"""Records of metadata: what is written is read again, and what is malformed is refused."""

import math
from contextlib import suppress
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.persistence.record_fields import MalformedRecord
from s3mount.filesystem.persistence.record_format import (
    GENERATION_SIZE,
    ListingHeader,
    RecordFormat,
    RecordKeys,
)
from s3mount.filesystem.persistence.timestamps import BOOT_SIZE, BootClock, Timestamps
from s3mount.s3.model import STANDARD
from tests.property.kernel import Clock

MD5 = "d41d8cd98f00b204e9800998ecf8427e"
GENERATION = bytes(GENERATION_SIZE)
NOW = 1000.0

names = st.one_of(
    st.sampled_from([b"a", b"b", b"..a", b"\xff\xfe", "ä".encode(), b"x" * 255]),
    st.binary(min_size=1, max_size=255).filter(
        lambda name: name not in (b".", b"..") and not {0, 47} & set(name)
    ),
)
etags = st.sampled_from([MD5, MD5.upper(), f"{MD5}-3", "", "ä", "s3mount-stand-in-1", "0" * 32])
files = st.builds(
    Entry,
    name=names,
    size=st.integers(0, (1 << 63) - 1),
    mtime_ns=st.integers(-(1 << 63), (1 << 63) - 1),
    etag=etags,
    version_id=st.sampled_from([None, "null", "v1"]),
    storage_class=st.sampled_from([STANDARD, "GLACIER", "EXPRESS"]),
    owner=st.sampled_from([None, "owner"]),
)
entries = st.lists(st.one_of(files, names.map(Entry)), unique_by=lambda each: each.name)


def record_format(now: float = NOW, time_of_day: float = 5e9, boot: bytes = b"") -> RecordFormat:
    clock = BootClock(Clock(now), Clock(time_of_day), boot.ljust(BOOT_SIZE))
    return RecordFormat(Timestamps(clock))


def fields_of(page: EntryPage) -> list[tuple[object, ...]]:
    return [
        (
            page.name(at),
            page.sizes[at],
            page.mtimes[at],
            None if page.is_directory(at) else page.etag(at),
            page.version_id(at),
            page.storage_class(at),
            page.owner(at),
            page.inode(at),
        )
        for at in range(len(page))
    ]


@given(entries=entries)
def test_a_page_is_read_as_it_was_written(entries: list[Entry]) -> None:
    page = EntryPage("bucket", "d/", entries, 900.0)

    record = record_format().read_page(record_format().write_page(GENERATION, page))

    assert record.requested_at == 900.0
    assert fields_of(page) == fields_of(EntryPage("bucket", "d/", record.entries, 900.0))


@given(entries=entries, data=st.data())
def test_a_damaged_record_is_refused_or_is_a_page(
    entries: list[Entry], data: st.DataObject
) -> None:
    content = bytearray(record_format().write_page(GENERATION, EntryPage("b", "", entries, 1.0)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "zero"])):
            case "flip":
                content[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del content[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
            case "zero":
                content[at : at + 8] = bytes(8)
        if not content:
            break

    check_page(bytes(content))


@given(st.binary(max_size=300))
def test_no_bytes_break_a_reader(content: bytes) -> None:
    check_page(content)
    form = record_format()
    for read in (form.read_header, form.read_dentry, form.read_time):
        for start in (b"", b"\1"):
            with suppress(MalformedRecord):
                read(start + content)


def check_page(content: bytes) -> None:
    """Check that what is read of *content* could be a page."""
    try:
        record = record_format().read_page(content)
    except MalformedRecord:
        return
    found = [entry.name for entry in record.entries]
    assert all(one < other for one, other in pairwise(found))
    assert all(0 < len(name) <= 255 and not {0, 47} & set(name) for name in found)
    assert all(entry.size >= -1 for entry in record.entries)
    assert record.requested_at is None or math.isfinite(record.requested_at)
    EntryPage("bucket", "d/", record.entries, 1.0)


@given(
    bounds=st.lists(st.tuples(names, names), max_size=5),
    hidden=st.integers(0, (1 << 32) - 1),
    is_derived=st.booleans(),
)
def test_a_header_is_read_as_it_was_written(
    bounds: list[tuple[bytes, bytes]],
    hidden: int,
    is_derived: bool,  # noqa: FBT001
) -> None:
    inline = b"page" if len(bounds) == 1 else b""
    header = ListingHeader(GENERATION, 900.0, is_derived, hidden, tuple(bounds), inline)

    assert record_format().read_header(record_format().write_header(header, 900.0)) == header


@given(
    requested_at=st.floats(0, 1e9),
    written_after=st.floats(0, 1e6),
    read_after=st.floats(-1e6, 1e6),
    is_other_boot=st.booleans(),
    now=st.floats(0, 1e9),
)
def test_an_age_is_the_time_that_has_passed_or_unknown(
    requested_at: float,
    written_after: float,
    read_after: float,
    is_other_boot: bool,  # noqa: FBT001
    now: float,
) -> None:
    written_at = requested_at + written_after
    writer = record_format(written_at, 1e9)
    content = writer.write_time(requested_at)

    if is_other_boot:
        reader, present = record_format(now, 1e9 + read_after, b"other"), now
    else:
        present = written_at + read_after
        reader = record_format(present, 5e8)  # the time of day was changed

    read = reader.read_time(content)
    age = written_after + read_after
    if read is None:
        assert age < 1e-3
    else:
        assert read <= present
        assert abs(present - read - age) < 1e-3


@given(st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_time_that_is_none_is_refused(time: float) -> None:
    content = record_format().write_time(time)

    try:
        record_format().read_time(content)
    except MalformedRecord:
        return
    raise AssertionError("it was read")


@given(
    st.tuples(
        st.binary(max_size=3), st.text(max_size=3), st.text(max_size=3), st.binary(max_size=3)
    ),
    st.tuples(
        st.binary(max_size=3), st.text(max_size=3), st.text(max_size=3), st.binary(max_size=3)
    ),
)
def test_different_names_have_different_keys(
    one: tuple[bytes, str, str, bytes], other: tuple[bytes, str, str, bytes]
) -> None:
    keys = [
        RecordKeys(namespace).dentry((bucket, prefix), name)
        for namespace, bucket, prefix, name in (one, other)
    ]

    assert (keys[0] == keys[1]) == (one == other)

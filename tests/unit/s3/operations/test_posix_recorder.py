"""Recorder of POSIX attributes: which responses it records, of which versions, and how many."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from s3mount.errors import NotFound
from s3mount.s3.model import ByteRange, ObjectVersion, PosixAttributes
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.posix_recorder import PosixRecorder, PosixTable
from s3mount.s3.scheduling.cancel_token import CancelToken
from tests.unit.s3.clients import BUCKET, TRANSPORTS, soon
from tests.unit.s3.scripted_server import Line, head, refusal, says, scripted

VERSION = ObjectVersion(BUCKET, "k", "abc", 7)
WHOLE = head(Content_Length=7, x_amz_meta_uid="5") + b"content"

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)


@contextmanager
def recorded(
    transport: str, *script: Line, attributes_max: int = 100, has_links: bool = False
) -> Iterator[tuple[BucketOperations, PosixTable]]:
    """Operations over a recorder, and what it has recorded."""
    with scripted(*script) as server:
        table = PosixTable(attributes_max, has_links=has_links)
        recorder = PosixRecorder(TRANSPORTS[transport](server.port), BUCKET, table)
        try:
            yield BucketOperations(recorder, BUCKET), table
        finally:
            recorder.close()


def read(operations: BucketOperations, byte_range: ByteRange) -> None:
    into = memoryview(bytearray(len(byte_range)))
    sender = operations.get_range(VERSION, byte_range, version_id=None, deadline=soon())
    sender.send(lambda: into, CancelToken())


def test_a_head_brings_the_attributes_of_its_version_and_of_no_other(transport: str) -> None:
    answer = head(Content_Length=7, x_amz_meta_mode="100600", x_amz_meta_mtime="1.5")
    with recorded(transport, says(answer)) as (operations, table):
        version = operations.head("k", deadline=soon()).version

        assert table.posix_attributes(version) == PosixAttributes(0o600, mtime_ns=1_500_000_000)
        for other in (
            ObjectVersion(BUCKET, "k", "abc", 8),
            ObjectVersion(BUCKET, "k", "abd", 7),
            ObjectVersion(BUCKET, "j", "abc", 7),
        ):
            assert table.posix_attributes(other) is None


def test_a_get_of_all_and_of_a_part_bring_the_attributes(transport: str) -> None:
    part = head(
        "206 Partial Content", Content_Length=2, Content_Range="bytes 1-2/7", x_amz_meta_uid="6"
    )
    with recorded(transport, says(WHOLE), says(part + b"on")) as (operations, table):
        for byte_range, uid in ((ByteRange(0, 7), 5), (ByteRange(1, 3), 6)):
            read(operations, byte_range)

            assert table.posix_attributes(VERSION) == PosixAttributes(uid=uid)


def test_metadata_that_is_gone_is_forgotten(transport: str) -> None:
    script = says(head(Content_Length=7, x_amz_meta_uid="5")), says(head(Content_Length=7))
    with recorded(transport, *script) as (operations, table):
        operations.head("k", deadline=soon())
        assert table.posix_attributes(VERSION) is not None
        operations.head("k", deadline=soon())
        assert table.posix_attributes(VERSION) is None


def test_versions_of_equal_bytes_have_attributes_of_their_own(transport: str) -> None:
    script = [says(head(Content_Length=7, x_amz_meta_uid=uid)) for uid in "56"]
    with recorded(transport, *script) as (operations, recorder):
        operations.head("k", deadline=soon(), version_id="v1")
        assert recorder.posix_attributes(VERSION) is None
        operations.head("k", deadline=soon())

        known, other = VERSION.with_version_id("v2"), VERSION.with_version_id("v3")
        assert recorder.posix_attributes(VERSION) == PosixAttributes(uid=6)
        assert recorder.posix_attributes(known) == PosixAttributes(uid=6)
        for version, attributes in ((other, None), (VERSION.with_version_id("v1"), 5)):
            replaced = version.with_version_id(version.version_id, is_replaced=True)
            expected = None if attributes is None else PosixAttributes(uid=attributes)
            assert recorder.posix_attributes(replaced) == expected


def test_refusals_are_not_recorded_and_fail_as_without_the_recorder(transport: str) -> None:
    script = says(head(Content_Length=7, x_amz_meta_uid="5")), says(refusal("404 Not Found"))
    with recorded(transport, *script) as (operations, table):
        operations.head("k", deadline=soon())
        with pytest.raises(NotFound):
            operations.head("k", deadline=soon())
        assert table.posix_attributes(VERSION) == PosixAttributes(uid=5)


def test_the_attributes_that_are_kept_are_bounded_in_number(transport: str) -> None:
    script = [says(head(Content_Length=7, x_amz_meta_uid=str(uid))) for uid in range(4)]
    with recorded(transport, *script, attributes_max=2) as (operations, table):
        for uid in range(4):
            operations.head(f"k{uid}", deadline=soon())

        versions = [ObjectVersion(BUCKET, f"k{uid}", "abc", 7) for uid in range(4)]
        kept = [table.posix_attributes(version) is not None for version in versions]
        assert kept == [False, False, True, True]


def test_a_read_that_does_not_wait_brings_the_attributes(transport: str) -> None:
    script = [says(WHOLE)] * 2
    with recorded(transport, *script) as (operations, table):
        into = memoryview(bytearray(7))
        operations.preconnect(deadline=soon())
        sender = operations.get_range(VERSION, ByteRange(0, 7), version_id=None, deadline=soon())
        pending = sender.send_nowait(lambda: into, CancelToken())
        if pending is None:  # of a transport that always waits
            sender.send(lambda: into, CancelToken())
        else:
            pending.finish()

        assert bytes(into) == b"content"
        assert table.posix_attributes(VERSION) == PosixAttributes(uid=5)


def test_a_bug_in_recording_ends_the_exchange(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with recorded(transport, says(WHOLE), says(WHOLE)) as (operations, table):
        with monkeypatch.context() as patched:
            patched.setattr(table, "put", fail)
            with pytest.raises(ZeroDivisionError):
                read(operations, ByteRange(0, 7))
        read(operations, ByteRange(0, 7))  # on a connection that is not in the middle of a body


def test_a_table_of_links_knows_of_plain_versions_that_they_tell_nothing(transport: str) -> None:
    del transport
    table = PosixTable(has_links=True)
    table.put(VERSION, None, None, uploaded_at=3)

    assert table.posix_attributes(VERSION) == PosixAttributes(uploaded_at=3)
    assert table.posix_attributes(ObjectVersion("other", "k", "abc", 7)) is None


@pytest.mark.parametrize(
    ("sent_at", "uploaded_at"), [("00:00:08", 7), ("00:00:07", 6), ("00:00:00", -1), (None, 7)]
)
def test_an_upload_is_settled_by_a_response_of_a_later_second(
    transport: str, sent_at: str | None, uploaded_at: int
) -> None:
    """Another upload may follow within the second of the first."""
    day = "Thu, 01 Jan 1970"
    date = {} if sent_at is None else {"Date": f"{day} {sent_at} GMT"}
    answer = head(Content_Length=7, Last_Modified=f"{day} 00:00:07 GMT", **date)
    with recorded(transport, says(answer), has_links=True) as (operations, table):
        version = operations.head("k", deadline=soon()).version

        assert table.posix_attributes(version) == PosixAttributes(uploaded_at=uploaded_at)


def test_targets_are_kept_in_bounded_memory(transport: str) -> None:
    del transport
    table = PosixTable(targets_max=3000, has_links=True)
    versions = [ObjectVersion(BUCKET, f"k{number}", "abc", 0) for number in range(4)]
    for _ in range(2):
        for version in versions:
            table.put(version, None, PosixAttributes(target="x" * 1300))

        kept = [table.posix_attributes(version) is not None for version in versions]
        assert kept == [False, False, True, True]
    for version in versions:
        table.put(version, None, PosixAttributes(target=""))
    assert None not in map(table.posix_attributes, versions)


def test_a_table_without_links_keeps_no_target(transport: str) -> None:
    del transport
    table = PosixTable()
    table.put(VERSION, None, PosixAttributes(target="there"), uploaded_at=1)
    assert table.posix_attributes(VERSION) is None
    table.put(VERSION, None, PosixAttributes(uid=1, target="there"), uploaded_at=1)
    assert table.posix_attributes(VERSION) == PosixAttributes(uid=1)

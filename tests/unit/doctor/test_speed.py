"""Measurements of speed, over reads that are scripted."""

import threading

import pytest

from s3mount.doctor import speed
from s3mount.doctor.speed import measure
from s3mount.errors import StoreError
from s3mount.s3.model import ByteRange
from s3mount.s3.transport import Retryable

KIB = 1024


class Reads:
    """Reads that fail from the number *failing* on; *ranges* has those of all."""

    def __init__(self, failing: int | None = None) -> None:
        self.ranges: list[ByteRange] = []
        self._failing = failing
        self._lock = threading.Lock()

    def __call__(self, byte_range: ByteRange, into: memoryview) -> None:
        assert len(into) == len(byte_range)
        with self._lock:
            self.ranges.append(byte_range)
            count = len(self.ranges)
        if self._failing is not None and count >= self._failing:
            raise Retryable(StoreError("away"))


@pytest.mark.parametrize("connections", [1, 4])
def test_no_more_bytes_are_read_than_the_limit_and_none_beyond_the_object(
    connections: int,
) -> None:
    reads, size = Reads(), 700 * KIB
    result = measure(reads, size, connections=connections, limit=5000 * KIB)

    assert result.count == sum(map(len, reads.ranges)) == 5000 * KIB
    assert all(0 <= each.start < each.stop <= size for each in reads.ranges)
    assert result.failures == 0


def test_a_failure_ends_the_reads_and_counts_no_bytes() -> None:
    reads = Reads(failing=3)
    result = measure(reads, 700 * KIB, connections=1, limit=5000 * KIB)

    assert len(reads.ranges) == 3
    assert (result.count, result.failures) == (sum(map(len, reads.ranges[:2])), 1)


def test_no_read_begins_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SECONDS", -1.0)
    reads = Reads()

    assert measure(reads, 700 * KIB, connections=2, limit=5000 * KIB).count == 0
    assert reads.ranges == []


def test_a_machine_without_threads_measures_with_those_that_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def start_few(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    result = measure(Reads(), 700 * KIB, connections=9, limit=5000 * KIB)

    assert result.count == 5000 * KIB

"""Speed of the store: round trip, one connection, all connections; bounded in bytes and time.

Reads ranges of one object as a mount reads them, in a thread for each connection. Bytes are
counted and dropped.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from s3mount.doctor.check import Check, NotTriedError
from s3mount.doctor.facts import StoreFacts, version_of
from s3mount.doctor.report import Finding, failure, not_tried, ok
from s3mount.errors import S3MountError
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import Retryable

MIB: Final = 1 << 20
ROUND_TRIPS: Final = 5
SECONDS: Final = 3.0  # in which reads begin
ONE_LIMIT: Final = 32 * MIB  # bytes by one connection
ALL_LIMIT: Final = 128 * MIB  # bytes by all connections together
CHUNK_FIRST: Final = 256 << 10  # bytes of the first read; a slow link brings it in seconds
CHUNK_LAST: Final = 4 * MIB
QUICK: Final = 0.25  # seconds; the read after one that took less is twice as long

Read = Callable[[ByteRange, memoryview], None]
"""Reads a range into a buffer of its length. Raises S3MountError or Retryable."""


def speed_checks(facts: StoreFacts, *, is_wanted: bool) -> Iterator[Check]:
    if not is_wanted:
        yield Check("speed", lambda: not_tried("--no-speed"))
        return
    yield Check("round trip", lambda: check_round_trip(facts))
    yield Check("one connection", lambda: check_rate(facts, connections=1, limit=ONE_LIMIT))
    connections = facts.store.max_connections
    yield Check(
        f"{connections} connections",
        lambda: check_rate(facts, connections=connections, limit=ALL_LIMIT),
    )


def check_round_trip(facts: StoreFacts) -> Finding:
    """Time HEADs over a connection that stands."""
    operations, key = facts.bucket.need().operations, facts.sample.need().key
    durations = []
    for _ in range(ROUND_TRIPS):
        began = time.monotonic()
        try:
            operations.head(key, deadline=facts.deadline)
        except (S3MountError, Retryable) as exc:
            raise NotTriedError("it depends on head, see there") from exc
        durations.append(time.monotonic() - began)
    return ok(f"{statistics.median(durations) * 1000:.1f} ms for a HEAD (median of {ROUND_TRIPS})")


def check_rate(facts: StoreFacts, *, connections: int, limit: int) -> Finding:
    """Read one object over *connections*, again from its start when it ends."""
    listed = facts.sample.need()
    version = version_of(facts.store.bucket, listed)
    read = reader(facts.bucket.need().operations, version, facts.store.timeout)
    result = measure(read, listed.size, connections=connections, limit=limit)
    if not result.count:
        return failure("no byte was read", "see get; look at the network, and at the store's state")
    rate = result.count / MIB / max(result.seconds, 1e-9)
    return ok(
        f"{rate:,.1f} MiB/s: {result.count / MIB:,.1f} MiB in {result.seconds:.2f} s, "
        f"of an object of {listed.size:,} bytes{_failed(result.failures)}"
    )


def _failed(failures: int) -> str:
    return f"; {failures} reads failed" if failures else ""


def reader(operations: BucketOperations, version: ObjectVersion, timeout: float) -> Read:
    def read(byte_range: ByteRange, into: memoryview) -> None:
        deadline = time.monotonic() + timeout
        operations.get_range(version, byte_range, version_id=None, deadline=deadline).send(
            lambda: into, CancelToken()
        )

    return read


@dataclass
class Measurement:
    """Reads of several threads: *count* bytes of *limit*, until *ends_at* (monotonic seconds).

    *_claimed* bytes are read or being read. *seconds* go from *began_at* to the last read that
    succeeded.
    """

    size: int
    limit: int
    began_at: float
    count: int = 0
    failures: int = 0
    seconds: float = 0.0
    _claimed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claim(self, length: int) -> ByteRange | None:
        """Return the next range of at most *length* bytes; None if it is enough."""
        with self._lock:
            is_over = time.monotonic() - self.began_at > SECONDS
            if is_over or self._claimed >= self.limit or self.failures:
                return None
            start = self._claimed % self.size
            stop = min(start + length, self.size, start + self.limit - self._claimed)
            self._claimed += stop - start
            return ByteRange(start, stop)

    def add(self, count: int) -> None:
        """Count the bytes of a read that succeeded; none of one that failed."""
        with self._lock:
            self.count += count
            self.failures += not count
            if count:
                self.seconds = time.monotonic() - self.began_at


def measure(read: Read, size: int, *, connections: int, limit: int) -> Measurement:
    """Read ranges of an object of *size* bytes in *connections* threads; a failure ends all."""
    result = Measurement(size, limit, time.monotonic())
    threads: list[threading.Thread] = []
    for _ in range(connections):
        thread = threading.Thread(target=_read_many, args=(read, result), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # how `threading` reports that the system has no more threads
            break
        threads.append(thread)
    for thread in threads:
        thread.join()
    return result


def _read_many(read: Read, result: Measurement) -> None:
    length = CHUNK_FIRST
    buffer = memoryview(bytearray(length))
    while (byte_range := result.claim(length)) is not None:
        began = time.monotonic()
        try:
            read(byte_range, buffer[: len(byte_range)])
        except (S3MountError, Retryable):
            result.add(0)
            return
        result.add(len(byte_range))
        if time.monotonic() - began < QUICK:
            length = min(2 * length, CHUNK_LAST)
            buffer = memoryview(bytearray(length)) if length > len(buffer) else buffer

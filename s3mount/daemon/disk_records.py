"""Records of metadata in the disk cache, read and written in threads.

Implements `RecordStore`: a disk that fails, or is late, costs its caller READ_WITHIN at most, and
is then bypassed, for a second at first, and twice as long each time until it is well. At most one
thread writes at a time, so records are written in order; one that is left behind, waiting for the
disk, is waited for by the next.
"""

import logging
import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import trio

log = logging.getLogger(__name__)

READ_WITHIN: Final = 0.5  # seconds; a request takes little longer
WRITTEN_WITHIN: Final = 5.0  # seconds: no caller waits
FIRST_BYPASS: Final = 1.0  # seconds for which nothing is asked of a disk that is late, or fails
BYPASS_MAX: Final = 30.0  # seconds
READERS: Final = 4  # threads

T = TypeVar("T")


class Records(Protocol):
    """Records of a disk cache; all calls wait for the disk. OSError, sqlite3.Error."""

    def get_record(self, key: bytes) -> bytes | None: ...
    def put_records(self, new: Mapping[bytes, bytes]) -> None: ...
    def drop_records(self, keys: Iterable[bytes]) -> None: ...


class _Threads:
    """At most *count* threads, each for *seconds*; a failure bypasses all for a while.

    State: until *_bypassed_until*, `run` does nothing; *_bypass* is how long the next one lasts.
    """

    def __init__(self, count: int, seconds: float, clock: Callable[[], float]) -> None:
        self._limiter = trio.CapacityLimiter(count)
        self._seconds = seconds
        self._clock = clock
        self._bypassed_until = -math.inf
        self._bypass = FIRST_BYPASS
        self.failures = 0  # statistics

    async def run(self, function: Callable[[], T]) -> T | None:
        """What *function* returns; None if it fails, or is late. A checkpoint."""
        if self._clock() < self._bypassed_until:
            await trio.lowlevel.checkpoint()
            return None
        reason = f"it took more than {self._seconds:g} s"
        with trio.move_on_after(self._seconds):
            try:
                result = await trio.to_thread.run_sync(
                    function, abandon_on_cancel=True, limiter=self._limiter
                )
            except (OSError, sqlite3.Error) as exc:
                reason = str(exc)
            else:
                self._bypass = FIRST_BYPASS
                return result
        self._fail(reason)
        return None

    def _fail(self, reason: str) -> None:
        log.debug("metadata is not kept on disk for %.0f s: %s", self._bypass, reason)
        self.failures += 1
        self._bypassed_until = self._clock() + self._bypass
        self._bypass = min(2 * self._bypass, BYPASS_MAX)


class DiskRecords:
    """`RecordStore` in *records*; *clock* is in seconds."""

    def __init__(self, records: Records, clock: Callable[[], float] = trio.current_time) -> None:
        self._records = records
        self._readers = _Threads(READERS, READ_WITHIN, clock)
        self._writer = _Threads(1, WRITTEN_WITHIN, clock)

    @property
    def failures(self) -> int:
        """How often the disk failed, or was late."""
        return self._readers.failures + self._writer.failures

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See `RecordStore.get`."""
        return await self._readers.run(partial(self._get, keys)) or [None] * len(keys)

    async def put(self, records: Mapping[bytes, bytes | None]) -> bool:
        """See `RecordStore.put`."""
        return await self._writer.run(partial(self._put, records)) is not None

    def _get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [self._records.get_record(key) for key in keys]

    def _put(self, records: Mapping[bytes, bytes | None]) -> bool:
        dropped = [key for key, content in records.items() if content is None]
        if dropped:
            self._records.drop_records(dropped)
        kept = {key: content for key, content in records.items() if content is not None}
        if kept:
            self._records.put_records(kept)
        return True

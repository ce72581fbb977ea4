"""Records of metadata in the disk cache, read and written in threads.

Implements `RecordStore`: a disk that fails, or is late, costs its caller READ_WITHIN at most, and
is then bypassed for a while, by blocks too (`cache.disk_tier.health`). At most one thread writes at
a time, so records are written in order; one that is left behind, waiting for the disk, is waited
for by the next.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import trio

READ_WITHIN: Final = 0.5  # seconds; a request takes little longer
WRITTEN_WITHIN: Final = 5.0  # seconds: no caller waits
READERS: Final = 4  # threads

T = TypeVar("T")


class Records(Protocol):
    """Records of a disk cache; all calls wait for the disk. OSError, sqlite3.Error."""

    def get_record(self, key: bytes) -> bytes | None: ...
    def put_records(self, new: Mapping[bytes, bytes]) -> bool: ...
    def drop_records(self, keys: Iterable[bytes]) -> None: ...


class Health(Protocol):
    """`DiskHealth`, which the blocks on the disk share."""

    is_usable: bool

    def begin_trial(self) -> bool: ...
    def end_trial(self) -> None: ...
    def drop_trial(self) -> None: ...
    def record_failure(self, exc: BaseException) -> None: ...


class _Threads:
    """At most *count* threads, each for *seconds*, while *health* lets the disk be used.

    After a pause of *health* one call may be the trial.
    """

    def __init__(self, count: int, seconds: float, health: Health) -> None:
        self._limiter = trio.CapacityLimiter(count)
        self._seconds = seconds
        self._health = health

    async def run(self, function: Callable[[], T]) -> T | None:
        """What *function* returns; None if it fails, or is late. A checkpoint."""
        if self._health.is_usable:
            return await self._run(function, lambda: None)
        if not self._health.begin_trial():
            await trio.lowlevel.checkpoint()
            return None
        try:
            return await self._run(function, self._health.end_trial)
        finally:
            self._health.drop_trial()  # if it is cancelled, or has a bug

    async def _run(self, function: Callable[[], T], on_success: Callable[[], None]) -> T | None:
        failure: Exception = TimeoutError(f"a record has taken {self._seconds:g} seconds")
        with trio.move_on_after(self._seconds):
            try:
                result = await trio.to_thread.run_sync(
                    function, abandon_on_cancel=True, limiter=self._limiter
                )
            except (OSError, sqlite3.Error) as exc:
                failure = exc
            else:
                on_success()
                return result
        self._health.record_failure(failure)
        return None


class DiskRecords:
    """`RecordStore` in *records*, on a disk that is bypassed as its health says.

    That is its health as it is read, and as it is written.
    """

    def __init__(self, records: Records, health: tuple[Health, Health]) -> None:
        reading, writing = health
        self._records = records
        self._readers = _Threads(READERS, READ_WITHIN, reading)
        self._writer = _Threads(1, WRITTEN_WITHIN, writing)

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See `RecordStore.get`."""
        return await self._readers.run(partial(self._get, keys)) or [None] * len(keys)

    async def put(self, records: Mapping[bytes, bytes | None]) -> bool:
        """See `RecordStore.put`."""
        return await self._writer.run(partial(self._put, records)) is True

    def _get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return [self._records.get_record(key) for key in keys]

    def _put(self, records: Mapping[bytes, bytes | None]) -> bool:
        dropped = [key for key, content in records.items() if content is None]
        if dropped:
            self._records.drop_records(dropped)
        kept = {key: content for key, content in records.items() if content is not None}
        return not kept or self._records.put_records(kept)

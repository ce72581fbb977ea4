"""Reads that go on from the last byte received."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import trio

from s3mount.errors import StaleVersion, StoreError
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import Priority
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.scheduling.pauses import (
    ATTEMPTS,
    FIRST_PAUSE,
    MUCH_PROGRESS,
    pause_after_progress,
)
from s3mount.s3.transport import Retryable

SIZE = 4 * ATTEMPTS
VERSION = ObjectVersion("b", "key", "etag", SIZE)
CONTENT = bytes(range(SIZE))


class StingyOperations:
    """`Operations` whose attempts bring *step* bytes each, and then fail by *failure*."""

    def __init__(self, step: int, failure: Callable[[int], Exception]) -> None:
        self.step = step
        self.failure = failure
        self.offsets: list[int] = []

    def get_range(self, *_: object, **__: object) -> "StingyRange":
        return StingyRange(self, 0)

    def close(self) -> None: ...


class StingyRange:
    """`Sender` of what is missing after *offset* bytes."""

    def __init__(self, operations: StingyOperations, offset: int) -> None:
        self._operations = operations
        self._offset = offset

    def resume(self, filled: int) -> "StingyRange":
        return StingyRange(self._operations, filled)

    def hedged(self) -> "StingyRange":
        return self

    def send_nowait(self, *_: object) -> None: ...

    def send(self, into: Callable[[], memoryview], _: CancelToken) -> str | None:
        self._operations.offsets.append(self._offset)
        stop = self._offset + self._operations.step
        into()[self._offset : stop] = CONTENT[self._offset : stop]
        if stop < SIZE:
            raise self._operations.failure(stop)
        return None


async def read(operations: StingyOperations) -> bytes:
    store = RemoteStore(
        operations,  # type: ignore[arg-type]  # ranges only
        max_connections=2,
        timeout=20,
        pauses=no_pauses,
    )
    into, ended = bytearray(SIZE), trio.Event()
    errors: list[BaseException | None] = []

    def on_end(_: ObjectVersion, error: BaseException | None) -> None:
        errors.append(error)
        ended.set()

    store.start_read(VERSION, ByteRange(0, SIZE), memoryview(into), on_end, Priority.DEMAND)
    await ended.wait()
    store.close()
    [error] = errors
    if error is not None:
        raise error
    return bytes(into)


def no_pauses() -> Iterator[float]:
    return iter([0.0] * (ATTEMPTS - 1))


def cut(filled: int) -> Exception:
    return Retryable(StoreError("cut"), filled=filled)


async def test_attempts_that_bring_bytes_are_not_counted() -> None:
    operations = StingyOperations(1, cut)

    assert await read(operations) == CONTENT
    assert operations.offsets == list(range(SIZE))


async def test_attempts_that_bring_nothing_new_are_counted() -> None:
    operations = StingyOperations(1, partial(lambda _: Retryable(StoreError("cut"), filled=1)))

    with pytest.raises(StoreError):
        await read(operations)
    assert operations.offsets == [0] + [1] * ATTEMPTS


async def test_bytes_that_fail_their_check_are_requested_again_from_the_first() -> None:
    failures = iter([cut(4), cut(8), Retryable(StoreError("wrong"), is_corrupt=True), cut(4)])
    operations = StingyOperations(4, lambda filled: next(failures, None) or cut(filled))

    assert await read(operations) == CONTENT
    assert operations.offsets[:5] == [0, 4, 8, 0, 4]


async def test_a_replaced_version_is_not_read_on() -> None:
    failures = iter([cut(4), StaleVersion("replaced")])
    operations = StingyOperations(4, lambda _: next(failures))

    with pytest.raises(StaleVersion):
        await read(operations)


def test_the_next_attempt_waits_only_after_a_few_bytes() -> None:
    assert pause_after_progress(MUCH_PROGRESS) == 0
    assert 0 < pause_after_progress(MUCH_PROGRESS - 1) < pause_after_progress(1) <= FIRST_PAUSE

"""Single flight: calls in progress by key, each made once however many callers wait for it.

A call runs in a nursery, so a caller that is cancelled harms no other. Its result or failure goes
to those who wait, and is not kept. Invariant: a caller gets no result of a call that started before
what the caller wants it to be newer than.
"""

import math
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

from s3mount import unawaited
from s3mount.errors import S3MountError, StoreError

Result = TypeVar("Result")
Key = TypeVar("Key", bound=Hashable)


class _Call(Generic[Result]):
    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.completed = trio.Event()
        self.result: Result | None = None
        self.failure: Exception | None = None


class SingleFlight(Generic[Key, Result]):
    """Calls by key; *clock* stamps their starts."""

    def __init__(self, nursery: trio.Nursery, clock: Callable[[], float]) -> None:
        self._nursery = nursery
        self._clock = clock
        self._calls: dict[Key, _Call[Result]] = {}

    async def join(
        self, key: Key, since: float, function: Callable[[], Awaitable[Result]]
    ) -> Result:
        """The result of a call for *key* that started after *since*. A checkpoint."""
        call = self._start(key, since, function)
        await call.completed.wait()
        if call.failure is not None:
            raise own(call.failure)
        return call.result  # type: ignore[return-value]  # completed without a failure

    def start(self, key: Key, function: Callable[[], Awaitable[Result]]) -> None:
        """Make the call for *key*, unless one is in progress, without waiting for it."""
        self._start(key, -math.inf, function)

    def _start(
        self, key: Key, since: float, function: Callable[[], Awaitable[Result]]
    ) -> _Call[Result]:
        call = self._calls.get(key)
        if call is None or call.started_at < since:
            call = self._calls[key] = _Call(self._clock())
            self._nursery.start_soon(self._run, key, call, function)
        return call

    async def _run(
        self, key: Key, call: _Call[Result], function: Callable[[], Awaitable[Result]]
    ) -> None:
        has_ended = False
        try:
            call.result = await function()
            has_ended = True  # None is a result, too
        except Exception as exc:  # noqa: BLE001  # it belongs to the callers, not to the nursery
            call.failure = exc
            if not call.completed.statistics().tasks_waiting:
                unawaited.report("lookup in the background", exc)
        finally:
            if not has_ended and call.failure is None:  # cancelled: the mount ends
                call.failure = StoreError("the lookup was given up")
            if self._calls.get(key) is call:  # else a newer one has replaced it
                del self._calls[key]
            call.completed.set()


def own(failure: Exception) -> Exception:
    """*failure* for one of several waiters: each adds its traceback to an exception of its own."""
    return failure.detached() if isinstance(failure, S3MountError) else failure.with_traceback(None)

"""Requests to the store that are under way, each sent once however many wait for its answer.

A flight runs in a nursery of its own, so that a waiter that is cancelled hurts no other. Whoever waits gets the answer, or the
failure that the store gave; neither is kept beyond that. What always holds: a waiter is told of an answer only if it was asked for
after whatever the waiter wants to be newer than; so nobody joins a flight that began too early.
"""

import math
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

from s3mount import unawaited
from s3mount.errors import S3MountError, StoreError

Answer = TypeVar("Answer")
Key = TypeVar("Key", bound=Hashable)


class _Flight(Generic[Answer]):
    def __init__(self, began: float) -> None:
        self.began = began
        self.landed = trio.Event()
        self.answer: Answer | None = None
        self.failure: Exception | None = None


class SingleFlight(Generic[Key, Answer]):
    """Flights by key; `join` is a checkpoint. *moment* gives the stamps of their beginnings."""

    def __init__(self, nursery: trio.Nursery, moment: Callable[[], float]) -> None:
        self._nursery = nursery
        self._moment = moment
        self._flights: dict[Key, _Flight[Answer]] = {}

    async def join(self, key: Key, since: float, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to *ask*, which is called only if no flight for *key* has been under way since a moment after *since*."""
        flight = self._begin(key, since, ask)
        await flight.landed.wait()
        if flight.failure is not None:
            raise own(flight.failure)
        return flight.answer  # type: ignore[return-value]  # landed without a failure

    def begin(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> None:
        """Have *ask* called if no flight for *key* is under way, without waiting for it."""
        self._begin(key, -math.inf, ask)

    def _begin(
        self, key: Key, since: float, ask: Callable[[], Awaitable[Answer]]
    ) -> _Flight[Answer]:
        flight = self._flights.get(key)
        if flight is None or flight.began < since:
            flight = self._flights[key] = _Flight(self._moment())
            self._nursery.start_soon(self._fly, key, flight, ask)
        return flight

    async def _fly(
        self, key: Key, flight: _Flight[Answer], ask: Callable[[], Awaitable[Answer]]
    ) -> None:
        try:
            flight.answer = await ask()
        except Exception as exc:  # noqa: BLE001  # whatever it is belongs to the waiters; the nursery is not theirs to end
            flight.failure = exc
            if not flight.landed.statistics().tasks_waiting:
                unawaited.report("lookup in the background", exc)
        finally:
            if flight.answer is None and flight.failure is None:  # cancelled: the mount ends
                flight.failure = StoreError("the lookup was given up")
            if self._flights.get(key) is flight:  # else a newer one has taken its place
                del self._flights[key]
            flight.landed.set()


def own(failure: Exception) -> Exception:
    """*failure* to be raised by one of several who wait for it: none piles its frames on that of the others."""
    return failure.detached() if isinstance(failure, S3MountError) else failure.with_traceback(None)

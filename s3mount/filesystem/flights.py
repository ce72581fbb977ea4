"""Questions to the store that are under way, each asked once however many wait for its answer.

A flight runs in a nursery of its own, so that a waiter that is cancelled hurts no other. Whoever waits gets the answer, or the
failure that the store gave; neither is kept beyond that.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

Answer = TypeVar("Answer")
Key = TypeVar("Key", bound=Hashable)


class _Flight(Generic[Answer]):
    def __init__(self) -> None:
        self.landed = trio.Event()
        self.answer: Answer | None = None
        self.failure: Exception | None = None


class Flights(Generic[Key, Answer]):
    """Flights by key; `join` is a checkpoint."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._flights: dict[Key, _Flight[Answer]] = {}

    async def join(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to *ask*, which is called only if no flight for *key* is under way."""
        flight = self.begin(key, ask)
        await flight.landed.wait()
        if flight.failure is not None:
            raise flight.failure
        return flight.answer  # type: ignore[return-value]  # landed without a failure

    def begin(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> _Flight[Answer]:
        """Have *ask* called if no flight for *key* is under way, without waiting for it."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            self._nursery.start_soon(self._fly, key, flight, ask)
        return flight

    async def _fly(self, key: Key, flight: _Flight[Answer], ask: Callable[[], Awaitable[Answer]]) -> None:
        try:
            flight.answer = await ask()
        except Exception as exc:  # noqa: BLE001  # whatever it is belongs to the waiters; the nursery is not theirs to end
            flight.failure = exc
        finally:
            del self._flights[key]
            flight.landed.set()

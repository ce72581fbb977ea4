"""Queue of entries that are due at a time, watched by one task instead of a scope for each.

An entry costs one insertion and one removal in a dict. The task wakes at the earliest time that
was in the queue, so under load it wakes a few times a second, however many entries come and go.
"""

import math
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from s3mount import unawaited

T = TypeVar("T")


class DeadlineQueue(Generic[T]):
    """Queue that calls *on_due* with each entry that is still in it at its time; for one trio run.

    The callback is called by a system task of the event loop. Its failure is reported there.
    """

    def __init__(self, on_due: Callable[[T], None]) -> None:
        self._on_due = on_due
        # the scope ends the sleep of the task, which is started by the first entry
        self._times: dict[T, float] = {}
        self._sleep: trio.CancelScope | None = None

    def add(self, entry: T, time: float) -> None:
        """Have *entry* called back at *time*, in seconds of trio's clock."""
        self._times[entry] = time
        if self._sleep is None:
            self._sleep = trio.CancelScope(deadline=time)
            trio.lowlevel.spawn_system_task(self._watch)
        elif time < self._sleep.deadline:
            self._sleep.deadline = time

    def discard(self, entry: T) -> None:
        """Remove *entry*, if it is in the queue."""
        self._times.pop(entry, None)

    async def _watch(self) -> None:
        while True:
            assert self._sleep is not None
            with self._sleep:
                await trio.sleep_forever()
            self._sleep = trio.CancelScope()
            self._call_due(trio.current_time())
            self._sleep.deadline = min(self._times.values(), default=math.inf)

    def _call_due(self, now: float) -> None:
        for entry in [entry for entry, time in self._times.items() if time <= now]:
            if self._times.pop(entry, None) is not None:
                unawaited.call("the callback of a deadline", self._on_due, entry)

"""Time slices: long work in the event loop, with a checkpoint whenever a slice is used up."""

import time
from collections.abc import Iterable
from typing import Final

import trio

SLICE: Final = 0.002  # seconds of work between two checkpoints


class TimeSlice:
    """One slice after another, of `SLICE` seconds each; the first one starts now."""

    def __init__(self) -> None:
        self._ends_at = time.perf_counter() + SLICE

    @property
    def is_over(self) -> bool:
        return time.perf_counter() > self._ends_at

    async def next(self) -> None:
        """Let other tasks run, and start another slice. A checkpoint."""
        await trio.lowlevel.checkpoint()
        self._ends_at = time.perf_counter() + SLICE


async def run_in_slices(steps: Iterable[object]) -> None:
    """Go through *steps*. A checkpoint whenever a slice is used up."""
    current = TimeSlice()
    for _ in steps:
        if current.is_over:
            await current.next()

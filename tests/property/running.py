"""Running an async property: each example in a trio of its own, where a deadlock is an error at once and not a hang."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio.testing

Answer = TypeVar("Answer")


def run(main: Callable[[], Awaitable[Answer]]) -> Answer:
    """What *main* returns; TooSlowError where all of its tasks wait for each other."""

    async def limited() -> Answer:
        with trio.fail_after(60):  # of a clock that jumps there as soon as nothing else can happen
            return await main()

    return trio.run(limited, clock=trio.testing.MockClock(autojump_threshold=0))

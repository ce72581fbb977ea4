"""Runner of async properties on a virtual clock, where a deadlock fails at once."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio.testing

Result = TypeVar("Result")


def run(main: Callable[[], Awaitable[Result]]) -> Result:
    """Run *main* and return its result; raises TooSlowError if its tasks wait for each other."""

    async def limited() -> Result:
        with trio.fail_after(60):  # of virtual time, which jumps there as soon as all tasks wait
            return await main()

    return trio.run(limited, clock=trio.testing.MockClock(autojump_threshold=0))

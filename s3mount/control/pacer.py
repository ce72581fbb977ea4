"""Rate limit of what clients may have the event loop do: turns a second, over all clients."""

from typing import Final

import trio

RATE: Final = (
    50.0  # turns a second; a turn takes a millisecond or so: at most a twentieth of a core
)
BURST: Final = 20  # turns without a wait after a pause


class Pacer:
    """Generic cell rate algorithm; keeps no timer while nobody waits."""

    def __init__(self) -> None:
        self._next = 0.0  # when the next turn is due at the full rate

    async def wait_turn(self) -> None:
        """Wait until it is the caller's turn; a checkpoint."""
        now = trio.current_time()
        turn = max(self._next, now - (BURST - 1) / RATE)
        self._next = turn + 1 / RATE
        await trio.sleep(max(0.0, turn - now))

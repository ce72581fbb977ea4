"""`Threads` whose calls run when a test says so."""

from collections.abc import Callable
from functools import partial
from typing import Any

import outcome
import trio


class ScriptedThreads:
    """Calls that wait for `run`; each is made in one go, and its outcome told later.

    With *is_prompt* they are made at once.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[], Any], Callable[[outcome.Outcome[Any]], None]]] = []
        self.is_prompt = False

    def submit(
        self, function: Callable[[], Any], on_end: Callable[[outcome.Outcome[Any]], None]
    ) -> None:
        self.calls.append((function, on_end))
        if self.is_prompt:
            self._soon(self.run_all)

    def run(self, index: int = 0) -> None:
        function, on_end = self.calls.pop(index)
        self._soon(partial(on_end, outcome.capture(function)))

    def run_all(self) -> None:
        while self.calls:
            self.run()

    @staticmethod
    def _soon(call: Callable[[], object]) -> None:
        trio.lowlevel.current_trio_token().run_sync_soon(call)

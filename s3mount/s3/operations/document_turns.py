"""Turns of threads that parse large documents: one at a time, within the deadline of each."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from s3mount.s3.limits import LARGE_DOCUMENT


class DocumentTurns:
    """Turns at parsing: each large document may cost 60 MiB, and the GIL admits one anyway."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._parsing = threading.Lock()  # held while a large document is parsed

    @contextmanager
    def turn(self, body: bytes, deadline: float) -> Iterator[None]:
        """Wait for a turn, if *body* is large. Raises TimeoutError at the *deadline*."""
        if len(body) <= LARGE_DOCUMENT:
            yield
            return
        if not self._parsing.acquire(timeout=max(0, deadline - self._clock())):
            raise TimeoutError("the deadline has passed")
        try:
            yield
        finally:
            self._parsing.release()

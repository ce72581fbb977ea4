"""By which a blocking call in a thread is ended from outside: the socket it waits for is shut down under it.

Thread-safe. Once untied, nobody cuts: so a connection that serves another call by now is safe.
"""

import threading
from collections.abc import Callable

from s3mount.unawaited import ExpectedError


class RequestCancelledError(ExpectedError):
    """The call was ended from outside; nobody waits for its answer."""


class CancelToken:
    """Of one call. Whoever makes the call ties and unties, another may pull."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cut: Callable[[], None] | None = None
        self._is_pulled = False

    def tie(self, cut: Callable[[], None]) -> None:
        """Have *cut*, which must not block, called when it is pulled. RequestCancelledError where it was."""
        with self._lock:
            self.check()
            self._cut = cut

    @property
    def is_pulled(self) -> bool:
        return self._is_pulled

    def check(self) -> None:
        """RequestCancelledError where it was pulled."""
        if self._is_pulled:
            raise RequestCancelledError

    def untie(self) -> None:
        with self._lock:
            self._cut = None

    def pull(self) -> None:
        """End the call, now or at its next step."""
        with self._lock:
            self._is_pulled = True
            if self._cut is not None:
                self._cut()

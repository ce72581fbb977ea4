"""Cancel token: ends a blocking call in a thread from outside, by shutting down its socket.

Thread-safe. Once detached, the token ends nothing, so a connection that serves another call by now
is safe.
"""

import threading
from collections.abc import Callable

from s3mount.unawaited import ExpectedError


class RequestCancelledError(ExpectedError):
    """The call was cancelled; nobody waits for its response."""


class CancelToken:
    """Token of one call. The thread that makes the call attaches and detaches, another cancels."""

    __slots__ = ("_cut", "_is_pulled", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cut: Callable[[], None] | None = None
        self._is_pulled = False

    def tie(self, cut: Callable[[], None]) -> None:
        """Have *cut* called on cancellation, which must not block.

        RequestCancelledError if the call is cancelled already.
        """
        with self._lock:
            self.check()
            self._cut = cut

    @property
    def is_pulled(self) -> bool:
        return self._is_pulled

    def check(self) -> None:
        """RequestCancelledError if the call is cancelled."""
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

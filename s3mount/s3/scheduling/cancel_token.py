"""Cancel token: ends a blocking call in a thread from outside, by shutting down its socket.

Thread-safe. Once detached, the token ends nothing, so a connection that serves another call by now
is safe.
"""

import threading
from collections.abc import Callable

from s3mount.unawaited import ExpectedError


class RequestCancelledError(ExpectedError):
    """End of a cancelled call, for whose response nobody waits."""


class CancelToken:
    """Token of one call. The thread that makes the call attaches and detaches, another cancels.

    *has_lost* is set before it is cancelled because another attempt at the same read has responded.
    """

    __slots__ = ("_end_call", "_is_cancelled", "_lock", "has_lost")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end_call: Callable[[], None] | None = None
        self._is_cancelled = False
        self.has_lost = False

    def attach(self, end_call: Callable[[], None]) -> None:
        """Have *end_call* called on cancellation, which must not block.

        RequestCancelledError if the call is cancelled already.
        """
        with self._lock:
            self.check()
            self._end_call = end_call

    @property
    def is_cancelled(self) -> bool:
        return self._is_cancelled

    def check(self) -> None:
        """RequestCancelledError if the call is cancelled."""
        if self._is_cancelled:
            raise RequestCancelledError

    def detach(self) -> None:
        with self._lock:
            self._end_call = None

    def cancel(self) -> None:
        """End the call, now or at its next step."""
        with self._lock:
            self._is_cancelled = True
            if self._end_call is not None:
                self._end_call()

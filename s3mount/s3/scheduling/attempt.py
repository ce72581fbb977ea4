"""One attempt at a read: its request, its permit and its buffer, until it ends."""

import time
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

import outcome

from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.scheduling.limiter import Permit
from s3mount.s3.transport import PendingResponse

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

GetBuffer = Callable[[], memoryview]
UNSENT: Final = -1


class Sender(Protocol[T_co]):
    """Sender of one request, which validates its response.

    *into* is called for the buffer, once at most, when the head of the response is valid. The
    buffer is written to from then on. If *into* raises, so does the call. *cancel_token* ends it.
    """

    def resume(self, filled: int) -> "Sender[T_co]":
        """Return the sender of the same read for a buffer whose first *filled* bytes are there."""
        ...

    def hedged(self) -> "Sender[T_co]":
        """Return the sender of the same request as a hedge, for the request log."""
        ...

    def send_nowait(
        self, into: GetBuffer, cancel_token: CancelToken
    ) -> PendingResponse[T_co] | None:
        """Send without waiting; None, with nothing done, if that is not possible."""
        ...

    def send(self, into: GetBuffer, cancel_token: CancelToken) -> T_co:
        """Send and wait for the response, in a thread."""
        ...


class AttemptOwner(Protocol):
    """The request that an attempt belongs to."""

    def claim_buffer(self, attempt: "Attempt[Any]") -> memoryview: ...
    def attempt_ended(self, attempt: "Attempt[Any]", result: outcome.Outcome[Any]) -> None: ...


class Attempt(CancelToken, Generic[T]):
    """An attempt from its permit to its outcome. It is the cancel token of its own request.

    *first_byte_at* is when its response was seen, or could not be seen any more, in seconds of
    `time.monotonic()`. A thread sees the head; the event loop sees a response that is complete.
    *offset* is where its bytes begin in the buffer.
    """

    def __init__(
        self,
        owner: AttemptOwner,
        sender: Sender[T],
        permit: Permit,
        *,
        offset: int = 0,
        is_hedge: bool = False,
    ) -> None:
        super().__init__()
        self.owner = owner
        self.sender = sender
        self.permit = permit
        self.offset = offset
        self.is_hedge = is_hedge
        self.owns_buffer = False
        self.sent_at = time.monotonic()
        self.first_byte_at: float | None = None
        # set by the executor while no thread makes the attempt
        self.pending: PendingResponse[T] | None = None
        self.descriptor = UNSENT

    @property
    def has_response(self) -> bool:
        """Whether some of the response is here."""
        return self.first_byte_at is not None or (
            self.pending is not None and self.pending.has_begun
        )

    def claim_buffer(self) -> memoryview:
        """The buffer of the request, for this attempt alone; RequestCancelledError if it is taken.

        Called in the thread that makes the attempt, or in the event loop.
        """
        return self.owner.claim_buffer(self)

    def end(self, result: outcome.Outcome[T]) -> None:
        """Tell the request how the attempt ended. Called once, in the event loop."""
        self.owner.attempt_ended(self, result)

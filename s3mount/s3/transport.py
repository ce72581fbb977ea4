"""One request, one attempt, blocking: what a side of the store's door does in a worker thread.

A small read may also be sent without waiting, and its answer taken in as it comes (`PendingResponse`). Calls come from many threads at
once. *deadline* is in `time.monotonic()` seconds: no call blocks past it by more than a second, and then it raises a retryable
fault. No retries here: `remote` owns them for both sides.
"""

from collections.abc import Callable
from enum import Enum
from typing import Protocol, TypeVar

from s3mount.errors import S3MountError
from s3mount.s3.model import ByteRange, ListPage, ListQuery, ObjectStat, ObjectVersion, Revalidation
from s3mount.s3.object_store import OnToken
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.unawaited import ExpectedError

T_co = TypeVar("T_co", covariant=True)


class Retryable(ExpectedError):
    """An attempt failed in a way that another one may not: throttled, 5xx, network, timeout, truncated, corrupt.

    *failure* is what to raise when attempts are used up. *is_throttle*: the store asks for fewer requests (503 SlowDown,
    429). *is_stale_credentials*: the credentials were refused as expired, and may be renewed. *is_unsent*: this host could not
    make the attempt, for want of a thread.
    """

    def __init__(
        self,
        failure: S3MountError,
        *,
        is_throttle: bool = False,
        is_stale_credentials: bool = False,
        is_unsent: bool = False,
    ) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.is_throttle = is_throttle
        self.is_stale_credentials = is_stale_credentials
        self.is_unsent = is_unsent


class ReceiveState(Enum):
    """What there is of an answer: more is to come, or all is here; or it is one that has to be waited for as any other."""

    MORE = "more"
    WHOLE = "whole"
    OTHERWISE = "otherwise"


class PendingResponse(Protocol[T_co]):
    """A question that was sent, and not waited for. For one thread at a time."""

    @property
    def has_begun(self) -> bool:
        """Whether any of the answer has come."""
        ...

    def fileno(self) -> int:
        """What becomes readable when more of the answer has come."""
        ...

    def gather(self) -> ReceiveState:
        """Take what has come, without waiting. Raises nothing: what is wrong is for `finish` to tell."""
        ...

    def finish(self) -> T_co:
        """The answer; to be called once.

        Blocks as the question itself would, but not when `gather` has said WHOLE, nor once the question's cord was pulled.
        """
        ...


class Transport(Protocol):
    """The blocking twin of `ObjectStore`; raises S3MountErrors that no retry would mend, and Retryable."""

    def head(self, key: str, *, deadline: float) -> ObjectStat: ...

    def list_page(
        self, query: ListQuery, *, deadline: float, on_token: OnToken | None = None
    ) -> ListPage:
        """As `ObjectStore.list_page`; *on_token* is called in this thread, at most once, or never."""
        ...

    def get_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: Callable[[], memoryview],
        *,
        version_id: str | None,
        deadline: float,
        cord: CancelToken | None = None,
    ) -> str | None:
        """As `ObjectStore.get_range`; the version id, if the store told one.

        *into* is called in this thread, once at most, when the head of the answer has been found right: for the buffer, which is
        written to from then until this call returns. Where it raises, so does this call. *cord* may end it, with any exception.
        With *version_id* it asks for that version instead of sending If-Match.
        """
        ...

    def begin_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: Callable[[], memoryview],
        *,
        version_id: str | None,
        deadline: float,
        cord: CancelToken,
    ) -> PendingResponse[str | None] | None:
        """Send what `get_range` asks, where that takes no waiting and the answer is small; else None, and nothing was done."""
        ...

    def revalidate(
        self, version: ObjectVersion, head_size: int, *, deadline: float
    ) -> Revalidation: ...

    def prepare(self, *, deadline: float) -> None:
        """Have a connection ready for a question to come, where that can be. Raises nothing."""
        ...

    def renew_credentials(self) -> None:
        """Have the credential chain look again, after they were refused as expired; does not wait for it."""
        ...

    def close(self) -> None: ...

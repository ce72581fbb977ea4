import threading
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from s3mount.errors import (
    CredentialsRefused,
    DeadlineExceeded,
    S3MountError,
    StoreError,
    Unreachable,
)
from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.limiter import Limiter, Permit
from s3mount.s3.scheduling.retry import Retrier
from s3mount.s3.transport import Retryable
from s3mount.thread_pool import ThreadPool

TIMEOUT = 60.0


class FailingCall:
    """`Call` of a read, whose attempts end by themselves, past the deadline too.

    Each takes the seconds of the next of *attempts*, and then fails with a failure of that kind.
    """

    kind = "GET"
    key = "key"
    priority = Priority.DEMAND
    on_promote: Callable[[], None] | None = None

    def __init__(self, *attempts: tuple[float, type[S3MountError]]) -> None:
        self.deadline = trio.current_time() + TIMEOUT
        self._attempts = iter(attempts)

    async def send(self, permit: Permit) -> None:
        permit.release()
        seconds, kind = next(self._attempts)
        await trio.sleep(seconds)
        raise Retryable(kind("no luck"), is_stale_credentials=kind is CredentialsRefused)

    def use_other_request(self, failure: S3MountError) -> bool:  # noqa: ARG002 - there is none
        return False

    def take_progress(self) -> int:
        return 0


async def failure_of(
    call: FailingCall,
    pause: float,
    failure: Exception | None = None,
    renew: Callable[[], bool] = lambda: False,
) -> type:
    """Return what *call* fails with, with a *pause* of as many seconds after each attempt."""
    retrier = Retrier(
        Limiter(1),
        ThreadPool(),
        renew_credentials=lambda *_, **__: renew(),
        pauses=lambda: iter([pause] * 9),
        bucket="bucket",
        timeout=TIMEOUT,
    )
    with pytest.raises(S3MountError) as caught:
        await retrier.run(call, failure)
    return type(caught.value)


@pytest.mark.parametrize("left", [10.0, 20.0])  # seconds that the last attempt had
async def test_a_read_that_times_out_soon_does_not_hide_the_failure_before_it(
    left: float,
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    call = FailingCall((1.0, StoreError), (left + 0.5, Unreachable))

    assert await failure_of(call, TIMEOUT - 1.0 - left) is StoreError


async def test_the_failure_of_an_attempt_that_was_made_before_counts_too(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    call = FailingCall((10.5, Unreachable))
    await trio.sleep(1.0)

    assert await failure_of(call, TIMEOUT - 11.0, Retryable(StoreError("busy"))) is StoreError


async def test_a_read_that_times_out_after_long_silence_is_late(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    call = FailingCall((30.0, Unreachable), (30.5, Unreachable))

    assert await failure_of(call, 0.0) is DeadlineExceeded


async def test_credentials_that_are_not_renewed_in_time_make_a_read_late(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    """The store had recovered from the failure before they expired."""
    call = FailingCall((1.0, StoreError), (1.0, CredentialsRefused))
    is_over = threading.Event()

    try:
        assert await failure_of(call, 40.0, renew=is_over.wait) is DeadlineExceeded
    finally:
        is_over.set()

"""Attempts that the event loop makes, and those that a thread has to make.

The sockets are real; what comes over them is the test's.
"""

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock, patch

import outcome
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.attempt import Attempt, GetBuffer
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.scheduling.executor import HAND_OVER_AFTER, Executor
from s3mount.s3.scheduling.limiter import Limiter, Permit
from s3mount.s3.scheduling.store_scheduling import not_sent
from s3mount.s3.transport import ReceiveState, Retryable
from s3mount.thread_pool import ThreadPool

MORE, WHOLE, OTHERWISE = b"m", b"w", b"o"
PERMIT = Permit(Limiter(1), Priority.DEMAND, 0)


class Request:
    """`Sender`, `PendingResponse` and `AttemptOwner` in one.

    Each byte that comes says what there is of the response. The result is the thread that finished
    it.
    """

    def __init__(
        self,
        *,
        can_send_nowait: bool = True,
        failure: Exception | None = None,
        is_broken: str | None = None,
    ) -> None:
        self._can_send_nowait = can_send_nowait
        self._failure = failure
        self._is_broken = is_broken
        self._socket, self.peer = socket.socketpair()
        self.outcomes: list[outcome.Outcome[threading.Thread]] = []
        self.has_ended = trio.Event()
        self.has_begun = False
        self.attempt = Attempt(self, self, PERMIT)

    def resume(self, filled: int) -> "Request":  # noqa: ARG002 - the protocol's
        return self

    def hedged(self) -> "Request":
        return self

    def send_nowait(self, into: GetBuffer, cancel_token: CancelToken) -> "Request | None":  # noqa: ARG002 - the protocol's
        return self if self._can_send_nowait else None

    def send(self, into: GetBuffer, cancel_token: CancelToken) -> threading.Thread:  # noqa: ARG002 - the protocol's
        return self.finish()

    def claim_buffer(self, attempt: Attempt[Any]) -> memoryview:  # noqa: ARG002 - the protocol's
        raise AssertionError("no response asks for a buffer here")

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive_available(self) -> ReceiveState:
        self.has_begun = True
        if self._is_broken == "receive_available":
            raise ZeroDivisionError
        return {MORE: ReceiveState.PARTIAL, WHOLE: ReceiveState.COMPLETE}.get(
            self._socket.recv(1), ReceiveState.FALLBACK
        )

    def finish(self) -> threading.Thread:
        if self._failure is not None:
            raise self._failure
        return threading.current_thread()

    def attempt_ended(self, attempt: Attempt[Any], result: outcome.Outcome[Any]) -> None:
        assert attempt is self.attempt
        self.outcomes.append(result)
        self.has_ended.set()
        if self._is_broken == "ended":
            raise ZeroDivisionError

    def send_over(self, executor: Executor) -> None:
        self.attempt = Attempt(self, self, PERMIT)
        executor.start(self.attempt)

    async def finished_by(self) -> threading.Thread:
        """The thread that finished it, once."""
        with trio.fail_after(10):
            await self.has_ended.wait()
        [result] = self.outcomes
        return result.unwrap()

    def close(self) -> None:
        self._socket.close()
        self.peer.close()


@contextmanager
def sending(*requests: Request) -> Iterator[Executor]:
    """Sends *requests*."""
    thread_pool = ThreadPool(not_sent)
    executor = Executor(thread_pool)
    try:
        for request in requests:
            request.send_over(executor)
            assert not request.outcomes
        yield executor
    finally:
        thread_pool.close()
        for request in requests:
            request.close()


def is_main_thread(thread: threading.Thread) -> bool:
    return thread is threading.current_thread()


async def test_a_complete_response_is_finished_in_the_event_loop() -> None:
    request = Request()
    with sending(request):
        request.peer.send(MORE)
        await wait_all_tasks_blocked()
        request.peer.send(WHOLE)

        assert is_main_thread(await request.finished_by())


async def test_any_other_response_is_finished_by_a_thread() -> None:
    odd, cut, unsent = Request(), Request(), Request(can_send_nowait=False)
    with sending(odd, cut, unsent):
        odd.peer.send(OTHERWISE)
        cut.peer.close()

        assert not any(
            [is_main_thread(await request.finished_by()) for request in (odd, cut, unsent)]
        )


async def test_a_response_that_does_not_come_in_time_is_finished_by_a_thread(
    mock_clock: MockClock,
) -> None:
    slow = Request()
    with sending(slow) as executor:
        slow.peer.send(MORE)
        await wait_all_tasks_blocked()
        mock_clock.jump(HAND_OVER_AFTER)
        assert not is_main_thread(await slow.finished_by())

        later, quick = Request(), Request()  # patience is each one's own
        later.send_over(executor)
        mock_clock.jump(HAND_OVER_AFTER / 2)
        quick.send_over(executor)
        mock_clock.jump(HAND_OVER_AFTER / 2)
        assert not is_main_thread(await later.finished_by())
        quick.peer.send(WHOLE)
        assert is_main_thread(await quick.finished_by())
    later.close()
    quick.close()


async def test_a_failure_is_an_outcome_in_the_event_loop_and_in_a_thread() -> None:
    in_the_event_loop, in_a_thread = (
        Request(failure=ZeroDivisionError()),
        Request(failure=ZeroDivisionError()),
    )
    with sending(in_the_event_loop, in_a_thread):
        in_the_event_loop.peer.send(WHOLE)
        in_a_thread.peer.send(OTHERWISE)
        with trio.fail_after(10):
            await in_the_event_loop.has_ended.wait()
            await in_a_thread.has_ended.wait()

    assert [type(result) for result in in_the_event_loop.outcomes + in_a_thread.outcomes] == [
        outcome.Error
    ] * 2


async def test_a_connection_is_watched_again_for_its_next_response() -> None:
    first = Request()
    with sending(first) as executor:
        for _ in range(3):
            first.peer.send(WHOLE)
            await first.finished_by()
            first.outcomes.clear()
            first.has_ended = trio.Event()
            first.peer.send(MORE)  # while nobody watches
            await wait_all_tasks_blocked()
            assert not first.outcomes
            first.send_over(executor)


async def test_a_request_is_finished_by_a_thread_if_the_system_has_no_epoll_left() -> None:
    request = Request()
    exhausted = Mock(epoll=Mock(side_effect=OSError(errno.EMFILE, "no descriptors left")))
    with patch("s3mount.s3.scheduling.executor.select", exhausted), sending(request):
        assert not is_main_thread(await request.finished_by())


async def test_a_cancelled_request_is_finished_in_the_event_loop() -> None:
    request = Request()
    with sending(request):
        request.attempt.attach(request.peer.close)
        request.attempt.cancel()

        assert is_main_thread(await request.finished_by())


async def test_a_request_that_no_thread_can_finish_fails_and_its_connection_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request, finished = Request(), []
    request.finish = lambda: finished.append(request.attempt.is_cancelled)  # type: ignore[method-assign, assignment, return-value]
    with sending(request):
        monkeypatch.setattr(
            "s3mount.thread_pool._thread.start_new_thread",
            Mock(side_effect=RuntimeError("no more")),
        )
        request.peer.send(OTHERWISE)
        with pytest.raises(Retryable):
            await request.finished_by()

    assert finished == [True]


@pytest.mark.parametrize("broken", ["receive_available", "ended"])
@pytest.mark.parametrize("comes", [WHOLE, OTHERWISE])
async def test_a_bug_in_one_attempt_leaves_the_others_watched(
    broken: str, comes: bytes, allowed_warnings: list[str]
) -> None:
    allowed_warnings.append("the callback of")
    one, other = Request(is_broken=broken), Request()
    with sending(one, other):
        one.peer.send(comes)
        with trio.fail_after(10):
            await one.has_ended.wait()
        other.peer.send(WHOLE)

        assert is_main_thread(await other.finished_by())
    assert len(one.outcomes) == 1


async def test_a_bug_in_one_attempt_closes_its_connection() -> None:
    """It is finished once, with its token cancelled, which releases socket and buffer budget."""
    request, finished = Request(is_broken="receive_available"), []
    request.finish = lambda: finished.append(request.attempt.is_cancelled)  # type: ignore[method-assign, assignment, return-value]
    with sending(request):
        request.peer.send(WHOLE)
        with pytest.raises(ZeroDivisionError):
            await request.finished_by()

    assert finished == [True]


async def test_a_request_that_cannot_be_watched_because_of_a_bug_is_abandoned() -> None:
    request, finished = Request(), []
    request.finish = lambda: finished.append(request.attempt.is_cancelled)  # type: ignore[method-assign, assignment, return-value]
    with (
        sending() as executor,
        patch.object(executor, "_watch", side_effect=ZeroDivisionError),
        pytest.raises(ZeroDivisionError),
    ):
        request.send_over(executor)
    request.close()

    assert finished == [True]
    assert not request.outcomes


async def test_a_bug_in_a_hand_over_leaves_the_others_watched(mock_clock: MockClock) -> None:
    one, other = Request(), Request()
    with sending(one) as executor:
        with patch.object(executor, "_finish_in_thread", side_effect=ZeroDivisionError):
            mock_clock.jump(HAND_OVER_AFTER)
            await one.has_ended.wait()
        other.send_over(executor)
        mock_clock.jump(HAND_OVER_AFTER)
        assert not is_main_thread(await other.finished_by())
    other.close()
    assert [type(result) for result in one.outcomes] == [outcome.Error]


async def test_an_attempt_whose_descriptor_was_closed_ends(mock_clock: MockClock) -> None:
    request = Request()
    with sending(request):
        request._socket.close()
        mock_clock.jump(HAND_OVER_AFTER)

        assert not is_main_thread(await request.finished_by())


async def test_many_responses_at_once_are_each_told_once() -> None:
    requests = [Request() for _ in range(100)]
    with sending(*requests):
        for number, request in enumerate(requests):
            request.peer.send(OTHERWISE if number % 3 else WHOLE)

        for number, request in enumerate(requests):
            assert is_main_thread(await request.finished_by()) == (number % 3 == 0)


def test_the_event_loop_may_end_with_requests_in_flight() -> None:
    request = Request()

    async def leave() -> None:
        with sending(request):
            await wait_all_tasks_blocked()

    trio.run(leave)

    assert not request.outcomes

"""Attempts that are made in the run, and those that a thread has to make: sockets are real, what comes over them is the test's."""

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import Mock, patch

import outcome
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.scheduling.executor import PATIENCE, Executor, Into
from s3mount.s3.scheduling.thread_pool import ThreadPool
from s3mount.s3.transport import ReceiveState, Retryable

MORE, WHOLE, OTHERWISE = b"m", b"w", b"o"


class Question:
    """`Ask` and `Sent` in one. Each byte that comes says what there is of the answer; the answer is the thread that finished it."""

    def __init__(
        self,
        *,
        is_at_hand: bool = True,
        failure: Exception | None = None,
        is_broken: str | None = None,
    ) -> None:
        self._is_at_hand = is_at_hand
        self._failure = failure
        self._is_broken = is_broken
        self.cord = CancelToken()
        self._socket, self.peer = socket.socketpair()
        self.outcomes: list[outcome.Outcome[threading.Thread]] = []
        self.has_ended = trio.Event()
        self.has_begun = False

    def begin(self, into: Into, *, cord: CancelToken) -> "Question | None":  # noqa: ARG002 - the protocol's
        return self if self._is_at_hand else None

    def __call__(self, into: Into, *, cord: CancelToken) -> threading.Thread:  # noqa: ARG002 - the protocol's
        return self.finish()

    def fileno(self) -> int:
        return self._socket.fileno()

    def gather(self) -> ReceiveState:
        self.has_begun = True
        if self._is_broken == "gather":
            raise ZeroDivisionError
        return {MORE: ReceiveState.MORE, WHOLE: ReceiveState.WHOLE}.get(
            self._socket.recv(1), ReceiveState.OTHERWISE
        )

    def finish(self) -> threading.Thread:
        if self._failure is not None:
            raise self._failure
        return threading.current_thread()

    def ended(self, result: outcome.Outcome[threading.Thread]) -> None:
        self.outcomes.append(result)
        self.has_ended.set()
        if self._is_broken == "ended":
            raise ZeroDivisionError

    def send_over(self, dispatch: Executor) -> None:
        dispatch.send(self, lambda: memoryview(b""), self.cord, self.ended)

    async def answered_by(self) -> threading.Thread:
        """Who finished it, once."""
        with trio.fail_after(10):
            await self.has_ended.wait()
        [result] = self.outcomes
        return result.unwrap()

    def close(self) -> None:
        self._socket.close()
        self.peer.close()


@contextmanager
def asking(*questions: Question) -> Iterator[Executor]:
    """Sends *questions*."""
    workers = ThreadPool()
    dispatch = Executor(workers)
    try:
        for question in questions:
            question.send_over(dispatch)
            assert not question.outcomes
        yield dispatch
    finally:
        workers.close()
        for question in questions:
            question.close()


def is_the_run(thread: threading.Thread) -> bool:
    return thread is threading.current_thread()


async def test_an_answer_that_is_all_here_is_finished_in_the_run() -> None:
    question = Question()
    with asking(question):
        question.peer.send(MORE)
        await wait_all_tasks_blocked()
        question.peer.send(WHOLE)

        assert is_the_run(await question.answered_by())


async def test_whatever_else_comes_is_finished_by_a_thread() -> None:
    odd, cut, unsent = Question(), Question(), Question(is_at_hand=False)
    with asking(odd, cut, unsent):
        odd.peer.send(OTHERWISE)
        cut.peer.close()

        assert not any(
            [is_the_run(await question.answered_by()) for question in (odd, cut, unsent)]
        )


async def test_so_is_what_does_not_come_in_time(mock_clock: MockClock) -> None:
    slow = Question()
    with asking(slow) as dispatch:
        slow.peer.send(MORE)
        await wait_all_tasks_blocked()
        mock_clock.jump(PATIENCE)
        assert not is_the_run(await slow.answered_by())

        later, quick = Question(), Question()  # patience is each one's own
        later.send_over(dispatch)
        mock_clock.jump(PATIENCE / 2)
        quick.send_over(dispatch)
        mock_clock.jump(PATIENCE / 2)
        assert not is_the_run(await later.answered_by())
        quick.peer.send(WHOLE)
        assert is_the_run(await quick.answered_by())
    later.close()
    quick.close()


async def test_a_failure_is_an_outcome_wherever_it_is_found() -> None:
    in_the_run, in_a_thread = (
        Question(failure=ZeroDivisionError()),
        Question(failure=ZeroDivisionError()),
    )
    with asking(in_the_run, in_a_thread):
        in_the_run.peer.send(WHOLE)
        in_a_thread.peer.send(OTHERWISE)
        with trio.fail_after(10):
            await in_the_run.has_ended.wait()
            await in_a_thread.has_ended.wait()

    assert [type(result) for result in in_the_run.outcomes + in_a_thread.outcomes] == [
        outcome.Error
    ] * 2


async def test_a_connection_is_watched_again_for_its_next_answer() -> None:
    first = Question()
    with asking(first) as dispatch:
        for _ in range(3):
            first.peer.send(WHOLE)
            await first.answered_by()
            first.outcomes.clear()
            first.has_ended = trio.Event()
            first.peer.send(MORE)  # while nobody watches
            await wait_all_tasks_blocked()
            assert not first.outcomes
            first.send_over(dispatch)


async def test_what_the_system_lets_nobody_watch_is_finished_by_a_thread() -> None:
    question = Question()
    exhausted = Mock(epoll=Mock(side_effect=OSError(errno.EMFILE, "no descriptors left")))
    with patch("s3mount.s3.scheduling.executor.select", exhausted), asking(question):
        assert not is_the_run(await question.answered_by())


async def test_what_is_cut_is_finished_in_the_run() -> None:
    question = Question()
    with asking(question):
        question.cord.tie(question.peer.close)
        question.cord.pull()

        assert is_the_run(await question.answered_by())


async def test_what_no_thread_can_finish_fails_and_its_connection_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    question, finished = Question(), []
    question.finish = lambda: finished.append(question.cord.is_pulled)  # type: ignore[method-assign, assignment, return-value]
    with asking(question):
        monkeypatch.setattr(
            "s3mount.s3.scheduling.thread_pool._thread.start_new_thread",
            Mock(side_effect=RuntimeError("no more")),
        )
        question.peer.send(OTHERWISE)
        with pytest.raises(Retryable):
            await question.answered_by()

    assert finished == [True]


@pytest.mark.parametrize("broken", ["gather", "ended"])
@pytest.mark.parametrize("comes", [WHOLE, OTHERWISE])
async def test_a_bug_in_one_attempt_leaves_the_others_watched(
    broken: str, comes: bytes, expected_warnings: list[str]
) -> None:
    expected_warnings.append("the callback of")
    one, other = Question(is_broken=broken), Question()
    with asking(one, other):
        one.peer.send(comes)
        with trio.fail_after(10):
            await one.has_ended.wait()
        other.peer.send(WHOLE)

        assert is_the_run(await other.answered_by())
    assert len(one.outcomes) == 1


async def test_a_bug_in_one_attempt_closes_its_connection() -> None:
    """What was sent is finished once, with its cord pulled: else its socket and its share of the gather room were lost."""
    question, finished = Question(is_broken="gather"), []
    question.finish = lambda: finished.append(question.cord.is_pulled)  # type: ignore[method-assign, assignment, return-value]
    with asking(question):
        question.peer.send(WHOLE)
        with pytest.raises(ZeroDivisionError):
            await question.answered_by()

    assert finished == [True]


async def test_what_was_sent_and_cannot_be_watched_at_all_is_given_up() -> None:
    question, finished = Question(), []
    question.finish = lambda: finished.append(question.cord.is_pulled)  # type: ignore[method-assign, assignment, return-value]
    with (
        asking() as dispatch,
        patch.object(dispatch, "_watch", side_effect=ZeroDivisionError),
        pytest.raises(ZeroDivisionError),
    ):
        question.send_over(dispatch)
    question.close()

    assert finished == [True]
    assert not question.outcomes


async def test_a_bug_in_what_lost_patience_leaves_the_others_watched(mock_clock: MockClock) -> None:
    one, other = Question(), Question()
    with asking(one) as dispatch:
        with patch.object(dispatch, "_finish_in_a_thread", side_effect=ZeroDivisionError):
            mock_clock.jump(PATIENCE)
            await one.has_ended.wait()
        other.send_over(dispatch)
        mock_clock.jump(PATIENCE)
        assert not is_the_run(await other.answered_by())
    other.close()
    assert [type(result) for result in one.outcomes] == [outcome.Error]


async def test_an_attempt_whose_descriptor_was_closed_ends_too(mock_clock: MockClock) -> None:
    question = Question()
    with asking(question):
        question._socket.close()
        mock_clock.jump(PATIENCE)

        assert not is_the_run(await question.answered_by())


async def test_many_answers_at_once_are_each_told_once() -> None:
    questions = [Question() for _ in range(100)]
    with asking(*questions):
        for number, question in enumerate(questions):
            question.peer.send(OTHERWISE if number % 3 else WHOLE)

        for number, question in enumerate(questions):
            assert is_the_run(await question.answered_by()) == (number % 3 == 0)


def test_a_run_may_end_with_answers_on_their_way() -> None:
    question = Question()

    async def leave() -> None:
        with asking(question):
            await wait_all_tasks_blocked()

    trio.run(leave)

    assert not question.outcomes

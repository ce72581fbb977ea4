"""Credentials under any order of requests, refusals, look-ups that end late, failures and expiry.

Look-ups do not run in threads here: each begins when the chain starts its thread, and ends when the
machine says so, which is how a source that hangs looks from outside.
"""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from s3mount.errors import AccessDenied, DeadlineExceeded
from s3mount.s3.endpoint.credential_chain import INVALIDATION_INTERVAL, CredentialChain, Keys
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.transport import Retryable

Thread = tuple[Callable[..., None], tuple[Any, ...]]


class Chain(RuleBasedStateMachine):
    """Names each set of credentials by the number of the look-up that found it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.begun = 0  # look-ups
        self.renewed_after = 0  # look-ups that had begun when the last refusal took effect
        self.renewed_at = -INVALIDATION_INTERVAL
        self.ends: dict[str, float] = {}  # of credentials that were found, in seconds since 1970
        self.under_way: list[Thread] = []
        self.threads_are_there = True
        self.found: Keys | BaseException = OSError()

    kind = "source"

    def look_up(self, *, fresh: bool) -> Keys:
        self.was_anew = fresh
        if isinstance(self.found, BaseException):
            raise self.found
        return self.found

    def may_have_changed(self) -> bool | None:
        return None

    def close(self) -> None: ...

    @initialize()
    def make(self) -> None:
        self.chain = CredentialChain(
            self, sign=True, clock=lambda: self.now, wall_clock=lambda: self.now
        )

    def _start(self, call: Callable[..., None], arguments: tuple[Any, ...]) -> int:
        if not self.threads_are_there:
            raise RuntimeError("can't start new thread")
        self.begun += 1
        self.under_way.append((call, arguments))
        return 0

    def _holds(self, frozen: FrozenCredentials) -> None:
        """*frozen* may be signed with now."""
        assert self.now < self.ends[frozen.access_key]
        assert int(frozen.access_key) > self.renewed_after

    @rule()
    def ask_without_waiting(self) -> None:
        with patch("_thread.start_new_thread", self._start):
            frozen = self.chain.frozen_nowait()
        if frozen is not None:
            self._holds(frozen)
        assert len(self.under_way) <= 1

    @rule()
    def ask_with_no_time_to_wait(self) -> None:
        try:
            with patch("_thread.start_new_thread", self._start):
                self._holds(self.chain.frozen(self.now))
        except DeadlineExceeded:
            assert self.under_way  # those who have the time wait for it
        except (AccessDenied, Retryable):
            assert not (self.under_way and self.threads_are_there)

    @rule()
    def refuse(self) -> None:
        is_new = (
            self.chain._keys is not None and self.now - self.renewed_at >= INVALIDATION_INTERVAL
        )
        self.chain.invalidate()
        if is_new:
            self.renewed_at, self.renewed_after = self.now, self.begun

    @rule(seconds=st.sampled_from([0.5, 5.0, 60.0, 60.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(minutes=st.integers(1, 4))
    def go_on_with_requests(self, minutes: int) -> None:
        for _ in range(minutes):
            self.now += 61.0
            self.ask_without_waiting()

    @rule()
    def run_out_of_threads_or_not(self) -> None:
        self.threads_are_there = not self.threads_are_there

    @precondition(lambda self: self.under_way)
    @rule(lifetime=st.sampled_from([-1.0, 30.0, 500.0, 500.0, 2000.0]))
    def find(self, lifetime: float) -> None:
        self.ends[str(self.begun)] = self.now + lifetime
        self.found = Keys(
            FrozenCredentials(str(self.begun), "s"), self.now + lifetime - 900, self.now + lifetime
        )
        self._end()

    @precondition(lambda self: self.under_way)
    @rule(failure=st.sampled_from([TimeoutError, ValueError]))
    def fail(self, failure: type[Exception]) -> None:
        self.found = failure("a secret")
        self._end()

    def _end(self) -> None:
        call, arguments = self.under_way.pop()
        with patch("s3mount.s3.endpoint.credential_chain.log"):  # a refresh that fails is told
            call(*arguments)
        assert not self.chain._is_in_flight

    @invariant()
    def one_look_up_at_most_is_in_flight(self) -> None:
        assert len(self.under_way) <= 1


Chain.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestChain = Chain.TestCase

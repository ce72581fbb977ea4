"""The cache of credentials, and requests while their source is slow, hangs or fails.

The source is scripted: each look-up waits until the test lets it find something.
"""

import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from botocore import exceptions

from s3mount.errors import AccessDenied, DeadlineExceeded, StoreError
from s3mount.s3.endpoint.credential_chain import (
    FAILURE_TTL,
    INVALIDATION_INTERVAL,
    REFRESH_INTERVAL,
    RENEWAL_WAIT,
    CredentialChain,
    Keys,
)
from s3mount.s3.endpoint.credentials import ANONYMOUS, CredentialState, FrozenCredentials
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.transport import Retryable

PATIENCE = 30.0  # seconds; a bound for failing
OLD, NEW = FrozenCredentials("OLD", "s"), FrozenCredentials("NEW", "s")


class Source:
    """A source that returns what `finds` queued, and blocks without. `looks` has each *fresh*."""

    kind = "credential_process"

    def __init__(self) -> None:
        self.looks: list[bool] = []
        self.has_others: bool | None = None
        self.at_once = self.most_at_once = 0
        self.masks: list[set[int]] = []
        self._begun: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._finds: queue.SimpleQueue[Keys | BaseException] = queue.SimpleQueue()

    def look_up(self, *, fresh: bool) -> Keys:
        self.looks.append(fresh)
        self.masks.append({int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())})
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self._begun.put(fresh)
        found = self._finds.get()
        self.at_once -= 1
        if isinstance(found, BaseException):
            raise found
        return found

    def may_have_changed(self) -> bool | None:
        return self.has_others

    def close(self) -> None: ...

    def finds(self, *found: Keys | BaseException) -> None:
        for each in found:
            self._finds.put(each)

    def wait_asked(self) -> None:
        """Return when another look-up has started."""
        self._begun.get(timeout=PATIENCE)


class Clocks:
    """A monotonic clock and a wall clock that stand still until they are set."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 1_000_000.0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.finds(*[Keys(OLD)] * 9)  # no thread is left behind


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def chain(source: Source, clocks: Clocks) -> CredentialChain:
    """On clocks that stand still, so that no wait ends by its deadline."""
    return CredentialChain(
        source, sign=True, clock=lambda: clocks.now, wall_clock=lambda: clocks.wall
    )


@contextmanager
def asking(
    count: int, ask: Callable[[], FrozenCredentials]
) -> Iterator[list[Future[FrozenCredentials]]]:
    with ThreadPoolExecutor(count) as pool:
        yield [pool.submit(ask) for _ in range(count)]


def ask(chain: CredentialChain) -> FrozenCredentials:
    """`frozen`, on a clock that stands still."""
    return chain.frozen(2000.0)


def hold(chain: CredentialChain, source: Source, keys: Keys) -> None:
    source.finds(keys)
    ask(chain)
    source.wait_asked()


def test_found_credentials_are_returned_without_waiting(
    chain: CredentialChain, source: Source
) -> None:
    before = chain.frozen_nowait()
    hold(chain, source, Keys(OLD))

    assert (before, chain.frozen_nowait(), ask(chain)) == (None, OLD, OLD)
    assert source.looks == [False]


def test_nothing_is_looked_up_if_nothing_is_signed(source: Source) -> None:
    chain = CredentialChain(source, sign=False)
    chain.invalidate()

    assert chain.frozen_nowait() is ANONYMOUS
    assert chain.frozen(0.0) is ANONYMOUS
    assert source.looks == []


def test_the_state_of_credentials_has_their_source_and_expiry_and_no_keys(
    chain: CredentialChain, source: Source
) -> None:
    before = chain.state()
    hold(chain, source, Keys(OLD, expires_at=2_000_000.0))

    assert before == CredentialState("credential_process", None)
    assert chain.state() == CredentialState("credential_process", 2_000_000.0)
    assert CredentialChain(source, sign=False).state().source == "none: requests are not signed"


def test_many_waiters_share_one_look_up(chain: CredentialChain, source: Source) -> None:
    with asking(8, lambda: ask(chain)) as asked:
        source.wait_asked()
        source.finds(Keys(NEW))
        found = [each.result(PATIENCE) for each in asked]

    assert found == [NEW] * 8
    assert source.looks == [False]


def test_a_waiter_fails_at_its_own_deadline(source: Source) -> None:
    chain = CredentialChain(source, sign=True)
    with asking(1, lambda: chain.frozen(time.monotonic() + PATIENCE)) as patient:
        source.wait_asked()

        with pytest.raises(DeadlineExceeded, match=r"does not answer \(credential_process\)"):
            chain.frozen(time.monotonic() + 0.2)

        is_waiting_still = not patient[0].done()
        source.finds(Keys(NEW))
        assert patient[0].result(PATIENCE) == NEW
    assert is_waiting_still
    assert source.looks == [False]


def test_a_waiter_can_be_cancelled(chain: CredentialChain, source: Source) -> None:
    cancel_token = CancelToken()
    with asking(1, lambda: chain.frozen(2000.0, cancel_token)) as asked:
        source.wait_asked()
        cancel_token.cancel()

        with pytest.raises(RequestCancelledError):
            asked[0].result(PATIENCE)


def test_a_waiter_fails_when_the_mount_ends(chain: CredentialChain, source: Source) -> None:
    with asking(3, lambda: ask(chain)) as asked:
        source.wait_asked()
        chain.close()
        told = [each.exception(PATIENCE) for each in asked]
    with pytest.raises(StoreError, match="the mount ends"):
        ask(chain)

    assert [str(each) for each in told] == [
        "the mount ends: no credentials are looked up any more"
    ] * 3
    assert source.looks == [False]


def test_a_look_up_started_before_invalidate_is_dropped(
    chain: CredentialChain, source: Source, clocks: Clocks
) -> None:
    hold(chain, source, Keys(OLD, clocks.wall, clocks.wall + 900))
    clocks.advance(REFRESH_INTERVAL)
    chain.frozen_nowait()
    source.wait_asked()

    chain.invalidate()  # it waits for no look-up
    with asking(1, lambda: ask(chain)) as asked:
        source.finds(Keys(OLD))
        source.wait_asked()
        had_none = chain.frozen_nowait()
        source.finds(Keys(NEW))

        assert (had_none, asked[0].result(PATIENCE)) == (None, NEW)
    assert source.looks == [False, False, True]
    assert source.most_at_once == 1


def test_a_late_refusal_of_old_credentials_does_not_invalidate_again(
    chain: CredentialChain, source: Source, clocks: Clocks
) -> None:
    hold(chain, source, Keys(OLD))
    chain.invalidate()
    with asking(1, lambda: ask(chain)) as asked:
        source.wait_asked()
        clocks.advance(INVALIDATION_INTERVAL)
        chain.invalidate()
        source.finds(Keys(NEW))

        assert asked[0].result(PATIENCE) == NEW
    assert source.looks == [False, True]


def test_finding_expired_credentials_is_a_failure(
    chain: CredentialChain, source: Source, clocks: Clocks
) -> None:
    source.finds(Keys(OLD, clocks.wall - 900, clocks.wall))

    with pytest.raises(AccessDenied, match="gives expired ones"):
        ask(chain)

    assert source.looks == [False]


def test_many_refusals_of_one_expiry_invalidate_once(
    chain: CredentialChain, source: Source, clocks: Clocks
) -> None:
    hold(chain, source, Keys(OLD))
    chain.invalidate()
    hold(chain, source, Keys(NEW))

    chain.invalidate()
    after_a_moment = chain.frozen_nowait()
    clocks.advance(INVALIDATION_INTERVAL)
    chain.invalidate()

    assert (after_a_moment, chain.frozen_nowait()) == (NEW, None)


def renewed(chain: CredentialChain, *, since: float = 1000.0, is_expired: bool = False) -> bool:
    """`renew` for a request of an operation that began at *since*."""
    return chain.renew(since, 2000.0, is_expired=is_expired)


@pytest.mark.parametrize(("found", "may_succeed"), [(NEW, True), (OLD, False)])
def test_a_refusal_is_worth_another_attempt_if_there_are_other_credentials(
    found: FrozenCredentials, *, may_succeed: bool, chain: CredentialChain, source: Source
) -> None:
    hold(chain, source, Keys(OLD))
    source.finds(Keys(found))

    assert renewed(chain) is may_succeed
    assert chain.frozen_nowait() == found
    assert source.looks == [False, True]


def test_a_refusal_that_a_look_up_did_not_help_starts_no_other_for_some_seconds(
    chain: CredentialChain, source: Source, clocks: Clocks
) -> None:
    hold(chain, source, Keys(OLD))
    source.finds(Keys(OLD), Keys(NEW), Keys(NEW))

    first, second = renewed(chain), renewed(chain)
    source.has_others = True
    certain = renewed(chain)
    clocks.advance(INVALIDATION_INTERVAL)
    source.has_others = None

    assert (first, second, certain) == (False, False, True)
    assert renewed(chain, since=clocks.now) is False
    assert source.looks == [False, True, True, True]


@pytest.mark.parametrize("is_expired", [False, True])
def test_a_source_that_cannot_change_is_not_asked(
    chain: CredentialChain, source: Source, *, is_expired: bool
) -> None:
    hold(chain, source, Keys(OLD))
    source.has_others = False

    assert renewed(chain, is_expired=is_expired) is False
    assert chain.frozen_nowait() == OLD
    assert source.looks == [False]


def test_refusals_at_the_same_time_share_one_look_up(
    chain: CredentialChain, source: Source
) -> None:
    hold(chain, source, Keys(OLD))

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(renewed, chain) for _ in range(8)]
        source.wait_asked()
        source.finds(Keys(NEW))
        results = [each.result(PATIENCE) for each in asked]

    assert results == [True] * 8
    assert source.looks == [False, True]


def test_a_refusal_of_credentials_that_were_replaced_meanwhile_needs_no_look_up(
    chain: CredentialChain, source: Source, clocks: Clocks
) -> None:
    hold(chain, source, Keys(OLD))
    source.finds(Keys(NEW))
    clocks.advance(1)
    renewed(chain)

    assert renewed(chain, since=1000.5) is True
    assert renewed(chain, since=clocks.now) is False
    assert source.looks == [False, True]


def test_a_look_up_that_fails_leaves_refused_credentials_in_use(
    chain: CredentialChain, source: Source, expected_warnings: list[str]
) -> None:
    expected_warnings.append("credentials not refreshed")
    hold(chain, source, Keys(OLD))
    source.finds(OSError())

    assert renewed(chain) is False
    assert chain.frozen_nowait() == OLD


def test_a_source_that_hangs_does_not_hold_up_later_refusals(
    source: Source, clocks: Clocks
) -> None:
    chain = CredentialChain(source, sign=True, clock=lambda: clocks.now)
    hold(chain, source, Keys(OLD))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(renewed, chain)
        source.wait_asked()
        clocks.advance(RENEWAL_WAIT)

        assert renewed(chain) is False
        source.finds(Keys(OLD))
        assert first.result(PATIENCE) is False


def test_credentials_that_have_expired_are_invalidated_at_once_if_there_are_others(
    chain: CredentialChain, source: Source
) -> None:
    hold(chain, source, Keys(OLD))
    renewed(chain, is_expired=True)
    hold(chain, source, Keys(OLD))

    again = renewed(chain, is_expired=True)
    source.has_others = True
    certain = renewed(chain, is_expired=True)

    assert (again, certain) == (False, True)
    assert chain.frozen_nowait() is None


def test_valid_credentials_are_used_while_a_refresh_hangs(
    chain: CredentialChain, source: Source, clocks: Clocks
) -> None:
    hold(chain, source, Keys(OLD, clocks.wall + 10, clocks.wall + 900))
    clocks.advance(REFRESH_INTERVAL)

    at_hand = [chain.frozen_nowait(), ask(chain), ask(chain)]
    source.wait_asked()

    assert at_hand == [OLD] * 3
    assert source.looks == [False, False]


def test_a_refresh_beside_requests_serves_the_next_ones(
    chain: CredentialChain, source: Source, clocks: Clocks
) -> None:
    hold(chain, source, Keys(OLD, clocks.wall, clocks.wall + 900))
    clocks.advance(REFRESH_INTERVAL)
    chain.frozen_nowait()
    source.wait_asked()
    clocks.advance(900)

    with asking(
        1, lambda: ask(chain)
    ) as asked:  # it waits for the refresh, as the old ones have expired
        source.finds(Keys(NEW))
        assert asked[0].result(PATIENCE) == NEW
    assert source.looks == [False, False]


def test_a_refresh_waits_after_one_that_failed(
    chain: CredentialChain,
    source: Source,
    clocks: Clocks,
    caplog: pytest.LogCaptureFixture,
    expected_warnings: list[str],
) -> None:
    expected_warnings.append("credentials not refreshed")
    hold(chain, source, Keys(OLD, clocks.wall, clocks.wall + 900))
    clocks.advance(REFRESH_INTERVAL)
    with asking(1, lambda: ask(chain)):
        source.wait_asked()
    source.finds(
        exceptions.CredentialRetrievalError(provider="custom-process", error_msg="a secret")
    )
    _wait_idle(chain)

    at_hand = chain.frozen_nowait()

    assert at_hand == OLD
    assert source.looks == [False, False]
    assert "are used until they expire" in caplog.text
    assert "a secret" not in caplog.text


def test_expired_credentials_are_never_returned(
    chain: CredentialChain, source: Source, clocks: Clocks
) -> None:
    hold(chain, source, Keys(OLD, clocks.wall + 10, clocks.wall + 20))
    clocks.advance(20)

    assert chain.frozen_nowait() is None
    assert source.looks == [False]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (exceptions.NoCredentialsError(), AccessDenied),
        (exceptions.CredentialRetrievalError(provider="p", error_msg="a secret"), AccessDenied),
        (ValueError("a secret"), AccessDenied),
        (SystemExit("a secret"), AccessDenied),
        (FileNotFoundError("a secret"), AccessDenied),
        (exceptions.EndpointConnectionError(endpoint_url="a secret"), Retryable),
        (TimeoutError("a secret"), Retryable),
    ],
)
def test_a_failure_is_raised_in_each_waiter_as_a_new_exception(
    failure: BaseException, told: type[Exception], chain: CredentialChain, source: Source
) -> None:
    with asking(3, lambda: ask(chain)) as asked:
        source.wait_asked()
        source.finds(failure)
        raised = [each.exception(PATIENCE) for each in asked]

    assert [type(each) for each in raised] == [told] * 3
    assert len({id(each) for each in raised}) == 3
    assert all(
        each is not None and each.__cause__ is None and "a secret" not in str(each)
        for each in raised
    )


def test_a_failure_that_cannot_be_explained_any_more_ends_its_look_up(
    chain: CredentialChain, source: Source, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program was updated or removed, so that a module can be imported no more."""
    hold(chain, source, Keys(OLD, refresh_at=clocks.wall, expires_at=clocks.wall + 60))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "s3mount.s3.endpoint.credential_errors", None)
        source.finds(ValueError("a secret"))
        chain.frozen_nowait()
        clocks.advance(60)
        with pytest.raises(Retryable, match=r"cannot be imported \(ModuleNotFoundError\)"):
            ask(chain)
    clocks.advance(FAILURE_TTL)
    source.finds(Keys(NEW))

    assert ask(chain) == NEW


def test_a_failure_is_cached_for_a_moment(
    chain: CredentialChain, source: Source, clocks: Clocks
) -> None:
    source.finds(exceptions.NoCredentialsError())
    for _ in range(3):
        with pytest.raises(AccessDenied):
            ask(chain)
    looks = len(source.looks)
    clocks.advance(FAILURE_TTL)
    source.finds(Keys(NEW))

    assert ask(chain) == NEW
    assert looks == 1


@pytest.mark.parametrize(
    "reason", [RuntimeError("can't start new thread"), MemoryError()], ids=["thread", "memory"]
)
def test_a_thread_that_cannot_start_is_a_failure(
    chain: CredentialChain, source: Source, monkeypatch: pytest.MonkeyPatch, reason: Exception
) -> None:
    def refuse(*_: object) -> int:
        raise reason

    with monkeypatch.context() as patch:
        patch.setattr("s3mount.s3.endpoint.credential_chain._thread.start_new_thread", refuse)
        with pytest.raises(Retryable, match="no thread"):
            ask(chain)
    source.finds(Keys(NEW))

    assert ask(chain) == NEW


def test_the_source_runs_with_no_signal_blocked(chain: CredentialChain, source: Source) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        hold(chain, source, Keys(NEW))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    assert source.masks == [set()]


def test_no_repr_shows_keys() -> None:
    assert "OLD" not in repr(Keys(OLD))


def _wait_idle(chain: CredentialChain) -> None:
    """Return when no look-up is in flight."""
    with chain._changed:
        assert chain._changed.wait_for(lambda: not chain._is_in_flight, PATIENCE)

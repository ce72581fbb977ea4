"""Cache of credentials that are looked up when needed, and refreshed before they expire.

Knows nothing of where credentials come from: see `credential_source`.
"""

import _thread
import contextlib
import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import outcome

from s3mount.errors import AccessDenied, DeadlineExceeded, S3MountError, StoreError
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.endpoint.credentials import ANONYMOUS, CredentialState, FrozenCredentials
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import Retryable

log = logging.getLogger(__name__)

INVALIDATION_INTERVAL = 5.0  # seconds; many requests notice the same expiry
REFRESH_INTERVAL = 60.0  # seconds between two refreshes of credentials that are still valid
RENEWAL_WAIT = 5.0  # seconds that a refused request waits for a source to give others
FAILURE_TTL = 1.0  # seconds; so that not every request starts a program that fails
DEADLINE_MARGIN = 0.1  # seconds before a deadline in which credentials are of no use any more


@dataclass(frozen=True, slots=True)
class Keys:
    """The result of a look-up. Both times are in seconds since 1970."""

    frozen: FrozenCredentials
    refresh_at: float = math.inf
    expires_at: float = math.inf


class Source(Protocol):
    """A source of credentials. `look_up` is called by one thread at a time, the rest by any."""

    @property
    def kind(self) -> str:
        """The kind of source that is used, or was used last; for messages."""
        ...

    def look_up(self, *, fresh: bool) -> Keys:
        """Look up credentials, for as long as it takes; *fresh* ignores what was found before.

        Raises any exception of the source.
        """
        ...

    def may_have_changed(self) -> bool | None:
        """Whether a look-up may find other credentials; None if only a look-up can tell.

        Blocks as stat(2) does.
        """
        ...

    def close(self) -> None:
        """Kill the programs that were started for a look-up; never blocks."""
        ...


class CredentialChain:
    """`Credentials` of a source: looked up on first use, and refreshed before they expire.

    Invariants:

    1. At most one look-up is in flight. It has a daemon thread of its own, so neither a request nor
       the end of the process waits for a source that hangs. No lock is held meanwhile.
    2. A caller waits until its own deadline at most, and can be cancelled. The event loop calls
       `frozen_nowait`, which does not wait.
    3. Credentials are used until they expire, even if a refresh fails. From *refresh_at* on, a
       look-up runs beside the requests.
    4. The result of a look-up that was started before `invalidate` is dropped: its source may not
       have known yet that the old credentials had ended.
    5. A refusal that does not speak of expiry starts a look-up while the present credentials stay:
       at most every `INVALIDATION_INTERVAL` seconds, unless the source knows that it has others.
    6. A failure is raised in each request that waits for it, and for `FAILURE_TTL` seconds in later
       ones, as a new exception each time.
    """

    def __init__(
        self,
        source: Source,
        *,
        sign: bool,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._is_signing = sign
        self._clock = clock
        self._wall_clock = wall_clock
        # A lock for all below, held for moments only. *_keys* are the last good result.
        # *_generation* counts effective calls of `invalidate`, the last of which was at
        # *_invalidated_at*; the next look-up is then fresh. *_failure* is that of the last
        # look-up; requests that did not wait for it raise it until *_failed_until*. Another
        # refresh may start from *_refresh_from* on.
        self._changed = threading.Condition()
        self._keys = None if sign else Keys(ANONYMOUS)
        self._is_in_flight = False
        self._generation = 0
        self._invalidated_at = -math.inf
        self._must_be_fresh = False
        self._failure: Callable[[], S3MountError | Retryable] | None = None
        self._failed_until = -math.inf
        self._refresh_from = -math.inf
        self._renew_from = -math.inf
        self._began_at = -math.inf
        self._last: FrozenCredentials | None = None
        self._replaced_at = -math.inf
        self._is_closed = False

    def frozen(self, deadline: float, cancel_token: CancelToken | None = None) -> FrozenCredentials:
        """See `Credentials.frozen`. AccessDenied if there are none, Retryable for a failure."""
        return self.frozen_nowait() or self._wait(
            deadline - DEADLINE_MARGIN, cancel_token or CancelToken()
        )

    def frozen_nowait(self) -> FrozenCredentials | None:
        keys = self._keys
        if keys is None:
            return None
        now = self._wall_clock()
        if now < keys.refresh_at:
            return keys.frozen
        if now >= keys.expires_at:
            return None
        self._refresh()
        return keys.frozen

    def state(self) -> CredentialState:
        """Return what may be told of the present credentials. Never blocks."""
        if not self._is_signing:
            return CredentialState("none: requests are not signed", None)
        keys = self._keys
        expires_at = None if keys is None or keys.expires_at == math.inf else keys.expires_at
        return CredentialState(self._source.kind, expires_at)

    def invalidate(self) -> None:
        """Discard the credentials, which the store refused; the next request looks up others."""
        with self._changed:
            if self._keys is None:  # older ones were refused
                return
            if self._is_signing and self._clock() - self._invalidated_at >= INVALIDATION_INTERVAL:
                self._invalidated_at = self._clock()
                self._generation += 1
                self._must_be_fresh = True
                self._keys = self._failure = None

    def renew(self, since: float, deadline: float, *, is_expired: bool) -> bool:
        """See `Credentials.renew`."""
        if not self._is_signing:
            return False
        may_have_changed = self._source.may_have_changed()
        with self._changed:
            if self._replaced_at > since or self._keys is None:
                return True
            if may_have_changed is False:
                return False
            if not is_expired:
                return self._look_beside(deadline, is_certain=may_have_changed is True)
        if may_have_changed is True:
            self._invalidated_at = -math.inf
        self.invalidate()
        return self._keys is None

    def close(self) -> None:
        """Fail the requests that wait for the source, and later ones; never blocks."""
        self._is_closed = True
        self._source.close()
        self._wake()

    def _wait(self, until: float, cancel_token: CancelToken) -> FrozenCredentials:
        cancel_token.attach(
            self._wake
        )  # before the lock is taken: it calls `_wake` while it holds its own
        try:
            with self._changed:
                return self._wait_found(until, cancel_token)
        finally:
            cancel_token.detach()

    def _wait_found(self, until: float, cancel_token: CancelToken) -> FrozenCredentials:
        """Return the result of the look-up in flight, or of a new one. Called with the lock."""
        if not self._is_in_flight and self._clock() >= self._failed_until:
            self._failure = None
        while (keys := self._keys) is None or self._wall_clock() >= keys.expires_at:
            if self._failure is not None:
                raise self._failure()
            if self._is_closed:
                raise StoreError("the mount ends: no credentials are looked up any more")
            if not self._is_in_flight:
                self._start()
            left = until - self._clock()
            if left <= 0:
                raise DeadlineExceeded(
                    f"the source of the credentials does not answer ({self._source.kind})"
                )
            self._changed.wait(left)
            cancel_token.check()
        return keys.frozen

    def _look_beside(self, deadline: float, *, is_certain: bool) -> bool:
        """Look up others while the present ones stay; whether there are any. Called with the lock.

        Raises Retryable if there is no thread for it.
        """
        generation, last = self._generation, self._last
        if not self._is_in_flight:
            if self._clock() < self._renew_from and not is_certain:
                return False
            self._renew_from = self._clock() + INVALIDATION_INTERVAL
            self._must_be_fresh = True
            self._start()
        until = min(deadline - DEADLINE_MARGIN, self._began_at + RENEWAL_WAIT)
        while self._is_in_flight and not self._is_closed and self._last is last:
            left = until - self._clock()
            if left <= 0:
                return False
            self._changed.wait(left)
        return self._last != last or generation != self._generation

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _refresh(self) -> None:
        """Start a look-up, unless one is in flight or has just been made. Never blocks."""
        if self._clock() < self._refresh_from or not self._changed.acquire(blocking=False):
            return
        try:
            if not (self._is_in_flight or self._is_closed):
                self._refresh_from = self._clock() + REFRESH_INTERVAL
                with contextlib.suppress(Retryable):
                    self._start()
        finally:
            self._changed.release()

    def _start(self) -> None:
        """Start a look-up. Raises Retryable if there is no thread for it. Called with the lock."""
        self._failure = None
        self._is_in_flight = True
        self._began_at = self._clock()
        try:
            _thread.start_new_thread(self._look_up, (self._generation, self._must_be_fresh))
        except (RuntimeError, MemoryError):  # pids.max, RLIMIT_NPROC, or no memory for a stack
            self._is_in_flight = False
            raise Retryable(StoreError("no thread can be started to look up credentials")) from None
        self._must_be_fresh = False

    def _look_up(self, generation: int, fresh: bool) -> None:  # noqa: FBT001 - thread arguments
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # inherited by programs
        found = outcome.capture(self._source.look_up, fresh=fresh)
        keys = self._keys
        is_valid = keys is not None and self._wall_clock() < keys.expires_at
        try:
            if isinstance(found, outcome.Error) and is_valid:
                log.warning(
                    "credentials not refreshed, the present ones are used until they expire: %s",
                    _credential_error(found.error),
                )
        finally:  # a look-up that never ends would be the last one
            with self._changed:
                self._is_in_flight = False
                if generation == self._generation:
                    self._complete(found)
                self._changed.notify_all()

    def _complete(self, found: outcome.Outcome[Keys]) -> None:
        """Keep the result of a look-up. Called with the lock."""
        now = self._clock()
        self._refresh_from = now + REFRESH_INTERVAL
        match found:
            case outcome.Value(value=keys) if self._wall_clock() < keys.expires_at:
                self._keys = keys
                if keys.frozen != self._last:
                    self._last, self._replaced_at = keys.frozen, now
                return
            case outcome.Error(error=exc):
                self._failure = partial(_credential_error, _without_traceback(exc))
            case _:
                self._failure = partial(
                    AccessDenied, "the configured source of credentials gives expired ones"
                )
        self._failed_until = now + FAILURE_TTL


def _without_traceback(exc: BaseException) -> BaseException:
    """Return *exc* without the objects that its traceback and causes keep alive."""
    exc.__cause__ = exc.__context__ = None
    return exc.with_traceback(None)


def _credential_error(exc: BaseException) -> S3MountError | Retryable:
    """Return a new exception that says what *exc* of a look-up means. Never raises."""
    match exc:
        case Retryable():
            return Retryable(exc.failure.detached())
        case S3MountError():
            return AccessDenied(str(exc), code=exc.code)
    try:
        # it takes botocore's exceptions apart, and a mount with keys raises none of them
        from s3mount.s3.endpoint.credential_errors import Origin, source_error  # noqa: PLC0415
    except Exception as failure:  # noqa: BLE001 - modules of another version raise anything
        return not_importable(failure)
    return source_error(exc, Origin("unknown", "default"))


def not_importable(exc: Exception) -> Retryable:
    """Return the failure to import what a look-up needs, which passes if an update goes on."""
    return Retryable(
        StoreError(
            f"the modules that look up credentials cannot be imported ({type(exc).__name__}): "
            "if s3mount was updated or removed after this mount was made, mount again"
        )
    )

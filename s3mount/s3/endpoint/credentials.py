"""The credentials that requests are signed with, and how requests wait for them.

Knows keys, and shows them to signers only: they are in no message and in no `repr`. Where they
come from is in `credential_source`.
"""

import _thread
import contextlib
import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import outcome
from botocore import exceptions

from s3mount.errors import AccessDenied, DeadlineExceeded, S3MountError, StoreError
from s3mount.printable import printable
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import Retryable

log = logging.getLogger(__name__)

RENEWAL_REST = (
    5.0  # seconds in which a second renewal does nothing: many requests learn of one expiry
)
REFRESH_REST = 60.0  # seconds from one refresh of credentials that are still valid to the next
FAILURE_REST = (
    1.0  # seconds for which a failure is told again, so that each request does not start a program
)
RESERVE = 0.1  # seconds before a deadline in which credentials are of no use, and their absence can still be told


@dataclass(frozen=True, slots=True)
class FrozenCredentials:
    """What one request is signed with. Equal values mean equal signing keys, so they may be cached by it."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


ANONYMOUS = FrozenCredentials("", "")  # requests are not signed


class Credentials(Protocol):
    """The credentials of one mount. Thread-safe."""

    def frozen(self, deadline: float, cord: CancelToken | None = None) -> FrozenCredentials:
        """Return what to sign with now; block until *deadline* if their source must be asked first.

        *deadline* is in `time.monotonic()` seconds; *cord* may end the wait. Raises DeadlineExceeded
        if the source does not answer by then, another S3MountError or Retryable if it gives none.
        """
        ...

    def frozen_nowait(self) -> FrozenCredentials | None:
        """Return what to sign with now, or None if it must be waited for; never blocks."""
        ...

    def renew(self) -> None:
        """Have the source asked anew, because the store refused what it gave; never waits for it."""
        ...


@dataclass(frozen=True, slots=True)
class Keys:
    """The result of a look-up. Both times are in seconds since 1970."""

    frozen: FrozenCredentials
    refresh_at: float = math.inf
    expires_at: float = math.inf


class Source(Protocol):
    """The origin of credentials. One thread at a time calls `look_up`; any thread the others."""

    @property
    def kind(self) -> str:
        """The kind of source that is asked, or was asked last; for messages."""
        ...

    def look_up(self, *, anew: bool) -> Keys:
        """Ask the source, for as long as it takes; *anew* if what was found before is of no use.

        Raises whatever the source raises.
        """
        ...

    def close(self) -> None:
        """End the programs that were started in order to ask; never blocks."""
        ...


class CredentialChain:
    """Credentials that are looked up at first need, and refreshed before they expire. Thread-safe.

    What always holds:

    1. At most one look-up is under way. A daemon thread of its own makes it, so neither a request
       nor the end of the process waits for a source that hangs. No lock is held meanwhile.
    2. Each caller waits until its own deadline at most, and can be cut. The event loop calls
       `frozen_nowait`, which does not wait.
    3. Credentials are used until they expire, whatever becomes of a refresh. From *refresh_at* on,
       a look-up is made beside the requests.
    4. The result of a look-up that began before `renew` is dropped: the source may not have known
       yet that the old credentials had ended.
    5. A failure is raised in each request that waits for it, and for `FAILURE_REST` seconds in
       later ones, as a new exception each time.
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
        # It guards all below, and is held for moments only. The last good look-up; whether one is
        # under way; how often `renew` took effect; whether the next look-up is to ask anew; how the
        # last one failed, and until when that is told to requests that did not wait for it; from
        # when another refresh may be made; when `renew` last took effect; whether this is closed.
        self._changed = threading.Condition()
        self._keys = None if sign else Keys(ANONYMOUS)
        self._is_under_way = False
        self._renewals = 0
        self._is_stale = False
        self._failure: Callable[[], S3MountError | Retryable] | None = None
        self._failed_until = -math.inf
        self._refresh_from = -math.inf
        self._renewed_at = -math.inf
        self._is_closed = False

    def frozen(self, deadline: float, cord: CancelToken | None = None) -> FrozenCredentials:
        """`Credentials.frozen`; AccessDenied if there are none, Retryable if the source has a fault."""
        return self.frozen_nowait() or self._wait(deadline - RESERVE, cord or CancelToken())

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

    def renew(self) -> None:
        with self._changed:
            if self._keys is None:  # refused were older ones
                return
            if self._is_signing and self._clock() - self._renewed_at >= RENEWAL_REST:
                self._renewed_at = self._clock()
                self._renewals += 1
                self._is_stale = True
                self._keys = self._failure = None

    def close(self) -> None:
        """Fail the requests that wait for the source, and those to come; never blocks."""
        self._is_closed = True
        self._source.close()
        self._wake()

    def _wait(self, until: float, cord: CancelToken) -> FrozenCredentials:
        cord.tie(self._wake)  # before the lock is taken: it calls `_wake` with its own
        try:
            with self._changed:
                return self._wait_found(until, cord)
        finally:
            cord.untie()

    def _wait_found(self, until: float, cord: CancelToken) -> FrozenCredentials:
        """Return what the look-up under way finds, or a new one. The lock is held, but for the wait."""
        if not self._is_under_way and self._clock() >= self._failed_until:
            self._failure = None
        while (keys := self._keys) is None or self._wall_clock() >= keys.expires_at:
            if self._failure is not None:
                raise self._failure()
            if self._is_closed:
                raise StoreError("the mount ends: no credentials are looked up any more")
            if not self._is_under_way:
                self._begin()
            left = until - self._clock()
            if left <= 0:
                raise DeadlineExceeded(
                    f"the source of the credentials does not answer ({self._source.kind})"
                )
            self._changed.wait(left)
            cord.check()
        return keys.frozen

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _refresh(self) -> None:
        """Begin a look-up beside the requests, unless one is under way or has just been made; never blocks."""
        if self._clock() < self._refresh_from or not self._changed.acquire(blocking=False):
            return
        try:
            if not (self._is_under_way or self._is_closed):
                self._refresh_from = self._clock() + REFRESH_REST
                with contextlib.suppress(Retryable):
                    self._begin()
        finally:
            self._changed.release()

    def _begin(self) -> None:
        """Begin a look-up. Raises Retryable if the system has no thread for it. The lock is held."""
        self._failure = None
        self._is_under_way = True
        try:
            _thread.start_new_thread(self._look_up, (self._renewals, self._is_stale))
        except (RuntimeError, MemoryError):  # pids.max, RLIMIT_NPROC, or no memory for a stack
            self._is_under_way = False
            raise Retryable(StoreError("no thread can be started to look up credentials")) from None
        self._is_stale = False

    def _look_up(self, renewals: int, is_stale: bool) -> None:  # noqa: FBT001 - a thread's arguments have no names
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # what is started from here inherits it
        found = outcome.capture(self._source.look_up, anew=is_stale)
        keys = self._keys
        if (
            isinstance(found, outcome.Error)
            and keys is not None
            and self._wall_clock() < keys.expires_at
        ):
            fault = credentials_fault(found.error)
            log.warning(
                "credentials not refreshed, the present ones are used until they expire: %s", fault
            )
        with self._changed:
            self._is_under_way = False
            if renewals == self._renewals:
                self._land(found)
            self._changed.notify_all()

    def _land(self, found: outcome.Outcome[Keys]) -> None:
        """Keep the result of the look-up. The lock is held."""
        now = self._clock()
        self._refresh_from = now + REFRESH_REST
        match found:
            case outcome.Value(value=keys) if self._wall_clock() < keys.expires_at:
                self._keys = keys
                return
            case outcome.Error(error=exc):
                self._failure = partial(credentials_fault, _bare(exc))
            case _:
                self._failure = partial(
                    AccessDenied, "the configured source of credentials gives expired ones"
                )
        self._failed_until = now + FAILURE_REST


def _bare(exc: BaseException) -> BaseException:
    """Return *exc* without what its traceback and causes keep alive."""
    exc.__cause__ = exc.__context__ = None
    return exc.with_traceback(None)


class BotoCredentialAdapter:
    """Credentials as botocore takes them: a resolver and what it resolves to, in one, so that a renewal reaches its clients.

    *frozen* None: nothing is signed.
    """

    method = "s3mount"
    account_id = None

    def __init__(self, frozen: Callable[[], FrozenCredentials] | None) -> None:
        self._frozen = frozen

    def load_credentials(self) -> "BotoCredentialAdapter | None":
        return self if self._frozen else None

    def get_frozen_credentials(self) -> FrozenCredentials | None:
        return self._frozen() if self._frozen else None

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        return lambda: getattr(self, name, None)


_LOG_IN_AGAIN = (
    exceptions.SSOTokenLoadError,
    exceptions.UnauthorizedSSOTokenError,
    exceptions.TokenRetrievalError,
)


def credentials_fault(exc: BaseException) -> S3MountError | Retryable:
    """Return a new exception that says what a failure of the chain means.

    It never quotes the failure, whose text may hold what a program printed.
    """
    match exc:
        case FileNotFoundError() | NotADirectoryError() | PermissionError():
            pass
        case (
            exceptions.ConnectionError()
            | exceptions.HTTPClientError()
            | exceptions.MetadataRetrievalError()
            | OSError()
        ):
            return Retryable(
                StoreError(f"the source of the credentials does not answer ({type(exc).__name__})")
            )
        case exceptions.ClientError():
            code = printable(str(exc.response.get("Error", {}).get("Code", "")))
            return AccessDenied(
                f"the credentials were refused by their source ({code or 'no reason given'})",
                code=code,
            )
    return AccessDenied(_absence(exc))


def _absence(exc: BaseException) -> str:
    """Return the reason why there are no credentials."""
    if isinstance(exc, _LOG_IN_AGAIN):
        return "the login of this profile has expired: run 'aws sso login', for this profile"
    match exc:
        case AccessDenied():
            return str(exc)
        case exceptions.NoCredentialsError():
            return (
                "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile (--profile);"
                " for a public bucket use --no-sign-request"
            )
        case exceptions.PartialCredentialsError():
            return "incomplete credentials: an access key and its secret key are needed, both"
        case OSError():
            return (
                f"the configured source of credentials cannot be run, or read ({type(exc).__name__}):"
                " check credential_process, and the files that the profile names"
            )
    return f"the configured source of credentials gives none ({type(exc).__name__})"

"""As whom the store is asked: boto3's whole credential chain, and nothing else.

Knows keys, and shows them to nobody but signers: they are in no message and in no `repr`.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from botocore import exceptions
from botocore.credentials import RefreshableCredentials
from botocore.parsers import ResponseParserError

from s3mount.errors import AccessDenied, S3MountError, StoreFailed
from s3mount.printable import printable
from s3mount.s3.transport import Retryable

RENEWAL_REST = 5.0  # seconds in which a second renewal does nothing: many requests learn of one expiry


@dataclass(frozen=True, slots=True)
class FrozenCredentials:
    """What one request is signed with. Equal values mean equal signing keys, so they may be cached by it."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class Credentials(Protocol):
    """As whom requests are made. Thread-safe."""

    def frozen(self) -> FrozenCredentials | None:
        """What to sign with now; may block for a refresh. None where nothing is signed. S3MountErrors, or Retryable."""
        ...

    def is_at_hand(self) -> bool:
        """Whether `frozen` would not block now; answers at once."""
        ...

    def renew(self) -> None:
        """Look again: the source may hold new keys by now."""
        ...


class CredentialChain:
    """The chain of one profile: looked up at first need, refreshed by botocore, looked up anew on `renew`. Thread-safe."""

    def __init__(
        self, open_session: Callable[[], Any], *, sign: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_session = open_session
        self._is_signing = sign
        self._clock = clock
        self._lock = threading.Lock()
        # what the chain found (None: not asked yet, or nothing), and when it was last told to look again
        self._found: Any = None
        self._renewed_at = -RENEWAL_REST

    def frozen(self) -> FrozenCredentials | None:
        """`Credentials.frozen`.

        AccessDenied where there are none, or a person has to log in; Retryable where their source does not answer.
        """
        if not self._is_signing:
            return None
        try:
            found = self._look_up().get_frozen_credentials()
        except (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError, OSError) as exc:
            raise credentials_fault(exc) from exc
        return FrozenCredentials(found.access_key, found.secret_key, found.token)

    def is_at_hand(self) -> bool:
        if not self._is_signing:
            return True
        found = self._found
        if found is None or self._lock.locked():  # whoever has the lock may be looking up
            return False
        return not (isinstance(found, RefreshableCredentials) and found.refresh_needed())

    def renew(self) -> None:
        with self._lock:
            if self._is_signing and self._clock() - self._renewed_at >= RENEWAL_REST:
                self._found = None
                self._renewed_at = self._clock()

    def _look_up(self) -> Any:
        with self._lock:
            if self._found is None:
                self._found = self._open_session().get_credentials()
            if self._found is None:
                raise exceptions.NoCredentialsError
            return self._found


class CredentialLender:
    """Credentials as botocore takes them: a resolver and what it resolves to, in one, so that a renewal reaches its clients.

    *frozen* None: nothing is signed.
    """

    method = "s3mount"
    account_id = None

    def __init__(self, frozen: Callable[[], FrozenCredentials | None] | None) -> None:
        self._frozen = frozen

    def load_credentials(self) -> "CredentialLender | None":
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


def credentials_fault(exc: Exception) -> S3MountError | Retryable:
    """What a failure of the chain means. Never its own text, which may quote what a credential process printed."""
    match exc:
        case exceptions.NoCredentialsError():
            return AccessDenied(
                "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile (--profile);"
                " for a public bucket use --no-sign-request"
            )
        case exceptions.PartialCredentialsError():
            return AccessDenied("incomplete credentials: an access key and its secret key are needed, both")
        case (
            exceptions.ConnectionError()
            | exceptions.HTTPClientError()
            | exceptions.MetadataRetrievalError()
            | OSError()
        ):
            return Retryable(StoreFailed(f"the source of the credentials does not answer ({type(exc).__name__})"))
        case exceptions.ClientError():
            code = printable(str(exc.response.get("Error", {}).get("Code", "")))
            return AccessDenied(
                f"the credentials were refused by their source ({code or 'no reason given'})", code=code
            )
    if isinstance(exc, _LOG_IN_AGAIN):
        return AccessDenied("the login of this profile has expired: run 'aws sso login', for this profile")
    return AccessDenied(f"the configured source of credentials gives none ({type(exc).__name__})")

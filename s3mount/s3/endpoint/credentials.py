"""Credentials that requests are signed with: the value, and the interface to get it.

Shown to signers only: keys are in no message and in no `repr`.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Protocol

from s3mount.frozen_dataclass import dataclass
from s3mount.metrics import Family, Labels, Metrics
from s3mount.s3.scheduling.cancel_token import CancelToken


@dataclass(frozen=True, slots=True)
class FrozenCredentials:
    """The keys of one request. Equal values have equal signing keys, so those may be cached."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


ANONYMOUS = FrozenCredentials("", "")  # requests are not signed


@dataclass(frozen=True, slots=True)
class CredentialState:
    """Source and expiry of the present credentials: no secrets.

    *expires_at* is in seconds since 1970; None if they do not expire, or are not looked up yet.
    """

    source: str
    expires_at: float | None


def register_metrics(metrics: Metrics, state: Callable[[], CredentialState]) -> None:
    """Register when the credentials of *state* expire; nothing is told of those that do not."""

    def expiry() -> Mapping[Labels, float]:
        expires_at = state().expires_at
        return {} if expires_at is None else {(): expires_at}

    metrics.family(
        Family(
            "credentials_expiry_timestamp",
            "gauge",
            "seconds",
            "When the present credentials expire, in seconds since 1970; absent if they do not.",
            (),
            expiry,
        )
    )


class Credentials(Protocol):
    """The credentials of one mount. Thread-safe."""

    def frozen(self, deadline: float, cancel_token: CancelToken | None = None) -> FrozenCredentials:
        """Return the present credentials; block until *deadline* if they must be looked up.

        *deadline* is in `time.monotonic()` seconds; *cancel_token* may end the wait. Raises
        DeadlineExceeded if the source does not answer in time, another S3MountError or Retryable
        if it has none.
        """
        ...

    def frozen_nowait(self) -> FrozenCredentials | None:
        """Return the present credentials; None if they must be looked up. Never blocks."""
        ...

    def renew(self, since: float, deadline: float, *, is_expired: bool) -> bool:
        """Look for others, because the store refused those of a request that began at *since*.

        Returns whether another attempt may succeed. Blocks for some seconds at most, and not past
        *deadline*; both are in `time.monotonic()` seconds. *is_expired*: the store says that the
        credentials are no longer valid, so they are discarded. Raises Retryable without a thread.
        """
        ...


def lasting_access_key(credentials: Credentials) -> str:
    """Return the id of the access key that requests are signed with; "" if it is temporary."""
    frozen = credentials.frozen_nowait()
    return "" if frozen is None or frozen.token is not None else frozen.access_key


class BotoCredentialAdapter:
    """Credentials for botocore: provider, resolver and credentials in one.

    botocore's clients call it for each request, so invalidated credentials are replaced there as
    well. *frozen* None: requests are not signed.
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

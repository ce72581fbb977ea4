"""The composition root's part for the store of a mount: what is opened, and what is shown of it."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from s3mount.config import StoreConfig
from s3mount.metrics import Metrics
from s3mount.s3.bucket_check import open_store
from s3mount.s3.composition import check_views, connect, view_of
from s3mount.s3.endpoint.credentials import Credentials, CredentialState
from s3mount.s3.model import StoreIdentity
from s3mount.s3.object_store import BucketStore, PosixSource
from s3mount.s3.request_log import RequestLog

if TYPE_CHECKING:
    from s3mount.daemon.metadata_wiring import KnownMount


class ServedStore(Protocol):
    """The store of a mount, or the stores of all its buckets, but for their objects."""

    @property
    def identity(self) -> StoreIdentity | None: ...
    def register_metrics(self, metrics: Metrics) -> None: ...
    def preconnect(self) -> None: ...
    def close(self) -> None: ...


class ObservedStore(NamedTuple):
    """View of a store, the log of its requests, and what the control socket tells of it.

    *preconnect* opens connections in threads, which would compete with the start for the
    interpreter. *posix* tells the attributes that are shown with `--posix-metadata`. *outage* is
    why the mount has started without a response. *access_key* tells accounts apart.
    """

    store: BucketStore
    requests: RequestLog
    identity: StoreIdentity | None
    credentials: Callable[[], CredentialState | None]
    preconnect: Callable[[], None]
    posix: PosixSource | None = None
    outage: str | None = None
    access_key: str = ""


async def open_mounted_store(
    config: StoreConfig,
    credentials: Credentials,
    requests: RequestLog,
    known: "KnownMount | None",
) -> tuple[ServedStore, BucketStore]:
    """Return the store of *config*, and what the mount shows of it. Raises SetupError."""
    if config.is_account:
        # what few mounts need
        from s3mount.s3.account_composition import open_account  # noqa: PLC0415

        account = await open_account(config, requests, credentials)
        return account, account.view
    store = await open_store(
        config,
        credentials,
        partial(connect, config, requests),
        None if known is None else known.may_start,
    )
    try:
        await check_views(config, store)
    except BaseException:  # raised again
        store.close()
        raise
    return store, view_of(config, store)

"""Composition of the stores of an account: the one that lists its buckets, and one for each bucket.

They share permits, threads and the connections to each host, so that the limits of the mount are
one, and none of them holds the others back. Imported by mounts of many buckets only.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, CredentialsRefused, NotFound, SetupError
from s3mount.metrics import Metrics
from s3mount.s3.account_transports import AccountTransports
from s3mount.s3.bucket_check import open_store
from s3mount.s3.composition import is_native, make_operations, view_of
from s3mount.s3.endpoint.address import Address
from s3mount.s3.endpoint.configuration import Configuration, configured_endpoint
from s3mount.s3.endpoint.credentials import Credentials
from s3mount.s3.endpoint.plain_configuration import open_configuration
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint
from s3mount.s3.model import ListPage, ListQuery, StoreIdentity
from s3mount.s3.object_store import BucketStore
from s3mount.s3.operations.account_operations import AccountOperations
from s3mount.s3.operations.bucket_operations import BucketOperations, Operations
from s3mount.s3.region_redirect import leads_elsewhere, leads_to_other
from s3mount.s3.regional_store import RegionalStore
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.request_log import RequestLog
from s3mount.s3.scheduling.bucket_limiter import AccountScheduling
from s3mount.s3.scheduling.outage import OutageTracker
from s3mount.s3.silent_connections import SilentConnections
from s3mount.s3.store_metrics import register_store_metrics
from s3mount.s3.views.bucket_names import BucketNames, BucketSelection
from s3mount.s3.views.buckets_view import Buckets, BucketsView
from s3mount.s3.views.moment import show_moment

if TYPE_CHECKING:
    from s3mount.s3.endpoint.boto_address import BotocoreAddresses
    from s3mount.s3.operations.posix_recorder import PosixTable
    from s3mount.s3.transport import Transport

_ABOUT_BUCKET: Final = ("AccessDenied", "AllAccessDisabled", "NoSuchBucket")  # and not about keys

OUTAGE_LAPSES_AFTER: Final = 300.0  # seconds; an operation that waits may take the timeout to fail

log = logging.getLogger(__name__)


async def open_account(
    config: StoreConfig, requests: RequestLog, credentials: Credentials
) -> "AccountStores":
    """Return the stores of the account, once its buckets, or one of them, have been listed.

    Raises SetupError if they cannot be.
    """
    account = await open_store(config, credentials, partial(_connect, config, requests))
    if config.at_ns is not None:
        log.info("showing each bucket as it was at %s", show_moment(config.at_ns))
    return account


def _connect(
    config: StoreConfig, requests: RequestLog, endpoint: Endpoint
) -> Callable[[], "AccountStores"]:
    """Make the transport to *endpoint*, in a thread; return what makes the stores over it."""
    # the addressing style may have been found out by now
    config = replace(config, addressing_style=endpoint.style, path_style=False)
    factory = BucketFactory(config, requests, endpoint)
    return partial(AccountStores, config, factory, *factory.account_operations())


class BucketFactory:
    """Maker of the operations on the buckets of *config*'s account, which is at *endpoint*.

    Blocks as files do; thread-safe. Raises SetupError.
    """

    def __init__(self, config: StoreConfig, requests: RequestLog, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._config = config
        self._configuration = open_configuration(config)
        self._transports = AccountTransports(config, requests)
        self.close = self._transports.close
        self._posix = _posix_table(config) if config.posix_metadata else None
        self.posix_attributes = None if self._posix is None else self._posix.posix_attributes
        self._lock = threading.Lock()
        self._addresses: BotocoreAddresses | None = None  # made under the lock

    def account_operations(self) -> tuple[AccountOperations, SilentConnections]:
        """Return the operations on the account, and what `bucket_operations` returns."""
        operations = AccountOperations(self._transports.make(self._config, self.endpoint))
        return operations, self._transports.silent_connections(self._config, self.endpoint)

    def bucket_operations(
        self, config: StoreConfig, region: str
    ) -> tuple[BucketOperations, SilentConnections]:
        """Return the operations on the bucket of *config* in *region*. Raises SetupError.

        And the silent connections to its host.
        """
        endpoint = resolve_endpoint(
            config,
            self._configuration,
            region=region,
            credentials=self.endpoint.credentials,
            by_botocore=self._address_by_botocore,
        )
        self._check_host(endpoint)
        transport = self._transports.make(config, endpoint)
        if self._posix is not None:
            transport = _recorded(transport, config.bucket, self._posix)
        operations = make_operations(config, endpoint, transport)
        return operations, self._transports.silent_connections(config, endpoint)

    def _check_host(self, endpoint: Endpoint) -> None:
        """Raise SetupError if the bucket of *endpoint* is not at the host that the user named.

        The store lists the names, and some are of AWS's own hosts whatever the endpoint
        (`--op-s3`): what is signed, tokens and customer keys are not sent there.
        """
        account = self.endpoint
        if configured_endpoint(self._config, self._configuration) is None:
            return
        is_below = f".{endpoint.host}".endswith(f".{account.host}")
        if not is_below or (endpoint.scheme, endpoint.port) != (account.scheme, account.port):
            raise SetupError(
                f"bucket {endpoint.bucket!r} has a name that leads away from {account.origin}, "
                f"to {endpoint.origin}: mount it by itself, as s3://{endpoint.bucket}",
                bucket=endpoint.bucket,
            )

    def _address_by_botocore(
        self, config: StoreConfig, configuration: Configuration, region: str
    ) -> Address:
        # half of a start's time, for what few mounts need
        from s3mount.s3.endpoint.boto_address import BotocoreAddresses  # noqa: PLC0415

        with self._lock:
            self._addresses = self._addresses or BotocoreAddresses()
        return self._addresses.address(config, configuration, region)


class AccountStores:
    """The stores of an account, and *view*, which shows them as one; for one trio run.

    Owns all that they share, and every store that it has made.
    """

    def __init__(
        self,
        config: StoreConfig,
        factory: BucketFactory,
        operations: AccountOperations,
        silent_connections: SilentConnections,
    ) -> None:
        endpoint = factory.endpoint
        self._config = config
        self._factory = factory
        self._operations = operations
        self._scheduling = AccountScheduling(config.max_connections)
        name = "native" if is_native(config, endpoint) else "boto3"
        self.identity = StoreIdentity(endpoint.service_url, endpoint.region, name)
        self._account = self._store(operations, silent_connections, "")
        # every store that was made, that of the account first
        self._stores: list[RemoteStore] = [self._account]
        self._selection = BucketSelection.of(config.buckets)
        names = BucketNames(self._account, self._selection)
        self._buckets = Buckets(names, self._open_bucket, self._scheduling.has_capacity)
        self.view: BucketStore = BucketsView(self._buckets)

    async def list_once(self, query: ListQuery) -> ListPage:
        """List the buckets by one attempt; or, if all are named, the first of them.

        That one may be denied, or missing: the store has responded, and the others are served.
        """
        if self._selection.needs_listing:
            return await self._account.list_once(query)
        name = self._selection.names[0]
        try:
            return await self._buckets.store(name).list_page(query)
        except (AccessDenied, NotFound) as exc:
            if isinstance(exc, CredentialsRefused) and exc.code not in _ABOUT_BUCKET:
                raise
            log.warning("bucket %r, which --buckets names, cannot be listed: %s", name, exc)
            return ListPage([], [], None)

    def register_metrics(self, metrics: Metrics) -> None:
        """Register what all stores have counted together."""
        register_store_metrics(metrics, self._counting)

    def preconnect(self) -> None:
        """Do nothing: the buckets may be at other hosts than the list of them."""

    def close(self) -> None:
        """End the connections. Threads that still make an attempt fail, and end."""
        self._scheduling.close()
        for store in self._stores:
            store.close()
        self._factory.close()

    def _counting(self) -> Sequence[RemoteStore]:
        return self._stores

    def _open_bucket(self, bucket: str) -> BucketStore:
        config = replace(self._config, bucket=bucket, buckets=())
        region = self._config.region or self._operations.regions.get(bucket)
        store = RegionalStore(
            bucket,
            region or self.identity.region,
            partial(self._connect_bucket, config),
            is_fixed=self._config.region is not None,
        )
        return view_of(config, store, unchecked=store)

    async def _connect_bucket(self, config: StoreConfig, region: str) -> RemoteStore:
        make = partial(self._factory.bucket_operations, config, region)
        operations, silent = await trio.to_thread.run_sync(make, abandon_on_cancel=True)
        store = self._store(operations, silent, config.bucket, partial(leads_to_other, region))
        self._stores.append(store)
        return store

    def _store(
        self,
        operations: Operations,
        silent_connections: SilentConnections,
        bucket: str,
        has_moved: Callable[[BaseException], bool] = leads_elsewhere,
    ) -> RemoteStore:
        return RemoteStore(
            operations,
            max_connections=self._config.max_connections,
            timeout=self._config.timeout,
            bucket=bucket,
            identity=self.identity,
            scheduling=self._scheduling.for_store(silent_connections),
            has_moved=has_moved,
            posix_attributes=self._factory.posix_attributes,
            # no request may come again to a bucket, or to a region that it has left, and end this
            outage=OutageTracker(
                is_elsewhere=leads_elsewhere,
                lapses_after=max(OUTAGE_LAPSES_AFTER, 2 * self._config.timeout),
            ),
        )


def _posix_table(config: StoreConfig) -> "PosixTable":
    from s3mount.s3.operations.posix_recorder import PosixTable  # noqa: PLC0415 - of few mounts

    return PosixTable(has_links=bool(config.symlinks))


def _recorded(transport: "Transport", bucket: str, table: "PosixTable") -> "Transport":
    from s3mount.s3.operations.posix_recorder import PosixRecorder  # noqa: PLC0415 - of few mounts

    return PosixRecorder(transport, bucket, table)

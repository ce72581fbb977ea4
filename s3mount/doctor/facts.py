"""Facts of a store that several checks need: endpoint, addresses, connection, responses, listing.

Each is found by the code that a mount uses, at most once, by the first check that needs it. What
blocks has a deadline below the limit of a check.
"""

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import trio

from s3mount.config import StoreConfig
from s3mount.doctor.check import Fact, NotTriedError
from s3mount.errors import SetupError, StoreError
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.archive import ARCHIVE_CLASSES
from s3mount.s3.bucket_check import configured_address, open_store
from s3mount.s3.composition import make_operations, make_store, make_transport
from s3mount.s3.endpoint.credential_chain import CredentialChain
from s3mount.s3.endpoint.messages import setup_error
from s3mount.s3.endpoint.plain_source import credential_chain
from s3mount.s3.endpoint.proxy import ProxyChoice, choose_proxy
from s3mount.s3.endpoint.resolve import Endpoint, supports_native
from s3mount.s3.model import ListedObject, ListPage, ListQuery, ObjectVersion
from s3mount.s3.native.connector import Connector
from s3mount.s3.native.tls_stream import TlsStream
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.request_log import RequestLog
from s3mount.s3.tcp_connect import Address, TcpConnector, resolve_name
from s3mount.s3.transport import InvalidResponseError, Retryable, StoreRequest, Transport

NAME_LIMIT: Final = 10.0  # seconds; resolv.conf(5) asks the second name server after 5
ADDRESS_LIMIT: Final = 5.0  # seconds for a TCP connection to each address, side by side
REQUEST_LIMIT: Final = 20.0  # seconds of --timeout at most; half of it may be silence
START_LIMIT: Final = 5.0  # seconds of --start-timeout at most
ADDRESSES_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Peer:
    """The server that connections are opened to: the store, or the proxy in front of it."""

    host: str
    port: int
    is_proxy: bool


@dataclass(frozen=True, slots=True)
class FirstResponse:
    """Response to an unsigned request; both times are in seconds, *received_at* since 1970."""

    status: int
    headers: Mapping[str, str]
    duration: float
    received_at: float


@dataclass(frozen=True, slots=True)
class OpenedBucket:
    """A bucket that was listed as a mount lists it before it serves."""

    endpoint: Endpoint
    transport: Transport
    operations: BucketOperations
    page: ListPage


class StoreFacts:
    """Facts of the store of a configuration. Close it at the end."""

    def __init__(self, store: StoreConfig) -> None:
        self.store = replace(
            store,
            timeout=min(store.timeout, REQUEST_LIMIT),
            start_timeout=min(store.start_timeout, START_LIMIT),
        )
        self.chain: CredentialChain = credential_chain(self.store)
        self.endpoint = Fact("endpoint", lambda: configured_address(self.store, self.chain))
        self.addresses = Fact("names", self._find_addresses)
        self.connection = Fact("tls", self._connect)
        self.response = Fact("response", self._receive_first)
        self.credentials = Fact("credentials", self._look_up)
        self.bucket = Fact("list", self._open_bucket)
        self.sample = Fact("list", self._find_sample)
        self._closing: list[Callable[[], None]] = [self.chain.close]

    def close(self) -> None:
        for close in reversed(self._closing):
            close()

    def found_endpoint(self) -> Endpoint | None:
        """Return the endpoint that the bucket was listed at; None if it was not."""
        try:
            return self.bucket.need().endpoint
        except NotTriedError:
            return None

    @property
    def deadline(self) -> float:
        """The deadline of a request that is sent now."""
        return time.monotonic() + self.store.timeout

    def proxy(self) -> ProxyChoice:
        """Return the proxy, which `endpoint` has found usable."""
        return choose_proxy(self.endpoint.need().origin)

    def peer(self) -> Peer:
        endpoint = self.endpoint.need()
        proxy = self.proxy_address()
        return Peer(*proxy, is_proxy=True) if proxy else Peer(endpoint.host, endpoint.port, False)

    def proxy_address(self) -> tuple[str, int] | None:
        """Return host and port of the proxy, which hide its password; None if there is none."""
        proxy = self.endpoint.need().proxy
        if proxy is None:
            return None
        parts = urlsplit(proxy)
        return parts.hostname or "", parts.port or 80

    def handshake(self, context: ssl.SSLContext | None = None) -> ssl.SSLObject | None:
        """Connect, and return the TLS session, by default a verified one; None for http.

        Raises OSErrors.
        """
        endpoint = self.endpoint.need()
        connector = Connector(endpoint, connections=1, context=context)
        stream = connector.connect(self.deadline, lambda _: None)
        stream.close()
        return stream.session if isinstance(stream, TlsStream) else None

    def explained(self, exc: Exception) -> SetupError:
        """Return what the bucket check would say of the network error *exc*."""
        failure = Retryable(StoreError("no connection"))
        failure.__cause__ = exc
        return setup_error(self.store, self.endpoint.need(), failure)

    def _find_addresses(self) -> Mapping[str, str | None]:
        """Return each address of the peer, with why it does not answer. OSErrors if none does."""
        peer = self.peer()
        found = resolve_name(peer.host, peer.port, NAME_LIMIT, lambda _: None)[:ADDRESSES_MAX]
        failures: dict[str, str | None] = {each[4][0]: "no answer" for each in found}
        errors: list[OSError] = []
        threads = [
            threading.Thread(target=_try_address, args=(each, failures, errors), daemon=True)
            for each in found
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ADDRESS_LIMIT + 1)
        if None not in failures.values():
            raise errors[0] if errors else TimeoutError("no address answered in time")
        return failures

    def _connect(self) -> ssl.SSLObject | None:
        endpoint = self.endpoint.need()
        self.addresses.need()
        if endpoint.proxy is not None and not supports_native(endpoint):
            return None  # an HTTPS proxy, to which only boto3 can connect
        return self.handshake()

    def _receive_first(self) -> FirstResponse:
        """Return the response to an unsigned HEAD of the bucket; any status will do."""
        endpoint = self.endpoint.need()
        self.connection.need()
        store = replace(self.store, sign_requests=False, profile=None, sse_c_key_files=())
        chain = credential_chain(store)
        unsigned = replace(endpoint, credentials=chain, signature="none")
        transport = make_transport(store, unsigned, RequestLog())
        began = time.monotonic()
        try:
            with transport.send(
                StoreRequest("HeadBucket", None, method="HEAD"), deadline=self.deadline
            ) as response:
                ended = time.monotonic()
                return FirstResponse(
                    response.status, dict(response.headers), ended - began, time.time()
                )
        except (OSError, InvalidResponseError) as exc:
            raise self.explained(exc) from exc
        finally:
            transport.close()
            chain.close()

    def _look_up(self) -> None:
        self.chain.frozen(self.deadline)

    def _open_bucket(self) -> OpenedBucket:
        """Open the store as a mount does: in its region, in the style that it wants."""
        self.response.need()
        self.credentials.need()
        opened = trio.run(open_store, self.store, self.chain, partial(_opening, self.store))
        self._closing.append(opened.close)
        assert opened.page is not None
        return OpenedBucket(opened.endpoint, opened.transport, opened.operations, opened.page)

    def _find_sample(self) -> ListedObject:
        """Return the largest object that a listing shows. Raises NotTriedError if there is none."""
        bucket = self.bucket.need()
        found = _largest(bucket.page)
        if found is None:
            query = ListQuery(self.store.prefix, delimiter="")
            found = _largest(bucket.operations.list_page(query, deadline=self.deadline))
        if found is None:
            raise NotTriedError("there is no object to read")
        return found


def version_of(bucket: str, listed: ListedObject) -> ObjectVersion:
    return ObjectVersion(bucket, listed.key, listed.etag, listed.size)


class _Opening:
    """A store that is being opened: what it consists of, and the page that was listed."""

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        operations: BucketOperations,
        remote: RemoteStore,
    ) -> None:
        self.endpoint = endpoint
        self.transport = transport
        self.operations = operations
        self._remote = remote
        self.page: ListPage | None = None
        self.close = remote.close

    async def list_once(self, query: ListQuery) -> ListPage:
        self.page = page = await self._remote.list_once(query)
        return page


def _opening(config: StoreConfig, endpoint: Endpoint) -> Callable[[], _Opening]:
    transport = make_transport(config, endpoint, RequestLog())
    operations = make_operations(config, endpoint, transport)
    return lambda: _Opening(
        endpoint, transport, operations, make_store(config, endpoint, operations)
    )


def _try_address(address: Address, failures: dict[str, str | None], errors: list[OSError]) -> None:
    """Connect to *address*, which may be that of a thread that is left behind."""
    host, port = address[4][:2]
    try:
        TcpConnector().connect(host, port, time.monotonic() + ADDRESS_LIMIT, lambda _: None).close()
    except OSError as exc:
        errors.append(exc)
        failures[host] = "no answer" if isinstance(exc, TimeoutError) else exc.strerror
    else:
        failures[host] = None


def _largest(page: ListPage) -> ListedObject | None:
    objects = [
        each for each in page.objects if each.storage_class not in ARCHIVE_CLASSES and each.size
    ]
    return max(objects, key=lambda each: each.size, default=None)

"""Transports to the buckets of an account, which share connections, clients and TLS contexts.

Those over our own connections share the pool of their host. Those over boto3 share a client for
each region, and urllib3's pools. The request log is told the bucket of each request. Thread-safe:
each is made in a thread, where boto3 may read files.
"""

import threading
from typing import TYPE_CHECKING

from s3mount.config import StoreConfig
from s3mount.s3.composition import is_native, read_keys, with_options
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.native.idle_limit import IdleLimit
from s3mount.s3.native.shared_pools import SharedPools
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.request_log import RequestLog
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.silent_connections import SilentConnections
from s3mount.s3.transport import Exchange, SentExchange, StoreRequest, Transport

if TYPE_CHECKING:
    from s3mount.s3.boto.transport import BotoTransport


class AccountTransports:
    """Maker of the transports of *config*'s account, which tell *requests* of each request.

    Reads the files of customer keys, once: a bucket may be opened long after they are gone. Raises
    SetupError.
    """

    def __init__(self, config: StoreConfig, requests: RequestLog) -> None:
        self._requests = requests
        self._pools = SharedPools(connections=config.max_connections)
        self._idle_redirects = IdleLimit(config.max_connections)  # connections to other hosts
        self._keys = read_keys(config) if config.sse_c_key_files else ()
        self._lock = threading.Lock()
        # under the lock: the transports that others have clients of, by proxy and by region
        self._clients: dict[str | None, dict[str, BotoTransport]] = {}

    def make(self, config: StoreConfig, endpoint: Endpoint) -> Transport:
        """Return the transport to *endpoint*, of the bucket of *config* or of the account.

        Raises SetupError. `close` of this object ends the connections that transports share, and
        that of a transport only those to the hosts that it was redirected to.
        """
        transport: Transport
        if is_native(config, endpoint):
            transport = NativeTransport(
                endpoint,
                self._requests,
                connections=config.max_connections,
                pool=self._pools.pool(endpoint),
            )
        else:
            with self._lock:
                transport = self._client(config, endpoint).for_bucket(config, endpoint)
        transport = with_options(
            config,
            endpoint,
            self._requests,
            transport,
            keys=lambda _: self._keys,
            idle_limit=self._idle_redirects,
        )
        return NamingTransport(transport, config.bucket)

    def silent_connections(self, config: StoreConfig, endpoint: Endpoint) -> SilentConnections:
        """Return those of the transport that `make` returns, which are of its host."""
        if not is_native(config, endpoint):
            return SilentConnections()  # boto3 tells of none
        return self._pools.pool(endpoint).silent_connections

    def close(self) -> None:
        """End the connections of all transports."""
        self._pools.close()
        with self._lock:
            clients = [each for regions in self._clients.values() for each in regions.values()]
        for client in clients:
            client.close()

    def _client(self, config: StoreConfig, endpoint: Endpoint) -> "BotoTransport":
        # half of a start's time, for what few mounts need
        from s3mount.s3.boto.transport import BotoTransport  # noqa: PLC0415

        regions = self._clients.setdefault(endpoint.proxy, {})
        if endpoint.region not in regions:
            connected = next(iter(regions.values()), None)
            regions[endpoint.region] = BotoTransport(
                config, endpoint, log=self._requests, connected=connected
            )
        return regions[endpoint.region]


class NamingTransport:
    """`Transport` over *transport*, to which each request names *bucket*, for the request log."""

    def __init__(self, transport: Transport, bucket: str) -> None:
        self._transport = transport
        self._bucket = bucket
        self.preconnect = transport.preconnect
        self.renew_credentials = transport.renew_credentials
        self.adjust_clock = transport.adjust_clock
        self.close = transport.close

    def send(
        self, request: StoreRequest, *, deadline: float, cancel_token: CancelToken | None = None
    ) -> Exchange:
        request = request._replace(bucket=self._bucket)
        return self._transport.send(request, deadline=deadline, cancel_token=cancel_token)

    def send_nowait(
        self, request: StoreRequest, length: int, *, deadline: float, cancel_token: CancelToken
    ) -> SentExchange | None:
        request = request._replace(bucket=self._bucket)
        return self._transport.send_nowait(
            request, length, deadline=deadline, cancel_token=cancel_token
        )

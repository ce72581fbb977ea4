"""Connection pools of a mount of many buckets: one for each host, all within one limit.

Buckets at one host share its connections, their TLS context and the budget of large buffers. Before
a connection is opened, idle ones of other hosts are closed if all pools together have too many, of
the hosts first whose newest connection is the oldest. Thread-safe.
"""

import ssl
import threading
import time
from collections.abc import Callable
from functools import partial

from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.endpoint.tls import tls_context
from s3mount.s3.native.connection_pool import BUFFERS_TOTAL, ConnectionPool
from s3mount.s3.native.connector import Connector
from s3mount.s3.native.receive_buffer import BufferBudget
from s3mount.s3.native.socket_stream import Stream
from s3mount.s3.tcp_connect import OnWait

_Host = tuple[str, str, int, str | None]  # scheme, name, port, proxy


class SharedPools:
    """Pools of up to *connections* requests at once, and of as many idle connections."""

    def __init__(self, *, connections: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._connections = connections
        self._clock = clock
        self._budget = BufferBudget(BUFFERS_TOTAL)
        self._lock = threading.Lock()
        # under the lock: the pools, the one with the newest connection last; the TLS context of all
        # of them; whether they are closed
        self._pools: dict[_Host, ConnectionPool] = {}
        self._context: ssl.SSLContext | None = None
        self._is_closed = False

    def pool(self, store: Endpoint) -> ConnectionPool:
        """Return the pool of the host of *store*, new if need be. Raises SetupError."""
        host = (store.scheme, store.host, store.port, store.proxy)
        with self._lock:
            pool = self._pools.get(host)
            if pool is None:
                connect = partial(self._connect, host, self._connector(store))
                pool = self._pools[host] = ConnectionPool(
                    connect,
                    idle_timeout=store.idle_timeout,
                    clock=self._clock,
                    budget=self._budget,
                )
                if self._is_closed:
                    pool.close()
            return pool

    def close(self) -> None:
        """Close all pools, those that are asked for later too."""
        with self._lock:
            self._is_closed = True
            pools = list(self._pools.values())
        for pool in pools:
            pool.close()

    def _connector(self, store: Endpoint) -> Connector:
        if store.scheme == "https" and self._context is None:
            self._context = tls_context(ca_bundle=store.ca_bundle, verify_ssl=store.verify_ssl)
        return Connector(
            store, connections=self._connections, clock=self._clock, context=self._context
        )

    def _connect(
        self, host: _Host, connector: Connector, deadline: float, on_wait: OnWait
    ) -> Stream:
        self._limit_idle(host)
        return connector.connect(deadline, on_wait)

    def _limit_idle(self, host: _Host) -> None:
        """Close idle connections of other hosts than *host*, as many as one more is too many."""
        with self._lock:
            self._pools[host] = self._pools.pop(host)
            pools = list(self._pools.values())
        excess = 1 + sum(pool.idle_count for pool in pools) - self._connections
        for pool in pools[:-1]:
            if excess > 0:
                excess -= pool.drop_idle(excess)

"""Limit of the idle connections of several pools together."""

import threading

from s3mount.s3.native.connection_pool import ConnectionPool


class IdleLimit:
    """Limit of *most* idle connections of several pools together. Thread-safe.

    Pools that were used the longest ago lose theirs first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._pools: dict[ConnectionPool, None] = {}  # under the lock; the last used is the last

    def record_use(self, pool: ConnectionPool) -> None:
        """Close what is too much, now that *pool* has been used."""
        with self._lock:
            self._pools.pop(pool, None)
            self._pools[pool] = None
            pools = list(self._pools)
        excess = sum(each.idle_count for each in pools) - self._most
        for each in pools:
            if excess > 0:
                excess -= each.drop_idle(excess)

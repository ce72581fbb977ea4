"""Permits and threads that the stores of an account share, each with a limiter of its own.

No bucket holds the others back. A request that waits for its host has a thread of its own, of as
many as there are permits; what a bucket may hold of those is decided by its limiter.
"""

from s3mount.s3.scheduling.bucket_limiter import BucketLimiter, SharedPermits
from s3mount.s3.scheduling.executor import Executor
from s3mount.s3.scheduling.store_scheduling import StoreScheduling
from s3mount.s3.scheduling.thread_pool import ThreadPool


class AccountScheduling:
    """Permits and threads of up to *max_connections* requests at once; for one trio run."""

    def __init__(self, max_connections: int) -> None:
        self._permits = SharedPermits(max_connections)
        self._thread_pool = ThreadPool()
        self._executor = Executor(self._thread_pool)
        self.has_capacity = self._permits.has_capacity

    def for_store(self) -> StoreScheduling:
        """Return that of one more store, which is closed with this object."""
        return StoreScheduling(BucketLimiter(self._permits), self._thread_pool, self._executor)

    def close(self) -> None:
        """Let the threads end, those that make an attempt after it."""
        self._thread_pool.close()

"""Permits and threads that the requests of several stores share, as those of one store do."""

from s3mount.s3.scheduling.executor import Executor
from s3mount.s3.scheduling.limiter import Limiter
from s3mount.s3.scheduling.thread_pool import ThreadPool


class SharedScheduling:
    """Permits and threads of up to *max_connections* requests at once; for one trio run."""

    def __init__(self, max_connections: int) -> None:
        self.limiter = Limiter(max_connections)
        self.thread_pool = ThreadPool()
        self.executor = Executor(self.thread_pool)

    def close(self) -> None:
        """Let the threads end, those that make an attempt after it."""
        self.thread_pool.close()

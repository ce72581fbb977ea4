"""Permits and threads that the requests of several stores share, as those of one store do."""

from s3mount.errors import StoreError
from s3mount.s3.scheduling.executor import Executor
from s3mount.s3.scheduling.limiter import Limiter
from s3mount.s3.transport import Retryable
from s3mount.thread_pool import ThreadPool


class SharedScheduling:
    """Permits and threads of up to *max_connections* requests at once; for one trio run."""

    def __init__(self, max_connections: int) -> None:
        self.limiter = Limiter(max_connections)
        self.thread_pool = ThreadPool(not_sent)
        self.executor = Executor(self.thread_pool)

    def close(self) -> None:
        """Let the threads end, those that make an attempt after it."""
        self.thread_pool.close()


def not_sent(message: str) -> Retryable:
    """Return the failure of a request for which no thread can be started."""
    return Retryable(StoreError(message), is_unsent=True)

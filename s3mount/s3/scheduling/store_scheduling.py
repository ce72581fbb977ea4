"""Permits and threads of the requests to a store; those of several buckets share threads."""

from s3mount.errors import StoreError
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.scheduling.executor import Executor
from s3mount.s3.scheduling.limiter import Limiter
from s3mount.s3.silent_connections import SilentConnections
from s3mount.s3.transport import Retryable
from s3mount.thread_pool import ThreadPool


@dataclass(frozen=True, slots=True)
class StoreScheduling:
    """Scheduling of the requests to one store; for one trio run."""

    limiter: Limiter
    thread_pool: ThreadPool
    executor: Executor

    @classmethod
    def of_one_store(
        cls, max_connections: int, silent_connections: SilentConnections | None = None
    ) -> "StoreScheduling":
        """Return that of a store which shares nothing, for *max_connections* requests at once.

        *silent_connections* are those of its transport.
        """
        thread_pool = ThreadPool(not_sent)
        limiter = Limiter(max_connections, silent_connections)
        return cls(limiter, thread_pool, Executor(thread_pool))

    def close(self) -> None:
        """Let the threads end, those that make an attempt after it."""
        self.thread_pool.close()


def not_sent(message: str) -> Retryable:
    """Return the failure of a request for which no thread can be started."""
    return Retryable(StoreError(message), is_unsent=True)

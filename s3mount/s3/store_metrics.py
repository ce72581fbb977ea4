"""Metrics of the stores of a mount: what they have counted together.

One mount has one set of numbers, however many buckets it shows.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from s3mount.metrics import Metrics
from s3mount.s3.scheduling.limiter import Limiter


class StoreCounts(NamedTuple):
    """Counts of one store; *outage* is in seconds."""

    retries: int
    errors: int
    hedges: int
    hedges_won: int
    odd_rows: int
    outage: float


class Counting(Protocol):
    """Store that counts its requests."""

    @property
    def counts(self) -> StoreCounts: ...


def register_store_metrics(
    metrics: Metrics, limiter: Limiter, stores: Callable[[], Iterable[Counting]]
) -> None:
    """Register what *stores* have counted together, and what *limiter* allows them."""

    def total(name: str) -> Callable[[], float]:
        return lambda: sum(getattr(store.counts, name) for store in stores())

    counter, gauge, aimd = metrics.counter, metrics.gauge, limiter.aimd
    counter("odd_rows", "rows", "Rows of listings skipped, or read generously.", total("odd_rows"))
    gauge(
        "store_outage_seconds",
        "seconds",
        "Time since the store failed an operation, if none has succeeded since; else 0.",
        lambda: max(store.counts.outage for store in stores()),
    )
    counter("retries", "requests", "Attempts after the first.", total("retries"))
    counter("throttles", "responses", "Responses that throttle.", lambda: limiter.throttles)
    counter("request_errors", "requests", "Requests that failed.", total("errors"))
    counter("hedged_reads", "requests", "Hedged GETs sent.", total("hedges"))
    counter("hedged_reads_won", "requests", "Hedged GETs that won.", total("hedges_won"))
    gauge("request_limit", "requests", "Requests allowed at once.", lambda: aimd.allowed)

"""Metrics of the stores of a mount: what they have counted together.

One mount has one set of numbers, however many buckets it shows.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from s3mount.metrics import Metrics


class StoreCounts(NamedTuple):
    """Counts of one store; *outage* is in seconds."""

    retries: int
    errors: int
    hedges: int
    hedges_won: int
    odd_rows: int
    outage: float
    throttles: int
    request_limit: int


class Counting(Protocol):
    """Store that counts its requests."""

    @property
    def counts(self) -> StoreCounts: ...


def register_store_metrics(metrics: Metrics, stores: Callable[[], Iterable[Counting]]) -> None:
    """Register what *stores* have counted together, and what they are allowed."""

    def total(name: str) -> Callable[[], float]:
        return lambda: sum(getattr(store.counts, name) for store in stores())

    counter, gauge = metrics.counter, metrics.gauge
    counter("odd_rows", "rows", "Rows of listings skipped, or read generously.", total("odd_rows"))
    gauge(
        "store_outage_seconds",
        "seconds",
        "Time since the store failed an operation, if none has succeeded since; else 0. "
        "Of several buckets, the longest of those that failed in the last five minutes.",
        lambda: max(store.counts.outage for store in stores()),
    )
    counter("retries", "requests", "Attempts after the first.", total("retries"))
    counter("throttles", "responses", "Responses that throttle.", total("throttles"))
    counter("request_errors", "requests", "Requests that failed.", total("errors"))
    counter("hedged_reads", "requests", "Hedged GETs sent.", total("hedges"))
    counter("hedged_reads_won", "requests", "Hedged GETs that won.", total("hedges_won"))
    gauge(
        "request_limit",
        "requests",
        "Requests allowed at once; of several buckets, to the one that is allowed the fewest.",
        lambda: min(store.counts.request_limit for store in stores()),
    )

"""Metrics of the disk tier."""

from collections.abc import Callable

from s3mount.cache.disk_tier.health import DiskHealth
from s3mount.cache.disk_tier.protocol import Disk
from s3mount.cache.disk_tier.tier import DiskReadCounts, DiskTier
from s3mount.cache.disk_tier.writer import DiskWriter
from s3mount.disk.usage import DiskUsage
from s3mount.metrics import Metrics


def register_disk_metrics(
    metrics: Metrics, disk: Disk, tier: DiskTier, writing: DiskHealth
) -> None:
    """Register what is counted of *tier*; *writing* is the health of its writer."""
    _register_reads(metrics, tier.counts)
    _register_writes(metrics, tier.writer)
    counter, reading = metrics.counter, tier.health
    counter(
        "disk_bad_extents",
        "extents",
        "Damaged parts of the disk cache, fetched again.",
        lambda: disk.counts.bad_extents,
    )
    counter(
        "disk_failures",
        "failures",
        "Failures of the disk of the cache.",
        lambda: reading.failures + writing.failures,
    )
    _register_health(metrics, "disk_bypassed", "read from", reading)
    _register_health(metrics, "disk_unwritten", "written to", writing)
    metrics.gauge("disk_bytes_limit", "bytes", "Its limit: --cache-size.", lambda: disk.limits.size)
    _register_usage(metrics, lambda: tier.writer.usage)


def _register_reads(metrics: Metrics, counts: DiskReadCounts) -> None:
    counter = metrics.counter
    counter(
        "disk_hits",
        "reads",
        "Fetches and small reads that the disk cache served whole.",
        lambda: counts.hits,
    )
    counter("disk_misses", "reads", "Fetches of which the store sent some.", lambda: counts.misses)
    counter("disk_bytes_read", "bytes", "Bytes from the disk cache.", lambda: counts.octets)


def _register_writes(metrics: Metrics, writer: DiskWriter) -> None:
    counter = metrics.counter
    counter(
        "disk_bytes_written", "bytes", "Bytes kept in the disk cache.", lambda: writer.bytes_written
    )
    counter(
        "disk_bytes_skipped",
        "bytes",
        "Bytes that the disk cache had no time for, or could not write.",
        lambda: writer.bytes_skipped,
    )


def _register_health(metrics: Metrics, name: str, used: str, health: DiskHealth) -> None:
    metrics.gauge(
        name,
        "state",
        f"1 while nothing is {used} the disk cache, after a failure.",
        lambda: 0 if health.is_usable else 1,
    )


def _register_usage(metrics: Metrics, usage: Callable[[], DiskUsage | None]) -> None:
    """Register the state of the directory, as of the start or the latest write of this mount."""

    def read(field: Callable[[DiskUsage], int]) -> Callable[[], int]:
        def value() -> int:
            latest = usage()
            return 0 if latest is None else field(latest)

        return value

    metrics.gauge(
        "disk_bytes_used",
        "bytes",
        "Size of the disk cache, when this mount began or last wrote to it.",
        read(lambda use: use.used),
    )
    metrics.gauge(
        "disk_segments", "segments", "Parts of objects in it.", read(lambda use: use.segments)
    )
    metrics.counter(
        "disk_evictions",
        "segments",
        "Parts of objects that were evicted from it, by all mounts.",
        read(lambda use: use.evictions),
    )

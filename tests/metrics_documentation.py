"""Generator of docs/metrics.md: `python -m tests.metrics_documentation >docs/metrics.md`.

Registers what a mount registers; a test compares the file, and another one a real mount with it.
"""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import trio

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.block_source import StoreSource
from s3mount.cache.buffer_pool import BufferPool
from s3mount.cache.disk_tier.health import disk_health
from s3mount.cache.disk_tier.source import DiskSource
from s3mount.config import BlockConfig, Config, MountConfig, StoreConfig, TreeConfig
from s3mount.daemon.lifecycle import register_process
from s3mount.daemon.log_rate_limit import LogLimit
from s3mount.daemon.logging_setup import register_limit
from s3mount.exposition.identity import register_identity
from s3mount.metrics import Family, HistogramFamily, Metric, Metrics
from s3mount.s3.endpoint.credentials import register_metrics as register_credentials
from s3mount.s3.model import Reason
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.request_log import RequestLog
from s3mount.s3.request_records import Outcome, RequestKind
from tests.fakes.memory_disk import MemoryDisk
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_threads import ScriptedThreads
from tests.property.filesystem_factory import make_filesystem

_HEAD = """\
# Metrics

Written by `python -m tests.metrics_documentation` from what a mount registers.

    s3mount BUCKET MOUNTPOINT --metrics 9100                   # http://127.0.0.1:9100/metrics
    s3mount BUCKET MOUNTPOINT --metrics 192.0.2.1:9100         # at this address, for other machines
    s3mount BUCKET MOUNTPOINT --metrics '[2001:db8::1]:9100'
    s3mount BUCKET MOUNTPOINT --metrics unix:/run/user/1000/s3mount.metrics

A port without an address is one of the loopback interface. With port 0, any free one is taken, and
the log names it. Whoever reaches the address reads the metrics: there is no password, and no TLS.
They name the bucket and the mount point, but no key, and no credentials. Each mount has an address
of its own.

The socket of `unix:PATH` is its user's alone (0600). One that a process left behind is replaced.
The user who serves makes it, so with `--run-as` and in units of systemd its directory belongs to
that user:

    # /etc/systemd/system/s3mount@photos.service.d/metrics.conf
    [Service]
    RuntimeDirectory=s3mount-metrics
    # and in /etc/s3mount/photos.toml: metrics = "unix:/run/s3mount-metrics/photos"

At a port, the Host of a request has to be an address that is listened at, a loopback address,
localhost, or this machine's own name as `uname -n` prints it; else the answer is 421. So no page in
a browser reads the metrics by a name of its own (DNS rebinding). Prometheus and proxies name the
target by its address.

Try it with `curl http://127.0.0.1:9100/metrics`, or with
`curl --unix-socket /run/s3mount-metrics/photos http://localhost/metrics`. In Prometheus:

    scrape_configs:
      - job_name: s3mount
        static_configs:
          - targets: ["127.0.0.1:9100"]

If s3mount cannot listen there, it does not mount, and says why. The numbers are counted anyway;
they are read only when a client asks. Only `GET` and `HEAD` of `/metrics` are served. Of 8 clients
at most, a further one replaces the oldest; each has five seconds. The metrics are read five times a
second at most.

[alerts.yml](alerts.yml) has five alert rules: the store is away, it throttles, credentials are
refused or about to expire, the cache is too small, the mount is dead or stuck. They expect the job
name `s3mount`.

## Metrics
"""
_HISTOGRAM = """\
A histogram has a bucket for each doubling, from 0.1 ms to 105 s, and is of requests that got a
response. `histogram_quantile(0.99, sum by (kind, le) (rate(
s3mount_request_duration_seconds_bucket[5m])))` is the 99th percentile of each kind.
"""
_DISK = """\
## Metrics of the disk cache

Mounts with `--cache-dir` have these too.
"""


def page() -> str:
    """Return the page, in Markdown."""
    lines = "\n".join(_rows(registered()))
    disk = "\n".join(_rows(registered_of_disk()))
    labels = "\n".join(_labels())
    return f"{_HEAD}\n{lines}\n\n{_HISTOGRAM}\n{_DISK}\n{disk}\n\n## Labels\n\n{labels}\n"


def registered() -> Metrics:
    """Return the metrics of a mount, in the order of a mount."""
    metrics = Metrics()
    trio.run(_register, metrics)
    return metrics


def registered_of_disk() -> Metrics:
    """Return the further metrics of a mount with a disk cache."""
    metrics = Metrics()
    trio.run(_register_disk, metrics)
    return metrics


async def _register_disk(metrics: Metrics) -> None:
    DiskSource(
        MemoryDisk(),
        StoreSource(MemoryStore({})),
        BufferPool(0).holds,
        ScriptedThreads(),
        namespace="",
        memory_limit=0,
        health=disk_health(trio.current_time),
    ).register_metrics(metrics)


async def _register(metrics: Metrics) -> None:
    config = Config(
        store=StoreConfig(bucket="bucket"),
        tree=TreeConfig(uid=0, gid=0),
        mount=MountConfig(mountpoint="/mnt"),
    )
    RequestLog().register_metrics(metrics)
    register_credentials(metrics, lambda: cast("Any", SimpleNamespace(expires_at=None)))
    remote = RemoteStore(cast("Any", SimpleNamespace()), max_connections=1, timeout=1)
    remote.register_metrics(metrics)
    async with trio.open_nursery() as nursery:
        store = MemoryStore({})
        BlockCache(store, nursery, BlockConfig()).register_metrics(metrics)
        filesystem = make_filesystem(store, nursery, config.tree, config.store, trio.current_time)
        filesystem.register_metrics(metrics)
        nursery.cancel_scope.cancel()
    register_limit(LogLimit(lambda: 0.0), metrics)
    register_process(metrics)
    register_identity(metrics, config)


def _rows(metrics: Metrics) -> Iterator[str]:
    yield "| metric | type | labels | meaning |"
    yield "|---|---|---|---|"
    for each in (*metrics, *metrics.families, *metrics.histograms):
        yield f"| `{each.exposition_name}` | {_kind(each)} | {_label_names(each)} | {_text(each)} |"


def _kind(metric: Metric | Family | HistogramFamily) -> str:
    return "histogram" if isinstance(metric, HistogramFamily) else metric.kind


def _label_names(metric: Metric | Family | HistogramFamily) -> str:
    names = () if isinstance(metric, Metric) else metric.labels
    return ", ".join(f"`{name}`" for name in names)


def _text(metric: Metric | Family | HistogramFamily) -> str:
    return metric.description.replace("|", "\\|")


def _labels() -> Iterator[str]:
    values = {"kind": RequestKind, "outcome": Outcome, "reason": Reason}
    yield "| label | values |"
    yield "|---|---|"
    for name, enumeration in values.items():
        yield f"| `{name}` | {', '.join(f'`{each}`' for each in enumeration)} |"
    yield (
        "| `status` | the HTTP status of the response, of 32 at most; `other` beyond them; empty "
        "without a response |"
    )


if __name__ == "__main__":
    sys.stdout.write(page())

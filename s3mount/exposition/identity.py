"""Metrics that tell one mount from another, and one build of s3mount from another."""

import platform
import time
from collections.abc import Mapping

from s3mount import __version__
from s3mount.config import Config
from s3mount.metrics import Family, Labels, Metrics


def register_identity(metrics: Metrics, config: Config) -> None:
    """Register what this mount is: its build, its bucket and mount point, and its start."""
    build = (__version__, platform.python_version())
    mount = (config.store.bucket or "s3://", config.mount.mountpoint)
    metrics.family(_constant("build_info", "Version of s3mount.", ("version", "python"), build))
    metrics.family(
        _constant("mount_info", "Bucket and mount point.", ("bucket", "mountpoint"), mount)
    )
    started = time.time()
    metrics.family(
        Family(
            "start_timestamp",
            "gauge",
            "seconds",
            "When the mount was announced, in seconds since 1970.",
            (),
            lambda: {(): started},
        )
    )


def _constant(name: str, description: str, labels: tuple[str, ...], values: Labels) -> Family:
    """Return a gauge of 1 with *labels*, which have *values*."""
    constant: Mapping[Labels, float] = {tuple(_utf8(value) for value in values): 1}
    return Family(name, "gauge", "", description, labels, lambda: constant)


def _utf8(value: str) -> str:
    """Return *value* with bytes that are not UTF-8 escaped."""
    return value.encode("utf-8", "backslashreplace").decode()

"""Readings of one component's metrics."""

from collections.abc import Mapping
from typing import Protocol

from s3mount.metrics import Metrics


class _Measured(Protocol):
    def register_metrics(self, metrics: Metrics) -> None: ...


def read_metrics(component: _Measured) -> Mapping[str, float]:
    """Return the metrics of *component* by name."""
    metrics = Metrics()
    component.register_metrics(metrics)
    return metrics.read()

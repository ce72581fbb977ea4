"""Registry of the counters and gauges of one mount.

A component registers its numbers, and counts in attributes of its own: counting costs nothing more.
They are read on request only.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Metric:
    """One number: a counter only grows, a gauge is the present state. *read* returns it."""

    name: str
    kind: Literal["counter", "gauge"]
    unit: str
    description: str
    read: Callable[[], float]


class Metrics:
    """Metrics by name, in the order of their registration. Not thread-safe: for the event loop."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._metrics.values())

    def counter(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Register a counter. Raises ValueError if there is a metric of that *name*."""
        self._register(Metric(name, "counter", unit, description, read))

    def gauge(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Register a gauge. Raises ValueError if there is a metric of that *name*."""
        self._register(Metric(name, "gauge", unit, description, read))

    def read(self) -> Mapping[str, float]:
        """Return the values by name. Never raises: a metric that fails is logged and left out."""
        values = {}
        for metric in self._metrics.values():
            try:
                values[metric.name] = metric.read()
            except Exception:  # the event loop of the mount must not end over a number
                log.exception("reading the metric %s failed: this is a bug", metric.name)
        return values

    def _register(self, metric: Metric) -> None:
        if metric.name in self._metrics:
            raise ValueError(f"the metric {metric.name!r} is registered already")
        self._metrics[metric.name] = metric

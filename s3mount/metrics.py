"""Registry of the counters, gauges and histograms of one mount.

A component registers its numbers, and counts in attributes of its own: counting costs nothing more.
They are read on request only. A metric without labels has one number, and is in the log's
statistics. A family has one for each set of label values. Their number is bounded: kinds,
outcomes, reasons and statuses are labels; keys never are.

Names, units and descriptions follow https://prometheus.io/docs/practices/naming/: base units, the
unit as a suffix, and `_total` at the end of a counter. `Metric.exposition_name` makes them so.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, TypeVar

from s3mount.frozen_dataclass import dataclass
from s3mount.histogram import HistogramSample

log = logging.getLogger(__name__)

NAMESPACE: Final = "s3mount"  # of the names in Prometheus' text format

Kind = Literal["counter", "gauge"]
Labels = tuple[str, ...]
"""The values of a family's labels, in the order of their names."""

T = TypeVar("T")

_BASE_UNITS: Final = ("bytes", "seconds")  # other units are words that the names have anyway


@dataclass(frozen=True, slots=True)
class Metric:
    """One number: a counter only grows, a gauge is the present state. *read* returns it."""

    name: str
    kind: Kind
    unit: str
    description: str
    read: Callable[[], float]

    @property
    def exposition_name(self) -> str:
        """Its name in Prometheus' text format."""
        return _exposition_name(self.name, self.kind, self.unit)


@dataclass(frozen=True, slots=True)
class Family:
    """Numbers of one meaning, by label values; *read* returns them all."""

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[str, ...]
    read: Callable[[], Mapping[Labels, float]]

    @property
    def exposition_name(self) -> str:
        """Its name in Prometheus' text format."""
        return _exposition_name(self.name, self.kind, self.unit)


@dataclass(frozen=True, slots=True)
class HistogramFamily:
    """Histograms of one meaning, of durations in seconds, by label values."""

    name: str
    description: str
    labels: tuple[str, ...]
    read: Callable[[], Mapping[Labels, HistogramSample]]

    @property
    def exposition_name(self) -> str:
        """Its name in Prometheus' text format."""
        return f"{NAMESPACE}_{self.name}_seconds"


M = TypeVar("M", Metric, Family, HistogramFamily)


class Metrics:
    """Metrics by name, in the order of their registration. Not thread-safe: for the event loop."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._families: dict[str, Family] = {}
        self._histograms: dict[str, HistogramFamily] = {}

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._metrics.values())

    @property
    def families(self) -> Iterator[Family]:
        """The counters and gauges that have labels."""
        return iter(self._families.values())

    @property
    def histograms(self) -> Iterator[HistogramFamily]:
        return iter(self._histograms.values())

    def counter(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Register a counter. Raises ValueError if there is a metric of that *name*."""
        self._register(self._metrics, Metric(name, "counter", unit, description, read))

    def gauge(self, name: str, unit: str, description: str, read: Callable[[], float]) -> None:
        """Register a gauge. Raises ValueError if there is a metric of that *name*."""
        self._register(self._metrics, Metric(name, "gauge", unit, description, read))

    def family(self, family: Family) -> None:
        """Register *family*. Raises ValueError if there is a metric of its name."""
        self._register(self._families, family)

    def histogram(self, family: HistogramFamily) -> None:
        """Register *family*. Raises ValueError if there is a metric of its name."""
        self._register(self._histograms, family)

    @property
    def values(self) -> Mapping[str, float]:
        """The values by name, of metrics without labels, each read when it is asked for.

        A metric that fails is logged, and is a KeyError.
        """
        return _Values(self._metrics)

    def read(self) -> Mapping[str, float]:
        """Return the values by name, of metrics without labels.

        Never raises: a metric that fails is logged and left out.
        """
        values = {}
        for metric in self._metrics.values():
            value = read_or_none(metric.name, metric.read)
            if value is not None:
                values[metric.name] = value
        return values

    def _register(self, registered: dict[str, M], metric: M) -> None:
        taken = {each.exposition_name for each in (*self, *self.families, *self.histograms)}
        if metric.name in registered or metric.exposition_name in taken:
            raise ValueError(f"the metric {metric.name!r} is registered already")
        registered[metric.name] = metric


class _Values(Mapping[str, float]):
    """Values of *metrics*, not read before they are asked for: some cost more than others."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._metrics = metrics

    def __getitem__(self, name: str) -> float:
        value = read_or_none(name, self._metrics[name].read)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)


def read_or_none(name: str, read: Callable[[], T]) -> T | None:
    """Return what *read* returns; None, and a line in the log, if it fails."""
    try:
        return read()
    except Exception:  # the event loop of the mount must not end over a number
        log.exception("reading the metric %s failed: this is a bug", name)
        return None


def _exposition_name(name: str, kind: Kind, unit: str) -> str:
    words = name.split("_")
    if unit in _BASE_UNITS:
        words = [*(word for word in words if word != unit), unit]
    suffix = ("total",) if kind == "counter" else ()
    return "_".join((NAMESPACE, *words, *suffix))

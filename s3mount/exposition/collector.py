"""Collector of a registry's metrics for prometheus-client, and their text format.

Has a registry of its own: the global one of the library is not used. Reads numbers only when it is
asked. See https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Exposed
from prometheus_client.registry import Collector, CollectorRegistry

from s3mount.metrics import Family, HistogramFamily, Kind, Metric, Metrics, read_or_none


class MetricsCollector(Collector):
    """Collector of *metrics*; for the event loop, as they are."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Exposed]:
        """Yield each metric with its present values; one whose reading fails is left out."""
        for metric in self._metrics:
            value = read_or_none(metric.name, metric.read)
            if value is not None:
                exposed = _exposed(metric, metric.kind, ())
                exposed.add_metric((), value)
                yield exposed
        for family in self._metrics.families:
            exposed = _exposed(family, family.kind, family.labels)
            for labels, value in (read_or_none(family.name, family.read) or {}).items():
                exposed.add_metric(labels, value)
            yield exposed
        for histogram in self._metrics.histograms:
            yield _exposed_histogram(histogram)


def text_format(metrics: Metrics) -> bytes:
    """Return the present values of *metrics* in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricsCollector(metrics))
    return generate_latest(registry)


def _exposed(
    metric: Metric | Family, kind: Kind, labels: tuple[str, ...]
) -> CounterMetricFamily | GaugeMetricFamily:
    make = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    return make(metric.exposition_name, metric.description, labels=labels)


def _exposed_histogram(family: HistogramFamily) -> HistogramMetricFamily:
    exposed = HistogramMetricFamily(
        family.exposition_name, family.description, labels=family.labels
    )
    for labels, sample in (read_or_none(family.name, family.read) or {}).items():
        buckets = [
            ("+Inf" if bound == float("inf") else f"{bound:g}", float(count))
            for bound, count in sample.buckets
        ]
        exposed.add_metric(labels, buckets=buckets, sum_value=sample.total)
    return exposed

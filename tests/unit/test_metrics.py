"""The registry of metrics: what is registered, and a reading that fails."""

import pytest

from s3mount.histogram import Histogram
from s3mount.metrics import Family, HistogramFamily, Metrics, read_or_none


def _fail() -> float:
    raise ZeroDivisionError


def test_values_are_read_in_the_order_of_registration() -> None:
    metrics = Metrics()
    sent: list[bytes] = []
    metrics.counter("requests", "requests", "Requests sent.", lambda: len(sent))
    metrics.gauge("held", "bytes", "Bytes held now.", lambda: sum(map(len, sent)))
    sent.append(b"GET")

    assert list(metrics.read().items()) == [("requests", 1), ("held", 3)]
    assert [(each.name, each.kind, each.unit) for each in metrics] == [
        ("requests", "counter", "requests"),
        ("held", "gauge", "bytes"),
    ]


def test_a_name_is_registered_once() -> None:
    metrics = Metrics()
    metrics.gauge("held", "bytes", "Bytes held now.", lambda: 0)

    with pytest.raises(ValueError, match="held"):
        metrics.counter("held", "bytes", "Another.", lambda: 0)


def test_a_reading_that_fails_is_logged_and_left_out(expected_warnings: list[str]) -> None:
    expected_warnings.append("reading the metric broken failed: this is a bug")
    metrics = Metrics()
    metrics.counter("broken", "bytes", "Fails.", _fail)
    metrics.counter("whole", "bytes", "Works.", lambda: 7)

    assert metrics.read() == {"whole": 7}


def test_exposition_names_have_the_base_unit_and_total_at_the_end() -> None:
    metrics = Metrics()
    metrics.counter("bytes_fetched", "bytes", "Fetched.", lambda: 0)
    metrics.counter("retries", "requests", "Retries.", lambda: 0)
    metrics.gauge("block_bytes_limit", "bytes", "Limit.", lambda: 0)
    metrics.family(Family("sent", "counter", "requests", "Sent.", ("kind",), dict))
    metrics.histogram(HistogramFamily("request_duration", "Time.", ("kind",), dict))

    names = [each.exposition_name for each in (*metrics, *metrics.families, *metrics.histograms)]

    assert names == [
        "s3mount_fetched_bytes_total",
        "s3mount_retries_total",
        "s3mount_block_limit_bytes",
        "s3mount_sent_total",
        "s3mount_request_duration_seconds",
    ]


def test_a_family_is_no_part_of_the_statistics_in_the_log() -> None:
    metrics = Metrics()
    metrics.family(Family("sent", "counter", "requests", "Sent.", ("kind",), lambda: {("GET",): 2}))
    metrics.histogram(
        HistogramFamily("took", "Time.", ("kind",), lambda: {("GET",): Histogram().sample()})
    )

    assert metrics.read() == {}
    assert [family.read() for family in metrics.families] == [{("GET",): 2}]
    assert [histogram.read()["GET",].count for histogram in metrics.histograms] == [0]


def test_a_family_cannot_have_the_exposition_name_of_another_metric() -> None:
    metrics = Metrics()
    metrics.gauge("bytes_held", "bytes", "Bytes held now.", lambda: 0)

    with pytest.raises(ValueError, match="held"):
        metrics.family(Family("held_bytes", "gauge", "bytes", "Another.", ("kind",), dict))


def test_a_reading_of_one_family_that_fails_is_none(expected_warnings: list[str]) -> None:
    expected_warnings.append("reading the metric broken failed: this is a bug")

    assert read_or_none("broken", _fail) is None

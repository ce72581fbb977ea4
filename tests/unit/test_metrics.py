"""The registry of metrics: what is registered, and a reading that fails."""

import pytest

from s3mount.metrics import Metrics


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

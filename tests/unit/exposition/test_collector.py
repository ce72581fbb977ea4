"""Prometheus' text format of a registry."""

import subprocess
import sys

import pytest

from s3mount.exposition.collector import text_format
from s3mount.filesystem.namespace.directory_lru import DirectoryLru
from s3mount.histogram import Histogram
from s3mount.metrics import Family, HistogramFamily, Metrics
from tests.metrics_documentation import registered


def _fail() -> float:
    raise ZeroDivisionError


def test_counters_gauges_families_and_histograms_are_in_the_text() -> None:
    metrics, durations = Metrics(), Histogram()
    durations.add(0.0003)
    durations.add(1000.0)
    metrics.counter("bytes_served", "bytes", "Bytes of replies.", lambda: 7)
    metrics.gauge("open_files", "handles", "Open files.", lambda: 2)
    metrics.family(
        Family("sent", "counter", "requests", "Sent.", ("kind",), lambda: {('a"\n\\',): 3})
    )
    metrics.histogram(
        HistogramFamily("took", "Time.", ("kind",), lambda: {("GET",): durations.sample()})
    )

    lines = text_format(metrics).decode().splitlines()

    assert lines[:8] == [
        "# HELP s3mount_served_bytes_total Bytes of replies.",
        "# TYPE s3mount_served_bytes_total counter",
        "s3mount_served_bytes_total 7.0",
        "# HELP s3mount_open_files Open files.",
        "# TYPE s3mount_open_files gauge",
        "s3mount_open_files 2.0",
        "# HELP s3mount_sent_total Sent.",
        "# TYPE s3mount_sent_total counter",
    ]
    assert lines[8] == 's3mount_sent_total{kind="a\\"\\n\\\\"} 3.0'
    assert 's3mount_took_seconds_bucket{kind="GET",le="0.0002"} 0.0' in lines
    assert 's3mount_took_seconds_bucket{kind="GET",le="0.0004"} 1.0' in lines
    assert 's3mount_took_seconds_bucket{kind="GET",le="+Inf"} 2.0' in lines
    assert 's3mount_took_seconds_count{kind="GET"} 2.0' in lines
    assert 's3mount_took_seconds_sum{kind="GET"} 1000.0003' in lines


def test_a_metric_that_fails_is_logged_and_left_out(expected_warnings: list[str]) -> None:
    expected_warnings.append("reading the metric")
    metrics = Metrics()
    metrics.counter("broken", "bytes", "Fails.", _fail)
    metrics.family(Family("torn", "gauge", "bytes", "Fails.", ("kind",), lambda: {("a",): _fail()}))
    metrics.counter("whole", "files", "Works.", lambda: 1)

    assert "s3mount_whole_total 1.0" in text_format(metrics).decode()


def test_no_metric_walks_through_the_cached_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 100,000 of them that would take a tenth of a second from the event loop."""
    metrics = registered()
    monkeypatch.setattr(DirectoryLru, "snapshot", lambda _: pytest.fail("it walks"))

    assert b"s3mount_cached_entries 0.0" in text_format(metrics)
    assert metrics.read()["hidden_keys"] == 0


def test_promtool_finds_nothing_in_what_a_mount_registers() -> None:
    text = text_format(registered())

    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_mount_without_metrics_does_not_import_the_library() -> None:
    program = "import sys, s3mount.daemon.startup; print('prometheus_client' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)

    assert done.stdout == b"False\n"

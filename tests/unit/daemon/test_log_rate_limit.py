"""The rate limit of the log: each kind is limited, and suppressed records are counted."""

import logging
import threading
from collections.abc import Iterator
from typing import Self

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3mount.daemon.log_rate_limit import BURST, BURST_INFO, KINDS_MAX, PERIOD, LogLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Lines(logging.Handler):
    """Keeps what passes."""

    def __init__(self, limit: LogLimit) -> None:
        super().__init__()
        self.addFilter(limit)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


class Bench:
    """A limit in front of a handler of the root logger."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.limit = LogLimit(self.clock)
        self.handler = Lines(self.limit)
        self.log = logging.getLogger("s3mount.fuse.error_mapping")

    @property
    def lines(self) -> list[str]:
        return self.handler.lines

    def fail(self, operation: str = "open", code: str = "EACCES", count: int = 1) -> None:
        for number in range(count):
            extra = {"operation": operation, "errno": code}
            self.log.warning("%s: %s: refused %d", operation, code, number, extra=extra)

    def __enter__(self) -> Self:
        root = logging.getLogger()
        self._before = root.level
        root.setLevel(logging.DEBUG)
        root.addHandler(self.handler)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().setLevel(self._before)
        logging.getLogger().removeHandler(self.handler)


@pytest.fixture
def bench(expected_warnings: list[str]) -> Iterator[Bench]:
    expected_warnings.append("")
    with Bench() as made:
        yield made


def test_the_first_records_of_a_flood_are_logged_and_the_rest_is_counted(bench: Bench) -> None:
    bench.fail(count=5031)
    bench.clock.now += PERIOD
    bench.fail()

    assert bench.lines == [
        *(f"WARNING open: EACCES: refused {number}" for number in range(BURST)),
        f"WARNING open: EACCES: {5031 - BURST} more like this in 60 s were not logged",
        "WARNING open: EACCES: refused 0",
    ]
    assert (bench.limit.warnings, bench.limit.suppressed) == (5032, 5031 - BURST)


def test_operations_and_error_codes_are_limited_separately(bench: Bench) -> None:
    bench.fail(count=100)

    bench.fail("read")
    bench.fail("open", "EIO")

    assert bench.lines[BURST:] == [
        "WARNING read: EACCES: refused 0",
        "WARNING open: EIO: refused 0",
    ]


def test_suppressed_records_are_counted_in_the_log_with_the_next_record_of_any_kind(
    bench: Bench,
) -> None:
    bench.fail(count=7)
    bench.clock.now += PERIOD + 3

    logging.getLogger("s3mount.s3").error("something else")

    assert bench.lines[BURST:] == [
        "WARNING open: EACCES: 2 more like this in 63 s were not logged",
        "ERROR something else",
    ]


def test_suppressed_records_are_counted_in_the_log_on_request_and_once(bench: Bench) -> None:
    bench.fail(count=9)
    bench.clock.now += 4

    bench.limit.log_suppressed()
    bench.limit.log_suppressed()
    bench.fail(count=2)
    bench.limit.log_suppressed()

    assert bench.lines[BURST:] == [
        "WARNING open: EACCES: 4 more like this in 4 s were not logged",
        "WARNING open: EACCES: 2 more like this in 4 s were not logged",
    ]


def test_tracebacks_are_limited_by_the_kind_of_the_exception(bench: Bench) -> None:
    for raised in [ZeroDivisionError(), KeyError(), *[ZeroDivisionError()] * 20]:
        bench.log.error(
            "%s failed: this is a bug", "open", exc_info=raised, extra={"operation": "open"}
        )
    bench.limit.log_suppressed()

    assert bench.lines == [
        *["ERROR open failed: this is a bug"] * (BURST + 1),
        f"ERROR open: ZeroDivisionError: {21 - BURST} more like this in 0 s were not logged",
    ]


def test_debug_lines_and_what_a_signal_requests_are_not_limited(bench: Bench) -> None:
    for _ in range(1000):
        bench.log.debug("a request")
        logging.getLogger("s3mount.daemon.lifecycle").info("statistics")
        logging.getLogger("s3mount.filesystem.namespace.metadata_cache").info(
            "keys below %r are hidden", "x"
        )

    assert bench.lines.count("DEBUG a request") == 1000
    assert bench.lines.count("INFO statistics") == 1000
    assert bench.lines.count("INFO keys below 'x' are hidden") == BURST_INFO


def test_invented_kinds_are_limited_together_in_bounded_memory(bench: Bench) -> None:
    for number in range(10_000):
        bench.log.warning(f"made up {number}" * 100)  # as libraries do it

    assert len(bench.lines) == KINDS_MAX + BURST
    assert len(bench.limit._periods) == KINDS_MAX + 1
    assert max(len(kind.text) for kind in bench.limit._periods) <= 200


def test_threads_that_fail_at_once_are_counted_correctly(bench: Bench) -> None:
    threads = [threading.Thread(target=bench.fail, kwargs={"count": 500}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(bench.lines) == BURST
    assert (bench.limit.warnings, bench.limit.suppressed) == (4000, 4000 - BURST)


def test_each_failure_is_logged_or_counted(expected_warnings: list[str]) -> None:
    expected_warnings.append("more like this")
    _check_each_failure_is_logged_or_counted()


@given(
    st.lists(st.tuples(st.sampled_from(["open", "read", "lookup"]), st.floats(0, 90)), max_size=60)
)
@example([("open", 0.0)] * (BURST + 1))
def _check_each_failure_is_logged_or_counted(failures: list[tuple[str, float]]) -> None:
    with Bench() as bench:
        bench.log = logging.getLogger("elsewhere")
        for operation, pause in failures:
            bench.clock.now += pause
            bench.fail(operation)
        bench.limit.log_suppressed()

    told = [line for line in bench.lines if "not logged" in line]
    logged = len(bench.lines) - len(told)
    assert logged + sum(int(line.split(": ")[2].split()[0]) for line in told) == len(failures)
    assert len(failures) - logged == bench.limit.suppressed


def test_at_most_a_burst_of_a_kind_passes_in_a_period(bench: Bench) -> None:
    for _ in range(200):
        bench.fail()
        bench.clock.now += 1

    assert len([line for line in bench.lines if "refused" in line]) == BURST * 4

"""The rate limit of the log: each kind is limited, and suppressed records are counted."""

import logging
import math
import threading
from collections.abc import Iterator
from typing import Self

import pyfuse3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3mount.daemon.log_rate_limit import (
    BURST,
    BURST_INFO,
    KINDS_MAX,
    LONGEST_INTERVAL,
    PERIOD,
    QUIET,
    LogLimit,
)
from s3mount.errors import DeadlineExceeded, NotFound, S3MountError, StoreError
from s3mount.fuse.error_mapping import maps_errors
from s3mount.s3.scheduling.outage import OutageTracker


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
def bench(allowed_warnings: list[str]) -> Iterator[Bench]:
    allowed_warnings.append("")
    with Bench() as made:
        yield made


def test_the_first_records_of_a_flood_are_logged_and_the_rest_is_counted(bench: Bench) -> None:
    bench.fail(count=5031)
    bench.clock.now += PERIOD
    bench.fail()

    assert bench.lines == [
        *(f"WARNING open: EACCES: refused {number}" for number in range(BURST)),
        f"WARNING open: EACCES: and {5031 - BURST:,} more in the last minute",
    ]
    assert (bench.limit.warnings, bench.limit.suppressed) == (5032, 5032 - BURST)


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
    bench.clock.now += 2 * PERIOD

    logging.getLogger("s3mount.s3").error("something else")

    assert bench.lines[BURST:] == [
        "WARNING open: EACCES: and 2 more in the last 2 minutes",
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
        "WARNING open: EACCES: and 4 more in the last 4 s",
        "WARNING open: EACCES: and 2 more in the last 0 s",
    ]


def test_tracebacks_are_limited_by_the_kind_of_the_exception(bench: Bench) -> None:
    for raised in [ZeroDivisionError(), KeyError(), *[ZeroDivisionError()] * 20]:
        bench.log.error(
            "%s failed: this is a bug", "open", exc_info=raised, extra={"operation": "open"}
        )
    bench.limit.log_suppressed()

    assert bench.lines == [
        *["ERROR open failed: this is a bug"] * (BURST + 1),
        f"ERROR open: ZeroDivisionError: and {21 - BURST} more in the last 0 s",
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
    assert len(bench.limit._streaks) == KINDS_MAX + 1
    assert max(len(kind.text) for kind in bench.limit._streaks) <= 200


def test_threads_that_fail_at_once_are_counted_correctly(bench: Bench) -> None:
    threads = [threading.Thread(target=bench.fail, kwargs={"count": 500}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(bench.lines) == BURST
    assert (bench.limit.warnings, bench.limit.suppressed) == (4000, 4000 - BURST)


def test_each_failure_is_logged_or_counted(allowed_warnings: list[str]) -> None:
    allowed_warnings.append(" more in the last ")
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

    told = [line for line in bench.lines if " more in the last " in line]
    logged = len(bench.lines) - len(told)
    assert logged + sum(int(line.split(": and ")[1].split()[0]) for line in told) == len(failures)
    assert len(failures) - logged == bench.limit.suppressed


def test_a_streak_is_a_burst_and_counts_at_growing_intervals(bench: Bench) -> None:
    for _ in range(7200):
        bench.limit.log_due()
        bench.fail()
        bench.clock.now += 1

    counts = [line for line in bench.lines if "refused" not in line]
    assert len([line for line in bench.lines if "refused" in line]) == BURST
    assert [line.rpartition("the last ")[2] for line in counts] == [
        *("minute", "3 minutes", "9 minutes", "27 minutes", "30 minutes", "30 minutes")
    ]
    assert LONGEST_INTERVAL == 30 * 60


def test_a_kind_that_was_quiet_is_told_at_once_again(bench: Bench) -> None:
    bench.fail(count=7)
    bench.clock.now += QUIET
    bench.fail()

    assert bench.lines[BURST:] == [
        "WARNING open: EACCES: and 2 more in the last 5 minutes",
        "WARNING open: EACCES: refused 0",
    ]


def test_counts_are_logged_by_a_timer_when_nothing_else_is(bench: Bench) -> None:
    bench.fail(count=BURST + 4812)
    bench.limit.log_due()
    bench.clock.now += PERIOD
    bench.limit.log_due()
    bench.limit.log_due()

    assert bench.lines[BURST:] == ["WARNING open: EACCES: and 4,812 more in the last minute"]


OPERATIONS = ("lookup", "getattr", "opendir", "readdirplus", "open", "read", "statfs")
FAILURES = (StoreError, DeadlineExceeded)


@pytest.mark.parametrize("pause", [3.0, 7.0, 61.0])
async def test_a_store_that_is_away_for_an_hour_makes_fewer_than_200_lines(
    bench: Bench, pause: float
) -> None:
    outage = OutageTracker(bench.clock)
    sent, is_first_at_once = 0, []
    began = bench.clock.now
    while bench.clock.now < began + 3600:
        for operation in OPERATIONS:
            for failure in FAILURES:
                before = len(bench.lines)
                await _fail(outage, operation, failure(f"away {sent}", key=f"key {sent}"))
                is_first_at_once += [len(bench.lines) > before] * (sent < 14)
                sent += 1
        bench.log.error("something else at %s", "once") if sent == 14 * 20 else None
        bench.clock.now += pause
        bench.limit.log_due()
    outage.record(None, bench.clock.now)

    told = [line for line in bench.lines if " more in the last " in line]
    lost = sum(int(line.split(": and ")[1].split()[0].replace(",", "")) for line in told)
    assert len(bench.lines) < 200
    assert is_first_at_once == [True] * 14
    assert lost + len([line for line in bench.lines if " away " in line]) == sent
    assert "ERROR something else at once" in bench.lines
    assert bench.lines[-1].startswith("INFO the store responds again, after 36")
    assert bench.lines[-1].endswith(f"failed operations meanwhile: {sent}")


async def test_the_first_failures_of_the_next_outage_are_told_at_once(bench: Bench) -> None:
    outage = OutageTracker(bench.clock)
    for _ in range(50):
        await _fail(outage, "read", StoreError("away"))
    bench.clock.now += 30
    outage.record(NotFound("no such key"), bench.clock.now)
    bench.clock.now += 30
    await _fail(outage, "read", StoreError("away again"))

    assert bench.lines[BURST:] == [
        f"WARNING read: EIO: and {50 - BURST} more in the last 30 s",
        "INFO the store responds again, after 30 s; failed operations meanwhile: 50",
        "WARNING read: EIO: away again ",
    ]


async def test_a_store_that_comes_and_goes_fills_no_log(bench: Bench) -> None:
    outage = OutageTracker(bench.clock)
    for _ in range(3600):
        for operation in ("lookup", "read"):
            await _fail(outage, operation, StoreError("away"))
        outage.record(None, bench.clock.now)
        bench.clock.now += 1

    assert len(bench.lines) < 200


async def _fail(outage: OutageTracker, operation: str, failure: S3MountError) -> None:
    """Let an operation of the store fail, and the kernel's request that waits for it."""

    async def handler() -> None:
        raise failure

    outage.record(failure, math.inf)
    handler.__name__ = operation
    with pytest.raises(pyfuse3.FUSEError):
        await maps_errors(handler)()

"""The command trace: how often it wakes the mount and its client, and what it drops."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio
import trio.testing

from s3mount.control.protocol import Object
from s3mount.control.trace import BATCH, INTERVAL, trace_command
from s3mount.s3.request_log import TRACED_MAX, RequestLog
from s3mount.s3.transport import StoreRequest


class Traced:
    """A log of requests with one client; *sent* has the items of each sending."""

    def __init__(self) -> None:
        self.wakes = 0
        self.log = RequestLog(self._run)
        self.sent: list[Sequence[Object]] = []

    def _run(self, function: object) -> None:
        self.wakes += 1
        assert callable(function)
        function()

    async def send(self, items: Sequence[Object]) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(items)

    def end_requests(self, count: int) -> None:
        for number in range(count):
            self.log.end(self.log.begin(StoreRequest("GetObject", f"k{number}")), None)


@asynccontextmanager
async def tracing() -> AsyncIterator[Traced]:
    traced = Traced()
    async with trio.open_nursery() as nursery:
        arguments = {"errors": False, "key": None}
        nursery.start_soon(trace_command(traced.log), arguments, traced.send)
        await trio.testing.wait_all_tasks_blocked()
        yield traced
        nursery.cancel_scope.cancel()


async def test_requests_that_end_together_are_sent_together(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001
) -> None:
    async with tracing() as traced:
        traced.end_requests(2 * BATCH + 7)
        await trio.sleep(2 * INTERVAL)

    assert [len(items) for items in traced.sent] == [BATCH, BATCH, 7]
    keys = [item["key"] for items in traced.sent for item in items]
    assert keys == [f"k{number}" for number in range(2 * BATCH + 7)]


async def test_the_event_loop_is_woken_once_in_an_interval(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001
) -> None:
    async with tracing() as traced:
        for _ in range(100):
            traced.end_requests(1)
            await trio.sleep(INTERVAL / 10)
        await trio.sleep(INTERVAL)

    assert sum(map(len, traced.sent)) == 100
    assert len(traced.sent) <= 11
    assert traced.wakes <= 11


async def test_nothing_runs_while_no_request_ends(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001
) -> None:
    async with tracing() as traced:
        traced.end_requests(1)
        await trio.sleep(2 * INTERVAL)
        statistics = trio.lowlevel.current_statistics()
        deadline = statistics.seconds_to_next_deadline

    assert traced.wakes == 1
    assert deadline == float("inf")


async def test_a_client_that_has_gone_leaves_no_subscriber(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001
) -> None:
    async with tracing() as traced:
        pass

    traced.end_requests(3)

    assert traced.wakes == 0


async def test_requests_that_the_log_has_dropped_are_counted(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001
) -> None:
    over = 7
    async with tracing() as traced:
        for _ in range(TRACED_MAX + over):
            traced.end_requests(1)
            traced.log.counts()
        await trio.sleep(2 * INTERVAL)

    items = [item for sent in traced.sent for item in sent]
    told = [item for item in items if "key" in item]
    (dropped,) = [item["dropped"] for item in items if "dropped" in item]
    assert len(told) + dropped == TRACED_MAX + over

"""The command trace beside a client, or an event loop, that is too slow."""

from collections.abc import Callable
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from s3mount.control.protocol import Object
from s3mount.control.trace import trace_command
from s3mount.s3.request_log import TRACED_MAX, RequestLog
from s3mount.s3.transport import StoreRequest

GET = StoreRequest("GetObject", "k")
OVER = 7


async def test_requests_that_the_log_has_dropped_are_counted() -> None:
    soon: list[Callable[[], None]] = []
    log = RequestLog(soon.append)
    items: list[Object] = []

    async def send(item: Object) -> None:
        items.append(item)
        await trio.lowlevel.checkpoint()

    arguments: dict[str, Any] = {"errors": False, "key": None}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trace_command(log), arguments, send)
        await wait_all_tasks_blocked()
        for _ in range(TRACED_MAX + OVER):
            log.end(log.begin(GET), None)
            log.counts()
        soon[0]()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    told = [item for item in items if "key" in item]
    (dropped,) = [item["dropped"] for item in items if "dropped" in item]
    assert len(told) + dropped == TRACED_MAX + OVER

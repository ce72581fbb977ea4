"""Command `trace`: the requests of a mount as they end, until the client goes.

Invariants: a request that ends waits for no client. Of a client that reads slowly, at most
RECORDS_MAX requests are kept; it is told how many were dropped after them, those that the request
log dropped included. Without a client, no request is looked at. With one, requests are told
together: the first wakes the event loop, which tells of all that have ended INTERVAL later. So the
cost of a wake-up, here and in the client, is not paid for each request.
"""

import fnmatch
import re
from collections import deque
from collections.abc import Sequence
from typing import Final

import trio

from s3mount.control.commands import Command, Send
from s3mount.control.protocol import Arguments, Object, ProtocolError
from s3mount.control.sources import Requests
from s3mount.s3.request_records import EndedRequest

RECORDS_MAX: Final = 1000
BATCH: Final = 100  # items that are sent at once
INTERVAL: Final = 0.2  # seconds: a person who watches sees no delay
GLOB_MAX: Final = 1024  # characters, as a key has no more


def trace_command(requests: Requests) -> Command:
    """Return the command `trace`."""

    async def trace(arguments: Arguments, send: Send) -> Object:
        queue = _Queue(only_errors=arguments["errors"], key=_pattern(arguments["key"]))
        unsubscribe = requests.subscribe(queue.add, queue.wake_teller, queue.add_dropped)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(queue.tell, requests)
                while True:
                    await send(await queue.next_items())
        finally:
            unsubscribe()

    return trace


class _Queue:
    """Requests that have ended, and wait to be sent to one client."""

    def __init__(self, *, only_errors: bool, key: re.Pattern[str] | None) -> None:
        self._only_errors = only_errors
        self._key = key
        # what waits, and how many were left out after it; the event is set by either
        self._ended: deque[EndedRequest] = deque()
        self._dropped = 0
        self._has_more = trio.Event()
        self._has_untold = trio.Event()  # set when the log has requests that it has not told of

    def add(self, ended: EndedRequest) -> None:
        if (self._only_errors and not ended.is_error) or not self._is_wanted(ended.key):
            return
        if self._dropped or len(self._ended) >= RECORDS_MAX:
            self._dropped += 1
        else:
            self._ended.append(ended)
        self._has_more.set()

    def add_dropped(self, count: int) -> None:
        """Count *count* requests that nobody can tell any more, whatever their keys."""
        self._dropped += count
        self._has_more.set()

    def wake_teller(self) -> None:
        """Have `tell` go on: a request has ended."""
        self._has_untold.set()

    async def tell(self, requests: Requests) -> None:
        """Have *requests* tell of those that have ended, INTERVAL after the first of them."""
        while True:
            await self._has_untold.wait()
            await trio.sleep(INTERVAL)
            self._has_untold = trio.Event()
            requests.tell_subscribers()

    async def next_items(self) -> Sequence[Object]:
        """Wait for the next items: requests, or the number of those that were dropped."""
        while not (self._ended or self._dropped):
            self._has_more = trio.Event()
            await self._has_more.wait()
        if self._ended:
            count = min(BATCH, len(self._ended))
            return [_item(self._ended.popleft()) for _ in range(count)]
        dropped, self._dropped = self._dropped, 0
        return [{"dropped": dropped}]

    def _is_wanted(self, key: str) -> bool:
        return self._key is None or self._key.match(key) is not None


def _pattern(glob: str | None) -> re.Pattern[str] | None:
    """Compile *glob*, in which `*` matches slashes as well. Raises ProtocolError."""
    if glob is None:
        return None
    if len(glob) > GLOB_MAX:
        raise ProtocolError("bad-request", f"key: it is over {GLOB_MAX} characters")
    try:
        return re.compile(fnmatch.translate(glob))
    except re.error:
        raise ProtocolError("bad-request", "key: it is no glob") from None


def _item(ended: EndedRequest) -> Object:
    byte_range = ended.byte_range
    return {
        "time": ended.time,
        "kind": ended.kind.value,
        "key": ended.key,
        "start": None if byte_range is None else byte_range.start,
        "stop": None if byte_range is None else byte_range.stop,
        "status": ended.status,
        "code": ended.code,
        "bytes": ended.received,
        "seconds": round(ended.seconds, 6),
        "reason": ended.reason.value,
        "error": ended.message if ended.is_error else None,
    }

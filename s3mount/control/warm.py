"""Command `warm`: fetch into the caches what will be needed, and tell the progress of it.

When the client goes, nothing of it goes on.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from s3mount.bill import CURRENCY, LIST_PRICES, Usage
from s3mount.config import PriceConfig
from s3mount.control.commands import Command, Send
from s3mount.control.progress import run_and_tell
from s3mount.control.protocol import Arguments, Object, ProtocolError, names_in
from s3mount.control.sources import Requests
from s3mount.s3.model import Reason
from s3mount.s3.request_records import RequestKind

_DIGITS: Final = 6  # of costs


class WarmUp(Protocol):
    """One warm-up: see `filesystem.warming.warm_up`."""

    @property
    def planned_requests(self) -> int: ...
    @property
    def planned_checks(self) -> int: ...
    def progress(self) -> Mapping[str, object]: ...
    def result(self) -> Mapping[str, object]: ...
    async def list(self) -> None: ...
    async def fetch(self) -> None: ...


class WarmUps(Protocol):
    """Warm-ups of the mount, one at a time."""

    def begin(
        self,
        paths: Sequence[tuple[bytes, ...]],
        *,
        listing_only: bool,
        jobs: int,
        is_dry: bool,
    ) -> WarmUp: ...
    def end(self) -> None: ...


def warm_command(warm_ups: WarmUps, requests: Requests, prices: PriceConfig) -> Command:
    """Return the command `warm`."""

    async def warm(arguments: Arguments, send: Send) -> Object:
        if not arguments["paths"] or arguments["jobs"] < 1:
            raise ProtocolError("bad-request", "paths: none is given, or jobs: it is below 1")
        is_dry = arguments["dry_run"]
        warm_up = warm_ups.begin(
            [names_in(path) for path in arguments["paths"]],
            listing_only=arguments["listing_only"],
            jobs=arguments["jobs"],
            is_dry=is_dry,
        )
        try:
            sent = await run_and_tell(
                partial(_run, warm_up, requests), partial(_item, warm_up, prices), send
            )
        finally:
            warm_ups.end()
        if is_dry:
            sent = {"LIST": 0, "GET": warm_up.planned_requests, "HEAD": warm_up.planned_checks}
        result = warm_up.result()
        return {**result, "requests": sent, "cost": _cost(sent, result["fetched_bytes"], prices)}

    return warm


async def _run(warm_up: WarmUp, requests: Requests) -> dict[str, int]:
    """Run *warm_up*; how many requests were sent for it, by kind."""
    lists, gets = _Sent(requests), _Sent(requests)
    await warm_up.list()
    lists.stop()
    await warm_up.fetch()
    gets.stop()
    return {"LIST": lists.lists, "GET": gets.warm, "HEAD": lists.heads}


def _item(warm_up: WarmUp, prices: PriceConfig) -> Object:
    """Return the progress; while files are fetched, with the cost of all that are to be."""
    progress = warm_up.progress()
    planned = {"LIST": 0, "GET": warm_up.planned_requests, "HEAD": 0}
    is_fetching = progress["phase"] == "fetching"
    return {**progress, "cost": _cost(planned, progress["bytes"], prices) if is_fetching else None}


class _Sent:
    """Requests sent between now and `stop`: LISTs and HEADs of anybody, GETs of warm-ups only."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self.lists, self.heads, self.warm = (-count for count in self._count())

    def stop(self) -> None:
        lists, heads, warm = self._count()
        self.lists += lists
        self.heads += heads
        self.warm += warm

    def _count(self) -> tuple[int, int, int]:
        counts = self._requests.counts()
        return (
            counts[RequestKind.LIST].sent,
            counts[RequestKind.HEAD].sent,
            self._requests.reasons().get(Reason.WARM, 0),
        )


def _cost(sent: Mapping[str, int], octets: object, prices: PriceConfig) -> Object:
    assert isinstance(octets, int)
    usage = Usage(gets=sent["GET"] + sent["HEAD"], lists=sent["LIST"], transferred=octets)
    return {
        "currency": CURRENCY if prices == LIST_PRICES else None,
        "requests": round(usage.cost_of_requests(prices), _DIGITS),
        "transfer": round(usage.cost_of_transfer(prices), _DIGITS),
        "total": round(usage.cost(prices), _DIGITS),
    }

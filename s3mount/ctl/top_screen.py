"""The live picture of `s3mountctl top`: its loop, its keys, and what is drawn."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from s3mount.ctl import units
from s3mount.ctl.client import Client
from s3mount.ctl.output import console, escaped
from s3mount.ctl.rates import SORT_KEYS, FileRate, RateHistory, Rates
from s3mount.ctl.screen import Keyboard

_LINES_ABOVE: Final = 10  # of the screen, besides both tables' rows
_LABEL: Final = 12
_FIGURE: Final = 12
_COLUMNS: Final = {
    "key": "File",
    "readers": "Readers",
    "position": "Position",
    "size": "Size",
    "window": "Window",
    "rate": "MiB/s",
}
_NOTHING: Final = Rates({}, 0.0, 0.0)


@dataclass(slots=True)
class TopState:
    """State that keys change: the column to sort by, and whether the picture stands still."""

    sort: str = SORT_KEYS[0]
    is_paused: bool = False

    def press(self, key: str) -> bool:
        """Heed *key*; return whether it quits."""
        if key == "s":
            self.sort = SORT_KEYS[(SORT_KEYS.index(self.sort) + 1) % len(SORT_KEYS)]
        elif key in ("p", " "):
            self.is_paused = not self.is_paused
        return key in ("q", "Q", "\x04")


def show(client: Client, interval: float, count: int | None) -> None:
    """Draw until a key quits, or *count* intervals are over; the terminal is then as before."""
    out = console()
    with Keyboard() as keyboard:
        live = Live(console=out, screen=True, auto_refresh=False)
        try:
            live.start()
            run(client, keyboard, live, interval, count)
        except KeyboardInterrupt:
            return
        finally:
            live.stop()


def run(
    client: Client,
    keyboard: Keyboard,
    live: Live,
    interval: float,
    count: int | None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Ask the mount once in *interval*, and draw what is new; return as `show` does.

    While paused, nothing is asked, and drawn only after a key or a change of the size.
    """
    state, history, latest = TopState(), RateHistory(), _NOTHING
    due = clock()
    left = count
    while True:
        now = clock()
        is_due = now >= due
        if is_due:
            due = now + interval
            if left is not None:
                if left < 0:
                    return
                left -= 1
            if not state.is_paused:
                latest = history.add(now, client.call("activity"))
        if not (is_due and state.is_paused):
            picture = view(client, history, latest, state, live.console.size)
            live.update(picture, refresh=True)
        if state.press(keyboard.wait(due - clock())):
            return


def view(
    client: Client,
    history: RateHistory,
    latest: Rates,
    state: TopState,
    cells: ConsoleDimensions,
) -> RenderableType:
    """Return the picture for a terminal of *cells*."""
    disk = [*_disk(latest)]
    lines = len(disk) + len([*_disk_sparkline(history, latest)])
    rows = max(2, cells.height - _LINES_ABOVE - lines)
    in_flight = min(len(latest.in_flight), max(1, rows // 3))
    return Group(
        _title(client, state),
        *_sparklines(history, latest, cells.width),
        *disk,
        Text(),
        _files(latest.sorted_files(state.sort)[: rows - in_flight], state.sort),
        Text(),
        _requests(latest, in_flight),
        _keys(state),
    )


def _title(client: Client, state: TopState) -> Text:
    up = units.seconds(max(0.0, time.time() - client.greeting.since))
    title = Text.assemble(
        (escaped(client.mount.source), "bold"),
        " at ",
        (escaped(client.mount.mountpoint), "bold"),
        (f"  process {client.greeting.pid}, up {up}", "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )
    if state.is_paused:
        title.append("  PAUSED", "bold yellow")
    return title


def _sparklines(history: RateHistory, latest: Rates, width: int) -> Iterable[Text]:
    cells = max(10, min(80, width - _LABEL - _FIGURE - 4))
    kinds = ", ".join(f"{escaped(kind)} {rate:.1f}" for kind, rate in latest.requests.items())
    for name, style, figure, values in (
        (
            "Requests/s",
            "cyan",
            f"{latest.all_requests:.1f}",
            [r.all_requests for r in history.rates],
        ),
        ("Fetched", "green", _rate(latest.fetched), [r.fetched for r in history.rates]),
        ("Served", "blue", _rate(latest.served), [r.served for r in history.rates]),
        *_disk_sparkline(history, latest),
    ):
        yield Text.assemble(
            (name.ljust(_LABEL), "dim"),
            figure.rjust(_FIGURE),
            "  ",
            (units.sparkline(values, cells), style),
            no_wrap=True,
        )
    yield Text.assemble(("By kind".ljust(_LABEL), "dim"), "  ", kinds or "-", no_wrap=True)


def _disk_sparkline(
    history: RateHistory, latest: Rates
) -> Iterable[tuple[str, str, str, list[float]]]:
    """Yield the bytes from the disk cache, if any have come from there."""
    values = [rates.from_disk for rates in history.rates]
    if any(values):
        yield "From disk", "magenta", _rate(latest.from_disk), values


def _disk(latest: Rates) -> Iterable[Text]:
    """Yield the disk cache in a line, if there is one."""
    if latest.disk is not None:
        label = "Disk".ljust(_LABEL)
        yield Text.assemble((label, "dim"), "  ", *disk_summary(latest.disk), no_wrap=True)


def _rate(octets: float) -> str:
    return f"{units.mebibytes(octets)} MiB/s"


def _files(files: Iterable[FileRate], sort: str) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, header_style="bold reverse")
    for name, title in _COLUMNS.items():
        mark = " ▾" if name == sort else ""
        if name == "key":
            table.add_column(title + mark, ratio=1, no_wrap=True, overflow="ellipsis")
        else:
            table.add_column(title + mark, justify="right", no_wrap=True)
    for file in files:
        table.add_row(
            Text(escaped(file.key)),
            str(file.readers),
            units.share(file.position, file.size),
            units.size(file.size),
            units.size(file.window),
            units.mebibytes(file.rate),
        )
    return table


def _requests(latest: Rates, count: int) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, header_style="bold reverse")
    table.add_column(f"Requests in flight: {len(latest.in_flight)}", no_wrap=True)
    table.add_column("Key", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("Range", no_wrap=True)
    table.add_column("Because of", no_wrap=True)
    table.add_column("Since", justify="right", no_wrap=True)
    ordered = sorted(latest.in_flight, key=lambda each: -(each.get("seconds") or 0))
    for request in ordered[:count]:
        start, stop = request.get("start"), request.get("stop")
        table.add_row(
            Text(escaped(request.get("kind", "?"))),
            Text(escaped(request.get("key") or "")),
            f"{units.size(start)} to {units.size(stop)}" if start is not None and stop else "",
            Text(escaped(request.get("reason") or "")),
            units.seconds(request.get("seconds") or 0),
        )
    return table


def _keys(state: TopState) -> Text:
    pause = "resume" if state.is_paused else "pause"
    return Text.assemble(
        ("s", "bold"),
        f" sort (now by {state.sort})  ",
        ("p", "bold"),
        f" {pause}  ",
        ("q", "bold"),
        " quit",
        style="dim",
        no_wrap=True,
    )


def disk_summary(disk: Mapping[str, Any]) -> Iterator[str | tuple[str, str]]:
    """Yield what `top` says of the disk cache: parts of a text, some with their style."""
    if disk.get("bypassed"):
        yield "bypassed  ", "bold yellow"
    hits, misses = disk.get("hits") or 0, disk.get("misses") or 0
    if disk.get("used") is None:
        yield "it does not respond", "bold yellow"
    else:
        yield f"{units.size(disk['used'])} of {units.size(disk.get('limit') or 0)}"
    yield f", hits {units.share(hits, hits + misses)}"
    yield f", evictions {units.number(disk.get('evictions') or 0)}"
    bad = disk.get("bad") or 0
    yield f", damaged extents {units.number(bad)}", "bold red" if bad else ""

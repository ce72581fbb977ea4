"""The command `s3mountctl top`: what a mount does now, each second."""

import time
from collections.abc import Iterator
from typing import Final

import click

from s3mount.ctl import units
from s3mount.ctl.client import Client, connected
from s3mount.ctl.mounts import Machine
from s3mount.ctl.output import (
    escaped,
    is_terminal,
    json_option,
    mount_argument,
    write_json,
    write_line,
)
from s3mount.ctl.rates import RateHistory, Rates

_INTERVAL: Final = 1.0  # seconds
_HEAD: Final = (
    "TIME      REQ/S    GET/S   LIST/S   HEAD/S"
    "  FETCH-MIB/S  SERVE-MIB/S  FILES  IN-FLIGHT  BUSIEST"
)


@click.command("top", short_help="Show what a mount does, live.")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="End after N seconds; else by q."
)
@mount_argument
@json_option
@click.pass_obj
def command(machine: Machine, mount: str | None, count: int | None, *, is_json: bool) -> int:
    """Show what a mount does, live: requests and bytes, the busiest files, the slowest requests.

    Keys: s sorts the files by the next column, p pauses, q quits. In a pipe, one line is printed
    each second.
    """
    with connected(machine.find(mount)) as client:
        if is_json:
            for _ in _seconds(count):
                write_json(client.call("activity"))
        elif is_terminal():
            from s3mount.ctl.top_screen import show  # noqa: PLC0415 - not for pipes

            show(client, _INTERVAL, count)
        else:
            _print(client, count)
    return 0


def _print(client: Client, count: int | None) -> None:
    history = RateHistory()
    history.add(time.monotonic(), client.call("activity"))
    time.sleep(_INTERVAL)
    write_line(_HEAD)
    for _ in _seconds(count):
        write_line(_line(history.add(time.monotonic(), client.call("activity"))))


def _seconds(count: int | None) -> Iterator[None]:
    """Yield *count* times, or for ever, a second apart and without drift."""
    due = time.monotonic()
    done = 0
    while count is None or done < count:
        yield
        done += 1
        due += _INTERVAL
        if done != count:
            time.sleep(max(0.0, due - time.monotonic()))


def _line(rates: Rates) -> str:
    by_kind = " ".join(f"{rates.requests.get(kind, 0.0):8.1f}" for kind in ("GET", "LIST", "HEAD"))
    busiest = rates.sorted_files("rate")[:1]
    return (
        f"{time.strftime('%H:%M:%S')} {rates.all_requests:6.1f} {by_kind} "
        f"{units.mebibytes(rates.fetched):>12} {units.mebibytes(rates.served):>12} "
        f"{len(rates.files):6d} {len(rates.in_flight):10d}  "
        f"{escaped(busiest[0].key) if busiest else '-'}"
    )

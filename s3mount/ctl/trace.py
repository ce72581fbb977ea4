"""The command `s3mountctl trace`: requests to the store as they end, one line each."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import click

from s3mount.cli.standard_output import READER_GONE
from s3mount.ctl import units
from s3mount.ctl.client import Reply, connected
from s3mount.ctl.mounts import Machine
from s3mount.ctl.output import (
    console,
    escaped,
    is_terminal,
    json_option,
    mount_argument,
    write_line,
)

if TYPE_CHECKING:
    from rich.text import Text

# time, kind, status, bytes, time taken, reason, range; the key is the last, of any length
_WIDTHS: Final = (12, 4, 6, 9, 8, 10, 23)
_RIGHT: Final = frozenset((3, 4))


@click.command("trace", short_help="Print requests to the store as they end.")
@click.option("--errors", is_flag=True, help="Only requests that failed.")
@click.option("--key", metavar="GLOB", help="Only requests of keys that match GLOB.")
@mount_argument
@json_option
@click.pass_obj
def command(
    machine: Machine, mount: str | None, key: str | None, *, errors: bool, is_json: bool
) -> int:
    """Print the mount's requests to the store as they end, until Ctrl-C.

    Each line has the time, the kind, the HTTP status or the error's code, bytes received, the time
    that it took, why it was sent, the byte range, the key, and the error.
    """
    write = _write_json if is_json else _drawer() if is_terminal() else _write
    received: list[Reply] = []
    status = READER_GONE

    def write_received() -> None:
        if received:
            write(received)
            received.clear()

    with connected(machine.find(mount)) as client:
        replies = client.replies(
            "trace",
            {"errors": errors, "key": key},
            watched=sys.stdout.fileno(),
            before_wait=write_received,
        )
        for kind, record in replies:
            if kind == "item":
                received.append(record)
            else:
                status = 0
    write_received()
    return status


def _write(records: Sequence[Reply]) -> None:
    write_line("\n".join(map(record_line, records)))


def _write_json(records: Sequence[Reply]) -> None:
    write_line("\n".join(map(json.dumps, records)))


def _drawer() -> Callable[[Sequence[Reply]], None]:
    from rich.text import Text  # noqa: PLC0415 - not for pipes

    out = console()
    lines = Text("\n")
    return lambda records: out.print(lines.join(map(_styled, records)), soft_wrap=True)


def _styled(record: Reply) -> "Text":
    from rich.text import Text  # noqa: PLC0415 - not for pipes

    failed = bool(record.get("error"))
    style = "yellow" if "dropped" in record else "red" if failed else ""
    return Text(record_line(record), style)


def record_line(record: Reply) -> str:
    """Return the line of a record; of the number of records that were left out."""
    if "dropped" in record:
        return f"({record['dropped']} requests are left out: they came faster than they were read)"
    cells = (
        units.time_of_day(float(record.get("time", 0))),
        record.get("kind"),
        record.get("status") or record.get("code"),
        units.size(record.get("bytes") or 0),
        f"{(record.get('seconds') or 0) * 1000:.1f} ms",
        record.get("reason"),
        _range(record),
    )
    columns = [
        text.rjust(width) if index in _RIGHT else text.ljust(width)
        for index, (width, cell) in enumerate(zip(_WIDTHS, cells, strict=True))
        for text in (escaped(cell or "-"),)
    ]
    error = f"  {escaped(record['error'])}" if record.get("error") else ""
    return f"{' '.join(columns)} {escaped(record.get('key') or '')}{error}".rstrip()


def _range(record: Reply) -> str:
    start, stop = record.get("start"), record.get("stop")
    return f"{start}-{stop}" if start is not None and stop is not None else ""

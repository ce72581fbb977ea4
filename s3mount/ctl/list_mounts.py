"""The command `s3mountctl list`: mounts of this machine, and whether they are healthy."""

from collections.abc import Sequence
from typing import Any, Final

import click

from s3mount.ctl import units
from s3mount.ctl.client import clear_command, no_socket_hint
from s3mount.ctl.health import UNHEALTHY, Health, State, check_all
from s3mount.ctl.mounts import Machine
from s3mount.ctl.output import (
    aligned,
    console,
    escaped,
    is_terminal,
    json_option,
    write_json,
    write_line,
)

_HEAD: Final = ("SOURCE", "MOUNTPOINT", "PID", "SINCE", "STATE", "REMEDY")
_STYLES: Final = {
    State.HEALTHY: "green",
    State.HANGING: "bold yellow",
    State.DEAD: "bold red",
    State.UNKNOWN: "dim",
}


@click.command("list")
@json_option
@click.pass_obj
def command(machine: Machine, *, is_json: bool) -> int:
    """List the mounts of this machine.

    A mount is healthy if it responds within a second. For one that is not, the last column has what
    to do. Exit status 1 if a mount is dead or does not respond.
    """
    found = check_all(machine.mounts())
    if is_json:
        write_json({"mounts": [_as_json(health) for health in found]})
    elif not is_terminal():
        for line in aligned([_HEAD, *(_words(_row(health)) for health in found)]):
            write_line(line)
    elif not found:
        write_line("no mounts of s3mount; make one: s3mount BUCKET MOUNTPOINT")
    else:
        _draw(found)
    return 1 if any(health.state in UNHEALTHY for health in found) else 0


def _row(health: Health) -> tuple[str, ...]:
    greeting = health.greeting
    return (
        escaped(health.mount.source),
        escaped(health.mount.mountpoint),
        str(greeting.pid) if greeting else "",
        units.moment(greeting.since).replace(" ", "T") if greeting else "",
        health.state,
        _remedy(health),
    )


def _words(row: Sequence[str]) -> tuple[str, ...]:
    """Return *row* with a word in each column; only the last one, the remedy, has several."""
    return (*(cell.replace(" ", r"\x20") for cell in row[:-1]), row[-1])


def _remedy(health: Health) -> str:
    match health.state:
        case State.DEAD:
            return clear_command(health.mount)
        case State.HANGING:
            return f"s3mount-clear --living {clear_command(health.mount).partition(' ')[2]}"
        case State.UNKNOWN:
            return no_socket_hint()
        case State.HEALTHY:
            return ""


def _as_json(health: Health) -> dict[str, Any]:
    greeting = health.greeting
    return {
        "source": health.mount.source,
        "mountpoint": health.mount.mountpoint,
        "connection": health.mount.connection,
        "state": health.state,
        "pid": greeting.pid if greeting else None,
        "since": greeting.since if greeting else None,
        "s3mount": greeting.version if greeting else None,
        "remedy": _remedy(health) or None,
    }


def _draw(found: Sequence[Health]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - not for pipes
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("Source", "Mount point", "Process", "Since", "State"):
        table.add_column(name, justify="right" if name == "Process" else "left", overflow="fold")
    for health in found:
        source, mountpoint, pid, since, state, _ = _row(health)
        table.add_row(
            Text(source, "bold"),
            Text(mountpoint),
            pid,
            since.replace("T", " "),
            Text(state.replace("-", " "), _STYLES[health.state]),
        )
    out = console()
    out.print(table)
    for health in found:
        if remedy := _remedy(health):
            state = health.state.replace("-", " ")
            out.print(
                Text(f"{escaped(health.mount.mountpoint)} is {state}: {remedy}"), soft_wrap=True
            )

"""The commands `s3mountctl refresh` and `s3mountctl log-level`: one request, one line."""

from typing import Final

import click

from s3mount.cli.completion import CompletedText
from s3mount.ctl import units
from s3mount.ctl.client import Reply, connected
from s3mount.ctl.mounts import Machine, Mount
from s3mount.ctl.output import (
    console,
    escaped,
    is_terminal,
    json_option,
    mount_argument,
    write_json,
    write_line,
)

_LEVELS: Final = ("debug", "info", "warning", "error")


@click.command("refresh", short_help="Drop the cached metadata of a path, or of all.")
@click.argument("path", required=False, type=CompletedText(kind="file"))
@json_option
@click.pass_obj
def refresh(machine: Machine, path: str | None, *, is_json: bool) -> int:
    """Drop the cached metadata of PATH and of what is below it, in the kernel too.

    The next access to it is a request to the store. Without PATH, all metadata of the only mount is
    dropped. Needs no root: the user who mounted may refresh.
    """
    if path is None:
        mount, relative = machine.find(None), ""
    else:
        found = machine.find_path(path)
        mount, relative = found.mount, found.relative
    result = _call(mount, "refresh", path=relative)
    names = units.counted(result.get("forgotten", 0), "name", "names")
    where = f"/{relative}".rstrip("/")
    _show(f"{escaped(mount.mountpoint + where)}: {names} forgotten", result, is_json=is_json)
    return 0


@click.command("log-level", short_help="Set the level of the log.")
@click.argument("level", type=click.Choice(_LEVELS, case_sensitive=False))
@mount_argument
@json_option
@click.pass_obj
def log_level(machine: Machine, level: str, mount: str | None, *, is_json: bool) -> int:
    """Set the lowest level that the mount logs, until it ends."""
    found = machine.find(mount)
    result = _call(found, "log-level", level=level)
    text = f"log level {result.get('level', level)}, before {result.get('before', 'unknown')}"
    _show(f"{escaped(found.mountpoint)}: {escaped(text)}", result, is_json=is_json)
    return 0


def _call(mount: Mount, command: str, **arguments: object) -> Reply:
    with connected(mount) as client:
        return client.call(command, **arguments)


def _show(text: str, result: Reply, *, is_json: bool) -> None:
    if is_json:
        write_json(result)
    elif is_terminal():
        from rich.text import Text  # noqa: PLC0415 - not for pipes

        console().print(Text(text), soft_wrap=True)
    else:
        write_line(text)

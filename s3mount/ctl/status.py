"""The command `s3mountctl status`: what a mount is, does, and costs."""

import click

from s3mount.ctl.client import connected
from s3mount.ctl.mounts import Machine
from s3mount.ctl.output import (
    aligned,
    flattened,
    is_terminal,
    json_option,
    mount_argument,
    write_json,
    write_line,
)


@click.command("status", short_help="Show what a mount is, does and costs.")
@mount_argument
@json_option
@click.pass_obj
def command(machine: Machine, mount: str | None, *, is_json: bool) -> int:
    """Show identity, requests, bytes, caches, latency, last errors and the bill of a mount.

    In a pipe, each line has a name and a value: sizes in bytes, times in seconds, moments as Unix
    time.
    """
    with connected(machine.find(mount)) as client:
        result = client.call("status")
    if is_json:
        write_json(result)
    elif is_terminal():
        from s3mount.ctl.status_view import draw  # noqa: PLC0415 - not for pipes

        draw(result)
    else:
        for line in aligned([*flattened(result)]):
            write_line(line)
    return 0

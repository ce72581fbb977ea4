"""s3mount-clear: takes a mount that nobody serves out of the way, before a start and after a crash; for service managers.

Touches nothing that lives, unless told so; where there is nothing to clear, that is success.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

from s3mount.cli.config_file import read_config_file
from s3mount.cli.exit_status import reported
from s3mount.daemon.mounting.stale_mounts import clear
from s3mount.errors import UsageError


def main() -> NoReturn:
    """The entry point of the command `s3mount-clear`."""
    sys.exit(reported("s3mount-clear", lambda: _clear(sys.argv[1:])))


def _clear(arguments: Sequence[str]) -> int:
    command = click.Command(
        "s3mount-clear",
        params=[
            click.Argument(["mountpoint"], required=False),
            click.Option(
                ["config", "--config"],
                help="Take the mount point from FILE, which s3mount reads, too.",
                metavar="FILE",
            ),
            click.Option(
                ["living", "--living"],
                is_flag=True,
                help="Take away an s3mount that still answers, too.",
            ),
        ],
        help="Take away a dead mount (Transport endpoint is not connected) at MOUNTPOINT.",
    )
    try:
        given = command.make_context("s3mount-clear", list(arguments)).params
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.UsageError as exc:
        raise UsageError(exc.format_message()) from exc
    place = given["mountpoint"] or _named_in(given["config"])
    if place:
        clear(place, is_living_too=given["living"] and may_have_left_a_mount(os.environ))
    return 0


def may_have_left_a_mount(environment: Mapping[str, str]) -> bool:
    """False after a main process that unmounted by itself, or had not mounted: what stands there then is another's.

    For ExecStopPost=, which systemd tells how the main process ended, see systemd.exec(5), and runs after a refused start as well.
    SIGTERM kills s3mount only before it mounts.
    """
    if "SERVICE_RESULT" not in environment:
        return True
    return (
        environment.get("EXIT_CODE") in ("killed", "dumped")
        and environment.get("EXIT_STATUS") != "TERM"
    )


def _named_in(config: str | None) -> str | None:
    """None where the file cannot be read or names no place: that is for s3mount to say, which is started next."""
    if config is None:
        raise UsageError("MOUNTPOINT is missing: s3mount-clear MOUNTPOINT, or --config FILE")
    try:
        return read_config_file(config).mountpoint
    except UsageError:
        return None

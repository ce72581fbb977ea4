"""The command s3mount-clear: removes a mount without a server, for service managers.

Leaves live mounts alone, unless --living is given. If there is nothing to clear, that is success.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

from s3mount.cli.config_file import read_config_file
from s3mount.cli.exit_status import run_command
from s3mount.daemon.mounting.stale_mounts import clear
from s3mount.errors import UsageError


def main() -> NoReturn:
    """Entry point of the command `s3mount-clear`."""
    sys.exit(run_command("s3mount-clear", lambda: _clear(sys.argv[1:])))


def clear_command() -> click.Command:
    """Return the table of its arguments, for --help and the manual page."""
    return click.Command(
        "s3mount-clear",
        params=[
            click.Argument(["mountpoint"], required=False),
            click.Option(
                ["config", "--config"],
                help="Take the mount point from FILE, a configuration file of s3mount.",
                metavar="FILE",
            ),
            click.Option(
                ["living", "--living"], is_flag=True, help="Also remove an s3mount that answers."
            ),
        ],
        help="Remove a dead mount (Transport endpoint is not connected) at MOUNTPOINT.",
    )


def _clear(arguments: Sequence[str]) -> int:
    try:
        given = clear_command().make_context("s3mount-clear", list(arguments)).params
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.UsageError as exc:
        raise UsageError(exc.format_message()) from exc
    mountpoint = given["mountpoint"] or _mountpoint_of(given["config"])
    if mountpoint:
        clear(mountpoint, is_living_too=given["living"] and may_have_left_a_mount(os.environ))
    return 0


def may_have_left_a_mount(environment: Mapping[str, str]) -> bool:
    """Whether the service's main process may have left a mount; if not, a mount there is another's.

    For ExecStopPost=, which systemd also runs after a refused start. The environment says how the
    main process ended, see systemd.exec(5). SIGTERM kills s3mount only before it mounts.
    """
    if "SERVICE_RESULT" not in environment:
        return True
    return (
        environment.get("EXIT_CODE") in ("killed", "dumped")
        and environment.get("EXIT_STATUS") != "TERM"
    )


def _mountpoint_of(config: str | None) -> str | None:
    """Return the mount point in a file; None if the file is wrong, which s3mount reports next."""
    if config is None:
        raise UsageError("MOUNTPOINT is missing: s3mount-clear MOUNTPOINT, or --config FILE")
    try:
        return read_config_file(config).mountpoint
    except UsageError:
        return None

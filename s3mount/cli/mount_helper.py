"""mount.s3mount: what mount(8) calls for `mount -t s3mount BUCKET[/PREFIX] MOUNTPOINT -o ...` and lines of /etc/fstab.

Speaks the calling convention of mount(8), section "External helpers", and means the same as the command s3mount.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from s3mount.cli.build_config import MountArguments, make_config
from s3mount.cli.exit_status import reported
from s3mount.cli.mount_options import parse_mount_options
from s3mount.config import Config
from s3mount.daemon.startup import run
from s3mount.errors import UsageError

_USAGE = (
    "usage: mount.s3mount BUCKET[/PREFIX] MOUNTPOINT [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]"
)


def main() -> NoReturn:
    """The entry point of the command `mount.s3mount`; returns once the mount answers."""
    sys.exit(reported("mount.s3mount", lambda: _mount(sys.argv[1:])))


def helper_config(arguments: Sequence[str]) -> tuple[Config, bool]:
    """What mount(8)'s *arguments* ask for, and whether it is to be done; -f only checks. Raises UsageError."""
    command = click.Command(
        "mount.s3mount",
        add_help_option=False,
        params=[
            click.Argument(["bucket"]),
            click.Argument(["mountpoint"]),
            click.Option(["options", "-o"], multiple=True),
            click.Option(["fake", "-f"], is_flag=True),
            # mtab and verbosity mean nothing here; mount(8) enters the namespace and chose the type itself
            *(
                click.Option([name, flag], is_flag=True)
                for name, flag in (("sloppy", "-s"), ("no_mtab", "-n"), ("v", "-v"))
            ),
            *(click.Option([name, flag]) for name, flag in (("namespace", "-N"), ("type", "-t"))),
        ],
    )
    try:
        given = command.make_context("mount.s3mount", list(arguments)).params
    except click.UsageError as exc:
        raise UsageError(f"{exc.format_message().rstrip('.')}; {_USAGE}") from exc
    settings = tuple(each for text in given["options"] for each in parse_mount_options(text, "-o"))
    return make_config(MountArguments(given["bucket"], given["mountpoint"], settings)), not given[
        "fake"
    ]


def _mount(arguments: Sequence[str]) -> int:
    config, is_wanted = helper_config(arguments)
    return run(config) if is_wanted else 0

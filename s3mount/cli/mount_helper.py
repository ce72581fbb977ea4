"""The command mount.s3mount, which mount(8) runs for `mount -t s3mount` and lines of /etc/fstab.

Follows the calling convention of mount(8), section "External helpers".
"""

import gc
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from s3mount.cli.build_config import MountArguments, build_config
from s3mount.cli.exit_status import end_process, run_command
from s3mount.cli.mount_options import parse_mount_options
from s3mount.config import Config
from s3mount.errors import UsageError

_USAGE = (
    "usage: mount.s3mount BUCKET[/PREFIX] MOUNTPOINT [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]"
)


def main() -> NoReturn:
    """Entry point of the command `mount.s3mount`; returns once the mount answers."""
    gc.disable()  # a tenth of the time of imports; `daemon/wiring.py` enables it again
    end_process(run_command("mount.s3mount", lambda: _mount(sys.argv[1:])))


def helper_config(arguments: Sequence[str]) -> tuple[Config, bool]:
    """Return the Config for mount(8)'s *arguments*, and whether to mount: -f only checks.

    Raises UsageError.
    """
    command = click.Command(
        "mount.s3mount",
        add_help_option=False,
        params=[
            click.Argument(["bucket"]),
            click.Argument(["mountpoint"]),
            click.Option(["options", "-o"], multiple=True),
            click.Option(["fake", "-f"], is_flag=True),
            # without meaning here; mount(8) itself enters the namespace and chooses the type
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
    _refuse_path(given["bucket"])
    values = tuple(each for text in given["options"] for each in parse_mount_options(text, "-o"))
    config = build_config(MountArguments(given["bucket"], given["mountpoint"], values))
    return config, not given["fake"]


def _refuse_path(source: str) -> None:
    """Raise UsageError if *source* is a path.

    mount(8) makes one of a source that is also the name of a file in its directory (libmount,
    mnt_resolve_path), which is / at boot. What was written cannot be told from it for certain.
    """
    if source.startswith("/"):
        raise UsageError(
            f"BUCKET: {source!r} is a path; mount(8) makes one of a bucket whose name is also a "
            "file's there: write s3://BUCKET/PREFIX"
        )


def _mount(arguments: Sequence[str]) -> int:
    """Mount; without effect if the same is mounted already, see docs/decisions/mount-twice.md."""
    config, is_wanted = helper_config(arguments)
    # trio: a third of the command line's time, which -f and a wrong line do not need
    from s3mount.daemon.startup import is_mounted, run  # noqa: PLC0415

    return run(config) if is_wanted and not is_mounted(config) else 0

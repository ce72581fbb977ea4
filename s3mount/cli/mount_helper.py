"""The command mount.s3mount, which mount(8) runs for `mount -t s3mount` and lines of /etc/fstab.

Follows the calling convention of mount(8), section "External helpers". Without click, whose import
is a twentieth of the time of a mount.
"""

import gc
import getopt
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from s3mount.cli.build_config import MountArguments, build_config
from s3mount.cli.exit_status import end_process, run_command
from s3mount.cli.mount_options import parse_mount_options
from s3mount.config import Config
from s3mount.deferred_imports import deferred_imports
from s3mount.errors import UsageError

USAGE: Final = (
    "mount.s3mount BUCKET[/PREFIX] MOUNTPOINT [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]"
)
_IGNORED: Final = "Accepted, and without effect."
# what mount(8) passes, for the manual page as well: flag, name of its value, help;
# mount(8) itself enters the namespace and chooses the type
FLAGS: Final = (
    ("-o", "OPTIONS", "Options of s3mount, and of mount(8), separated by commas."),
    ("-f", "", "Check the arguments, and mount nothing."),
    ("-s", "", _IGNORED),
    ("-n", "", _IGNORED),
    ("-v", "", _IGNORED),
    ("-N", "NAMESPACE", _IGNORED),
    ("-t", "TYPE", _IGNORED),
)
_GETOPT: Final = "".join(f"{flag[1]}{':' if value else ''}" for flag, value, _ in FLAGS)


def main() -> NoReturn:
    """Entry point of the command `mount.s3mount`; returns once the mount answers."""
    gc.disable()  # a tenth of the time of imports; `daemon/wiring.py` enables it again
    end_process(run_command("mount.s3mount", lambda: _mount(sys.argv[1:])))


def helper_config(arguments: Sequence[str]) -> tuple[Config, bool]:
    """Return the Config for mount(8)'s *arguments*, and whether to mount: -f only checks.

    Raises UsageError.
    """
    try:
        places, options = _parsed(arguments)
    except getopt.GetoptError as exc:
        raise UsageError(f"{exc}; usage: {USAGE}") from exc
    if len(places) != 2:
        counted = "one argument is missing" if len(places) < 2 else f"{places[2]!r} is too much"
        raise UsageError(f"{counted}; usage: {USAGE}")
    bucket, mountpoint = places
    _refuse_path(bucket)
    values = tuple(
        each for flag, text in options if flag == "-o" for each in parse_mount_options(text, "-o")
    )
    config = build_config(MountArguments(bucket, mountpoint, values))
    return config, ("-f", "") not in options


def _parsed(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the places and the options, which may follow them, whatever POSIXLY_CORRECT says.

    Raises GetoptError.
    """
    places: list[str] = []
    options: list[tuple[str, str]] = []
    rest = list(arguments)
    while rest:
        found, rest = getopt.getopt(rest, _GETOPT)  # up to the first place
        options += found
        places += rest[:1]
        rest = rest[1:]
    return places, options


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
    with deferred_imports():
        from s3mount.daemon.startup import is_mounted, run  # noqa: PLC0415

    return run(config) if is_wanted and not is_mounted(config) else 0

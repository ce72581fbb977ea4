"""The command s3mount: from its arguments to an exit status."""

import gc
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from s3mount.cli.build_config import MountArguments, build_config
from s3mount.cli.exit_status import end_process, run_command
from s3mount.cli.flag_values import mount_arguments
from s3mount.cli.plain_parser import parse_plain
from s3mount.deferred_imports import deferred_imports

_COMPLETION: Final = (
    "_S3MOUNT_COMPLETE"  # `variable` of s3mount.cli.completion, which imports click
)


def main() -> NoReturn:
    """Entry point of the command `s3mount`."""
    gc.disable()  # a tenth of the time of imports; `daemon/wiring.py` enables it again
    run = _complete if os.environ.get(_COMPLETION) else _run
    end_process(run_command("s3mount", run))


def s3mount(arguments: Sequence[str]) -> int:
    """Mount as *arguments* say; return the exit status. Raises S3MountError before the fork."""
    parsed = _parsed(arguments)
    if isinstance(parsed, str):
        sys.stdout.write(f"{parsed}\n")
        return 0
    config = build_config(parsed)
    # trio: a third of the command line's time, which --help and a mistyped option do not need
    with deferred_imports():
        from s3mount.daemon.startup import run  # noqa: PLC0415

    return run(config)


def _parsed(arguments: Sequence[str]) -> MountArguments | str:
    """Return the arguments of a mount, or the text to print. Raises UsageError."""
    given = parse_plain(arguments)
    if given is not None:
        return mount_arguments(given)
    from s3mount.cli.parser import parse_arguments  # noqa: PLC0415 - click

    return parse_arguments(arguments)


def _run() -> int:
    return s3mount(sys.argv[1:])


def _complete() -> int:
    """Print what the shell asks for, and return the exit status."""
    from s3mount.cli.completion import complete  # noqa: PLC0415 - click
    from s3mount.cli.parser import mount_command  # noqa: PLC0415

    status = complete(mount_command, "s3mount", os.environ)
    return _run() if status is None else status

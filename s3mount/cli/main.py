"""The command s3mount: from its arguments to an exit status."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from s3mount.cli.build_config import build_config
from s3mount.cli.completion import complete
from s3mount.cli.exit_status import end_process, run_command
from s3mount.cli.parser import mount_command, parse_arguments
from s3mount.daemon.startup import run


def main() -> NoReturn:
    """Entry point of the command `s3mount`."""
    status = complete(mount_command, "s3mount", os.environ)
    if status is None:
        status = run_command("s3mount", lambda: s3mount(sys.argv[1:]))
    end_process(status)


def s3mount(arguments: Sequence[str]) -> int:
    """Mount as *arguments* say; return the exit status. Raises S3MountError before the fork."""
    parsed = parse_arguments(arguments)
    if isinstance(parsed, str):
        sys.stdout.write(f"{parsed}\n")
        return 0
    return run(build_config(parsed))

"""s3mount: from the words typed to an exit status."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from s3mount.cli.build_config import make_config
from s3mount.cli.exit_status import end_process, reported
from s3mount.cli.parser import parse_arguments
from s3mount.daemon.startup import run


def main() -> NoReturn:
    """The entry point of the command `s3mount`."""
    end_process(reported("s3mount", lambda: s3mount(sys.argv[1:])))


def s3mount(arguments: Sequence[str]) -> int:
    """Do what *arguments* say; the exit status. Raises S3MountError before going to the background."""
    request = parse_arguments(arguments)
    if isinstance(request, str):
        sys.stdout.write(f"{request}\n")
        return 0
    return run(make_config(request))

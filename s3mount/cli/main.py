"""s3mount: from the words typed to an exit status.

An expected failure is one line on stderr: status 2 where what was typed is wrong, 1 for the rest.
"""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from s3mount.cli.assemble import make_config
from s3mount.cli.command import parse_arguments
from s3mount.errors import S3MountError, UsageError
from s3mount.service.run import run


def main() -> NoReturn:
    """The entry point of the command `s3mount`."""
    sys.exit(reported("s3mount", lambda: s3mount(sys.argv[1:])))


def s3mount(arguments: Sequence[str]) -> int:
    """Do what *arguments* say; the exit status. Raises S3MountError before going to the background."""
    request = parse_arguments(arguments)
    if isinstance(request, str):
        sys.stdout.write(f"{request}\n")
        return 0
    return run(make_config(request))


def reported(program: str, command: Callable[[], int]) -> int:
    """The exit status of *command*; its expected failures become a line on stderr."""
    try:
        return command()
    except S3MountError as exc:
        sys.stderr.write(f"{program}: {' '.join(str(exc).splitlines())}\n")
        return 2 if isinstance(exc, UsageError) else 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells count

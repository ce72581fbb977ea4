"""Failures, as the commands tell them: one line on stderr, and an exit status."""

import sys
from collections.abc import Callable

from s3mount.errors import S3MountError, UsageError
from s3mount.printable import LINE_LIMIT, printable


def reported(program: str, command: Callable[[], int]) -> int:
    """The exit status of *command*; its expected failures become a line on stderr.

    Status 2 where what was typed is wrong, 1 for the rest.
    """
    try:
        return command()
    except S3MountError as exc:
        sys.stderr.write(f"{program}: {printable(' '.join(str(exc).splitlines()), LINE_LIMIT)}\n")
        return 2 if isinstance(exc, UsageError) else 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells count

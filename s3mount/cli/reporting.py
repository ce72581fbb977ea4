"""Failures, as the commands tell them: one line on stderr, and an exit status."""

import os
import sys
from collections.abc import Callable

from s3mount.errors import S3MountError, UsageError
from s3mount.printable import LINE_LIMIT, printable


def reported(program: str, command: Callable[[], int]) -> int:
    """The exit status of *command*; its expected failures become a line on stderr.

    Status 2 where what was typed is wrong, 1 for the rest.
    """
    _open_standard_streams()
    try:
        return command()
    except S3MountError as exc:
        sys.stderr.write(f"{program}: {printable(' '.join(str(exc).splitlines()), LINE_LIMIT)}\n")
        return 2 if isinstance(exc, UsageError) else 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells count


def _open_standard_streams() -> None:
    """Open descriptors 0 to 2 where the caller closed them: else a socket or a log would take their numbers, and what is meant for them."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w", errors="backslashreplace")

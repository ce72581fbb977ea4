"""Failures, as the commands tell them: one line on stderr, and an exit status."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

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


def end_process(status: int) -> NoReturn:
    """End it without Python's own end, as in the background.

    That one gives signals back their defaults, so that a second SIGTERM kills the process, and takes libraries apart while threads
    that nobody waits for (a system call that hangs, a TLS exchange) may still be in them.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader is gone, or it is closed
            stream.flush()
    os._exit(status)


def _open_standard_streams() -> None:
    """Open descriptors 0 to 2 where the caller closed them: else a socket or a log would take their numbers, and what is meant for them."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w", errors="backslashreplace")

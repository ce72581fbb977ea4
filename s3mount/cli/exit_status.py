"""Errors of the commands: one line on stderr, and an exit status."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from s3mount.errors import S3MountError
from s3mount.printable import one_line


def run_command(program: str, command: Callable[[], int]) -> int:
    """Return the exit status of *command*; an S3MountError becomes a line on stderr."""
    _open_standard_streams()
    try:
        return command()
    except S3MountError as exc:
        sys.stderr.write(f"{program}: {one_line(str(exc))}\n")
        return exc.exit_status
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells count


def end_process(status: int) -> NoReturn:
    """End the process without Python's finalization, as in the background.

    Finalization resets signals to their defaults, so that a second SIGTERM would kill the process.
    It tears down libraries while abandoned threads (a system call that hangs, a TLS exchange) use
    them. It takes a fifth of the CPU time of a mount.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader is gone, or it is closed
            stream.flush()
    os._exit(status)


def _open_standard_streams() -> None:
    """Open descriptors 0 to 2 if the caller closed them.

    Else a socket or the log file would get one of these numbers, and the output meant for it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w", errors="backslashreplace")

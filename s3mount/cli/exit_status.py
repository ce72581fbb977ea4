"""Errors of the commands: one line on stderr, and an exit status."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from s3mount.cli.standard_output import READER_GONE, OutputError, check_output, discard_output
from s3mount.errors import S3MountError
from s3mount.printable import one_line


def run_command(program: str, command: Callable[[], int]) -> int:
    """Return the exit status of *command*; an S3MountError becomes a line on stderr.

    A reader of stdout that is gone is READER_GONE, without a word.
    """
    _open_standard_streams()
    check_output()
    try:
        status = command()
        sys.stdout.flush()
    except OutputError as exc:
        discard_output()
        return READER_GONE if exc.is_reader_gone else _report(program, exc)
    except S3MountError as exc:
        return _report(program, exc)
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells count
    return status


def _report(program: str, error: S3MountError) -> int:
    with contextlib.suppress(OSError):  # the exit status is all that can be told
        sys.stderr.write(f"{program}: {one_line(str(error))}\n")
        sys.stderr.flush()
    return error.exit_status


def end_process(status: int) -> NoReturn:
    """End the process without Python's finalization, as in the background.

    Finalization resets signals to their defaults, so that a second SIGTERM would kill the process.
    It tears down libraries while abandoned threads (a system call that hangs, a TLS exchange) use
    them. It takes a fifth of the CPU time of a mount.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # the reader is gone, or it is closed
        with contextlib.suppress(OSError, ValueError, OutputError):
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

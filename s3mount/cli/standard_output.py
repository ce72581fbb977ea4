"""Standard output of the commands: a failure to write it is an expected error.

A reader that is gone (`| head`) ends a command without a word, as SIGPIPE does others. The
libraries that write to stdout, click and rich, get the same stream.
"""

import errno
import io
import os
import sys
from typing import Final

from s3mount.errors import S3MountError

READER_GONE: Final = 141  # exit status: 128 + SIGPIPE, as shells count


class OutputError(S3MountError):
    """Stdout cannot be written: the disk is full, say. *is_reader_gone*: nobody reads the pipe."""

    def __init__(self, message: str, *, is_reader_gone: bool = False) -> None:
        super().__init__(message)
        self.is_reader_gone = is_reader_gone


class _CheckedOutput(io.TextIOWrapper):
    """Stream whose failures are OutputErrors. *former* would close their buffer at its end."""

    former: io.TextIOWrapper

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as exc:
            raise output_error(exc) from exc

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as exc:
            raise output_error(exc) from exc


def output_error(exc: OSError) -> OutputError:
    """Return *exc*, of a write to stdout, as the user sees it."""
    message = f"stdout cannot be written: {exc.strerror}"
    return OutputError(message, is_reader_gone=exc.errno == errno.EPIPE)


def check_output() -> None:
    """Have failures of stdout raise OutputErrors from now on, if it is a stream of Python's own."""
    former = sys.stdout
    if type(former) is not io.TextIOWrapper:
        return
    former.flush()
    checked = _CheckedOutput(
        former.buffer,
        encoding=former.encoding,
        errors=former.errors,
        line_buffering=former.line_buffering,
        write_through=former.write_through,
    )
    checked.former = former
    sys.stdout = checked


def discard_output() -> None:
    """Discard what is in the buffer of stdout: Python flushes it once more, when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)

"""A `credential_process`, with limits on its time and output, which botocore lacks.

No thread holds the interpreter's lock until the program runs. With vfork(2) some versions of Python
do: the search for the program may lead through the mount, which then cannot answer.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import Any, Final

from s3mount.errors import AccessDenied

PROCESS_LIMIT: Final = 60.0  # seconds, as the read timeout of botocore's own requests
OUTPUT_LIMIT: Final = 1 << 20  # bytes; credentials are some kilobytes
_WAIT_TIMEOUT: Final = 1.0  # seconds after SIGKILL; a program may hang in the kernel

# https://docs.python.org/3/library/subprocess.html#disabling-use-of-vfork-or-posix-spawn
subprocess._USE_VFORK = False  # type: ignore[misc]  # noqa: SLF001 - not a constant there


class CredentialProcess(subprocess.Popen[bytes]):
    """Program that is killed after `PROCESS_LIMIT` seconds, or `OUTPUT_LIMIT` bytes of output.

    It gets a process group of its own, so that its children are killed with it. With a terminal it
    does not: the program may prompt there, and only the foreground group may read.
    """

    def __init__(self, command: list[str], **pipes: Any) -> None:
        self._has_group = not _has_terminal()
        super().__init__(command, process_group=0 if self._has_group else None, **pipes)

    def communicate(
        self,
        input: bytes | None = None,  # noqa: A002, ARG002 - the signature of subprocess.Popen
        timeout: float | None = None,  # noqa: ARG002
    ) -> tuple[bytes, bytes]:
        """Return stdout and stderr. Raises TimeoutError, or AccessDenied for too much output."""
        end = time.monotonic() + PROCESS_LIMIT
        try:
            outputs = self._read(end)
            self.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError("the credential process was killed") from None
        finally:
            self.end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(_WAIT_TIMEOUT)
        return outputs

    def end(self) -> None:
        """Kill the program, unless it was waited for; does not wait for its end.

        A program that has ended may have left children, which hold the pipes. Its process id is not
        reused until it is waited for.
        """
        with contextlib.suppress(OSError), self._waitpid_lock:  # type: ignore[attr-defined]
            if self.returncode is None:
                (os.killpg if self._has_group else os.kill)(self.pid, signal.SIGKILL)

    def _read(self, end: float) -> tuple[bytes, bytes]:
        assert self.stdout is not None
        assert self.stderr is not None
        stdout, stderr = bytearray(), bytearray()
        with self.stdout, self.stderr, selectors.DefaultSelector() as selector:
            selector.register(self.stdout, selectors.EVENT_READ, stdout)
            selector.register(self.stderr, selectors.EVENT_READ, stderr)
            while selector.get_map():
                self._receive(selector, end)
        return bytes(stdout), bytes(stderr)

    def _receive(self, selector: selectors.BaseSelector, end: float) -> None:
        ready = selector.select(max(0.0, end - time.monotonic()))
        if not ready:
            raise subprocess.TimeoutExpired(self.args, PROCESS_LIMIT)
        for key, _ in ready:
            chunk = os.read(key.fd, 65536)
            key.data.extend(chunk)
            if len(key.data) > OUTPUT_LIMIT:
                raise AccessDenied("the credential_process prints without end")
            if not chunk:
                selector.unregister(key.fileobj)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True

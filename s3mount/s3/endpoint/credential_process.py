"""A `credential_process`, with limits on its time and output, which botocore lacks.

No thread holds the interpreter's lock until the program runs. With vfork(2) some versions of Python
do: the search for the program may lead through the mount, which then cannot answer.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from typing import Any, Final

import dateutil.parser

PROCESS_LIMIT: Final = 60.0  # seconds, as the read timeout of botocore's own requests
OUTPUT_LIMIT: Final = 1 << 20  # bytes; credentials are some kilobytes
_WAIT_TIMEOUT: Final = 1.0  # seconds after SIGKILL; a program may hang in the kernel

# https://docs.python.org/3/library/subprocess.html#disabling-use-of-vfork-or-posix-spawn
subprocess._USE_VFORK = False  # type: ignore[misc]  # noqa: SLF001 - not a constant there


class ProcessFailedError(Exception):
    """A failed program; the text repeats nothing that it printed."""


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
        """Return stdout and stderr. Raises TimeoutError, and ProcessFailedError for bad output."""
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
        _check_status(self.returncode)
        check_output(outputs[0])
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
                raise ProcessFailedError("it prints without end")
            if not chunk:
                selector.unregister(key.fileobj)


def check_output(printed: bytes) -> None:
    """Raise ProcessFailedError if *printed* is not credentials.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
    """
    try:
        found = json.loads(printed.decode())
    except (ValueError, RecursionError):
        raise ProcessFailedError("it prints no JSON") from None
    if not isinstance(found, dict):
        raise ProcessFailedError("it prints no JSON object")
    if found.get("Version") != 1:
        raise ProcessFailedError('it prints no "Version": 1')
    for name in ("AccessKeyId", "SecretAccessKey"):
        if not (isinstance(found.get(name), str) and found[name]):
            raise ProcessFailedError(f"it prints no {name}")
    if not isinstance(found.get("SessionToken"), str | None):
        raise ProcessFailedError("it prints a SessionToken that is no text")
    if (expiration := found.get("Expiration")) is not None:
        _check_expiration(expiration)


def _check_expiration(expiration: object) -> None:
    try:
        end = dateutil.parser.parse(expiration)
        has_ended = end.timestamp() <= time.time()
    except (ValueError, TypeError, OverflowError):
        raise ProcessFailedError("it prints an Expiration that is no time") from None
    if end.tzinfo is None:
        raise ProcessFailedError("it prints an Expiration without a time zone, such as Z")
    if has_ended:
        raise ProcessFailedError("it prints credentials that have expired")


def _check_status(status: int | None) -> None:
    if status is not None and status < 0:
        raise ProcessFailedError(f"it was killed by signal {-status}")
    if status:
        raise ProcessFailedError(f"it ended with status {status}: run it by hand")


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True

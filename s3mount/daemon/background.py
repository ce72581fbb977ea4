"""Going to the background: the parent stays at the terminal until the child reports the outcome.

Invariants: the fork comes before any thread. The child has a session and descriptors of its own.
The parent exits with a status that the child reported. If the child dies, the parent reports that;
if the parent dies first, the child ends.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, NoReturn, Protocol

import trio

from s3mount.errors import SetupError
from s3mount.printable import one_line

_READY: Final = b"+"
_FAILED: Final = b"-"
_LINE_MAX: Final = 65536


class ReadinessListener(Protocol):
    """A terminal or a parent process that waits until the mount answers."""

    def ready(self) -> None:
        """Report that the mount answers."""
        ...

    def failed(self, line: str) -> None:
        """Report why the mount failed before it answered."""
        ...

    async def wait_gone(self) -> None:
        """Return when the listener has gone: after `ready`, or when it died; a checkpoint."""
        ...


class Foreground:
    """The terminal, or whatever stderr is."""

    def ready(self) -> None:
        """The log says so."""

    def failed(self, line: str) -> None:
        sys.stderr.write(f"s3mount: {one_line(line)}\n")

    async def wait_gone(self) -> None:
        await trio.sleep_forever()


class Parent:
    """The process that forked this one, and waits at the other end of *channel*."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def ready(self) -> None:
        self._send(_READY)

    def failed(self, line: str) -> None:
        self._send(_FAILED + one_line(line).encode(errors="backslashreplace")[:_LINE_MAX])

    async def wait_gone(self) -> None:
        """The parent never writes: the channel becomes readable when it closes."""
        await trio.lowlevel.wait_readable(self._channel)

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # the parent has gone
            self._channel.send(message)


def in_background(live: Callable[[ReadinessListener], int], kept: Collection[int] = ()) -> int:
    """Call *live* in a child process. Return 0 when it is ready, or its exit status.

    No thread may be running. Of the open descriptors, the child keeps *kept*. Raises SetupError
    with the line that the child failed with.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = fork()
    if pid == 0:
        _run_child(theirs, live, kept)
    theirs.close()
    with ours:
        return _outcome(ours.recv(1 + _LINE_MAX), pid)


def fork() -> int:
    """os.fork, but its failure is a SetupError."""
    try:
        return os.fork()
    except OSError as exc:
        raise SetupError(
            f"a process cannot be started: {exc.strerror}; check the limit on processes (ulimit -u)"
        ) from exc


def close_descriptors(kept: Collection[int]) -> None:
    """Close all but *kept*; else a shell's locks and pipes stay open as long as the mount."""
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if descriptor not in kept:
            # the one that listed the directory is closed already
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _outcome(message: bytes, pid: int) -> int:
    match message[:1]:
        case b"+":
            return 0
        case b"-":
            os.waitpid(pid, 0)
            raise SetupError(message[1:].decode(errors="replace"))
        case _:
            return _early_end(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _early_end(code: int) -> int:
    """Raise SetupError for a child that ended without a report."""
    if code == 0:
        raise SetupError("it was stopped before the mount answered")
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    raise SetupError(
        f"the process in the background {how} before the mount answered; try --foreground"
    )


def _run_child(
    channel: socket.socket, live: Callable[[ReadinessListener], int], kept: Collection[int]
) -> NoReturn:
    """Be the child: it must not go on with the caller's work."""
    status = 1
    try:
        _detach_from_terminal(channel, kept)
        status = live(Parent(channel))
    finally:
        os._exit(status)


def _detach_from_terminal(channel: socket.socket, kept: Collection[int]) -> None:
    os.setsid()
    os.chdir("/")
    close_descriptors({0, 1, 2, channel.fileno(), *kept})
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)

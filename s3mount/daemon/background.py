"""Going to the background: one process stays at the terminal until the other says how it went.

Order matters, and is kept here: fork before any thread; a session and descriptors of its own for the child; the parent's exit status
only when the child knows it. Neither outlives the other by accident: if the child dies, the parent says so; if the parent dies first,
the child is told, and gives up.
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
from s3mount.printable import LINE_LIMIT, printable

_READY: Final = b"+"
_FAILED: Final = b"-"
_LINE_MAX: Final = 65536


class ReadinessListener(Protocol):
    """Who waits for the mount to answer: a terminal, or a parent process."""

    def ready(self) -> None:
        """The mount answers."""
        ...

    def failed(self, line: str) -> None:
        """The mount will not come to answer."""
        ...

    async def wait_gone(self) -> None:
        """Return when nobody waits any more: because `ready` was said, or because they died; a checkpoint."""
        ...


class Foreground:
    """The terminal, or whatever stderr is."""

    def ready(self) -> None:
        """The log says so."""

    def failed(self, line: str) -> None:
        sys.stderr.write(f"s3mount: {_one_line(line)}\n")

    async def wait_gone(self) -> None:
        await trio.sleep_forever()


class Parent:
    """The process that forked this one, and waits at the other end of *channel*."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def ready(self) -> None:
        self._say(_READY)

    def failed(self, line: str) -> None:
        self._say(_FAILED + _one_line(line).encode(errors="backslashreplace")[:_LINE_MAX])

    async def wait_gone(self) -> None:
        """The parent never writes: where its end becomes readable, it is closed."""
        await trio.lowlevel.wait_readable(self._channel)

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            self._channel.send(word)


def in_background(live: Callable[[ReadinessListener], int], kept: Collection[int] = ()) -> int:
    """Call *live* in a process of its own; return 0 once it says that it is ready, its exit status if it ends before.

    No thread may be running. Of the open descriptors, only *kept* go along. Raises SetupError with the line that it failed with.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = fork()
    if pid == 0:
        _be_daemon(theirs, live, kept)
    theirs.close()
    with ours:
        return _outcome(ours.recv(1 + _LINE_MAX), pid)


def fork() -> int:
    """os.fork, whose failure is a SetupError."""
    try:
        return os.fork()
    except OSError as exc:
        raise SetupError(
            f"a process cannot be started: {exc.strerror}; check the limit on processes (ulimit -u)"
        ) from exc


def close_descriptors(kept: Collection[int]) -> None:
    """A shell's locks, pipes and files, which would otherwise stay open as long as the mount stands."""
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if descriptor not in kept:
            with contextlib.suppress(
                OSError
            ):  # the one that listed the directory is closed already
                os.close(descriptor)


def _outcome(word: bytes, pid: int) -> int:
    match word[:1]:
        case b"+":
            return 0
        case b"-":
            os.waitpid(pid, 0)
            raise SetupError(word[1:].decode(errors="replace"))
        case _:
            return _early_end(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _early_end(code: int) -> int:
    """It said nothing: it was told to stop, or it died."""
    if code == 0:
        raise SetupError("it was stopped before the mount answered")
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    raise SetupError(
        f"the process in the background {how} before the mount answered; try --foreground"
    )


def _be_daemon(
    channel: socket.socket, live: Callable[[ReadinessListener], int], kept: Collection[int]
) -> NoReturn:
    """The other side of the fork: nothing of the caller's may go on here."""
    status = 1
    try:
        _settle(channel, kept)
        status = live(Parent(channel))
    finally:
        os._exit(status)


def _settle(channel: socket.socket, kept: Collection[int]) -> None:
    os.setsid()
    os.chdir("/")
    close_descriptors({0, 1, 2, channel.fileno(), *kept})
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _one_line(text: str) -> str:
    return printable(" ".join(text.splitlines()), LINE_LIMIT)

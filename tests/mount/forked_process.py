"""Process of a mount that a fork server starts: a third of the CPU time of `python -m s3mount`.

Each process of pytest has one server, which ends with it. The server waits for its children, so
that no pid is used again before the exit status is known here.
"""

import atexit
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final

# variables that are read when they are used; others may matter to the interpreter's start
_READ_LATE: Final = re.compile(r"AWS_\w+|S3MOUNT_\w+|HOME|PATH|(?i:https?_proxy|no_proxy)")
_REPLY_MAX = 1 << 10
_STARTING: Final = threading.Lock()
_COMMAND: Final = (sys.executable, "-m", "tests.mount.fork_server")
# what a mount with --transport boto3 imports besides
BOTO_MODULES: Final = ("s3mount.s3.boto.transport",)


def can_fork(variables: Mapping[str, str]) -> bool:
    """Whether a process with *variables*, besides those of the server, can be a fork of it."""
    return all(_READ_LATE.fullmatch(name) for name in variables)


class ForkServer:
    """Client of a fork server, which has *environment* and has imported *modules* too."""

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str] = ()) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asking = threading.Lock()
        with other:
            self._process = subprocess.Popen(
                [*_COMMAND, str(other.fileno()), *modules],
                env=environment,
                cwd="/",
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def close(self) -> None:
        """End the server; its mounts go on."""
        self._socket.close()
        self._process.wait()

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]
    ) -> "ForkedProcess":
        """Run s3mount with *arguments*; *descriptors* become its stdin, stdout and stderr."""
        request = {"arguments": arguments, "environment": environment}
        return ForkedProcess(self, self._ask(request, descriptors))

    def wait(self, pid: int) -> int:
        """Return the exit status of a child, which has ended."""
        return self._ask({"pid": pid})

    def _ask(self, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> int:
        with self._asking:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
            reply = self._socket.recv(_REPLY_MAX)
        assert reply, "the fork server has ended"
        return int(json.loads(reply))


def fork_server(
    environment: tuple[tuple[str, str], ...], modules: tuple[str, ...] = ()
) -> ForkServer:
    """Return the server of this process with the variables *environment* and *modules*."""
    with _STARTING:
        return _cached_server(environment, modules)


@cache
def _cached_server(
    environment: tuple[tuple[str, str], ...], modules: tuple[str, ...]
) -> ForkServer:
    server = ForkServer(dict(environment), modules)
    atexit.register(server.close)
    return server


class ForkedProcess:
    """What the tests use of subprocess.Popen, from any thread; stdin and stdout are no pipes."""

    stdin = None
    stdout = None

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server
        self._descriptor = os.pidfd_open(pid)
        self._reaping = threading.Lock()
        weakref.finalize(self, os.close, self._descriptor)

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs."""
        return self._status_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; raises TimeoutExpired after *timeout* seconds."""
        status = self._status_within(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _status_within(self, timeout: float | None) -> int | None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if self.returncode is None and poll.poll(None if timeout is None else timeout * 1000):
            with self._reaping:
                if self.returncode is None:
                    self.returncode = self._server.wait(self.pid)
        return self.returncode

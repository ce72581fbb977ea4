"""The privileged helper process: it mounts, and unmounts whatever becomes of the serving process.

Invariants:

1. It is forked before privileges are dropped and before any thread starts. All that it can do is
   fixed then.
2. A command is one letter over a socket, without arguments. It mounts once, and unmounts nothing
   but that mount.
3. It holds no descriptor of the mount, so the FUSE connection ends with the server.
4. It unmounts and exits when the socket closes. A server that was killed with a thread stuck in the
   kernel keeps the socket open; so the state of the server is checked as well.

See docs/decisions/run-as.md.
"""

import contextlib
import logging
import os
import select
import signal
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final

from s3mount.daemon import signals, syscalls
from s3mount.daemon.background import close_descriptors, fork
from s3mount.daemon.mounting.kernel_mounter import KernelMounter
from s3mount.daemon.mounting.mounter import AttachedMount
from s3mount.errors import SetupError
from s3mount.path_resolution import closing

_MOUNT: Final = b"m"
_UNMOUNT: Final = b"u"
_DETACH: Final = b"d"
_DONE: Final = b"+"
_REFUSED: Final = b"-"
_REPLY_MAX: Final = 4096
_REPLY_TIMEOUT: Final = 10.0  # seconds; a system call or two, which may wait for a lock
_CHECK_INTERVAL: Final = 5.0  # seconds between two checks of the server's state
# to mount, and to reach the mount point
_CAPABILITIES: Final = (syscalls.CAP_SYS_ADMIN, syscalls.CAP_DAC_READ_SEARCH)
_IGNORED_SIGNALS: Final = (*signals.HANDLED, signal.SIGQUIT, signal.SIGTSTP, signal.SIGUSR2)

log = logging.getLogger(__name__)


class HelperMounter:
    """Mounter that starts a helper process and sends it commands; usable without privileges.

    The helper takes over the descriptors of *mounter*. Raises SetupError if it cannot be started.
    State: *_is_ended* is set by `detach`; no command is sent afterwards.
    """

    def __init__(self, mounter: KernelMounter) -> None:
        self._path = mounter.path
        self._is_ended = False
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server = os.getpid()
        self._pid = fork()
        if self._pid == 0:
            _run_helper(theirs, mounter, server)
        theirs.close()
        self._channel.settimeout(_REPLY_TIMEOUT)
        # of a directory that the user who serves may not be able to reach
        for descriptor in mounter.descriptors:
            os.close(descriptor)

    def mount(self) -> AttachedMount:
        try:
            self._channel.send(_MOUNT)
            reply, descriptors, _, _ = socket.recv_fds(self._channel, _REPLY_MAX, 3)
        except OSError as exc:
            raise SetupError(f"the helper process that mounts does not answer: {exc}") from exc
        if reply[:1] != _DONE:
            raise SetupError(os.fsdecode(reply[1:]) or "the helper process that mounts died")
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return AttachedMount(*descriptors)

    def unmount(self) -> bool:
        return self._request(_UNMOUNT)

    def detach(self) -> None:
        """Detach the mount and end the helper."""
        if self._is_ended:
            return
        self._is_ended = True
        if not self._request(_DETACH):
            log.warning(
                "the mount could not be detached; if it stays: s3mount-clear %s", self._path
            )
        with contextlib.suppress(OSError):
            # not by close alone: the thread of an `unmount` may wait at the socket, and keep it
            # open
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()
        _wait_end(self._pid)

    def _request(self, command: bytes) -> bool:
        try:
            self._channel.send(command)
            return self._channel.recv(_REPLY_MAX) == _DONE
        except OSError:  # the helper was killed, or waits for a lock of the kernel
            return False


def _wait_end(pid: int) -> None:
    """Wait for the child's end, `_REPLY_TIMEOUT` at most: this process must not wait for ever."""
    with contextlib.suppress(OSError), closing(os.pidfd_open(pid)) as process:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.poll(_REPLY_TIMEOUT * 1000)
        os.waitpid(pid, os.WNOHANG)


def _run_helper(channel: socket.socket, mounter: KernelMounter, server: int) -> None:
    """Be the helper. Never returns: the child of a fork must not go on with the caller's work."""
    status = 1
    try:
        _restrict({channel.fileno(), *mounter.descriptors})
        _serve_commands(channel, mounter, server)
        status = 0
    finally:
        os._exit(status)


def _restrict(kept: Collection[int]) -> None:
    """Ignore the server's signals, and keep only what is needed."""
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    close_descriptors(kept={0, 1, 2, *kept})
    os.chdir("/")
    syscalls.name_process("s3mount-helper")
    syscalls.forbid_new_privileges()
    syscalls.bound_capabilities(_CAPABILITIES)
    syscalls.retain_capabilities(_CAPABILITIES)
    syscalls.forbid_dumps()


def _serve_commands(channel: socket.socket, mounter: KernelMounter, server: int) -> None:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    try:
        while True:
            if poll.poll(_CHECK_INTERVAL * 1000):
                command = channel.recv(1)
                if not command:
                    return
                _execute(command, channel, mounter)
            elif _is_dead(server):
                return
    except ConnectionError:
        return  # the server died with a reply of ours unread
    finally:
        mounter.detach()


def _is_dead(process: int) -> bool:
    """Whether the main thread of *process* has ended, although other threads may be stuck."""
    try:
        stat = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:  # hidden, or gone: then the socket closes
        return False
    return stat.rpartition(b") ")[2][:1] in (b"Z", b"X")  # proc_pid_stat(5)


def _execute(command: bytes, channel: socket.socket, mounter: KernelMounter) -> None:
    if command == _MOUNT:
        _mount(channel, mounter)
    elif command == _UNMOUNT:
        channel.send(_DONE if mounter.unmount() else _REFUSED)
    elif command == _DETACH:
        mounter.detach()
        channel.send(_DONE if mounter.is_gone else _REFUSED)


def _mount(channel: socket.socket, mounter: KernelMounter) -> None:
    try:
        mounted = mounter.mount()
    except SetupError as exc:
        channel.send(_REFUSED + os.fsencode(str(exc))[: _REPLY_MAX - 1])
        return
    descriptors = [
        fd for fd in (mounted.fuse_fd, mounted.root_fd, mounted.read_ahead_fd) if fd is not None
    ]
    try:
        socket.send_fds(channel, [_DONE], descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)

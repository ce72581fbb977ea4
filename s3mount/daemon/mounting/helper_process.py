"""The keeper: a small process that stays privileged, to mount, and to unmount whatever becomes of the process that serves.

Invariants: it is forked before privileges are dropped and before any thread is started; all it may do was fixed then; it takes
three words of one letter over a socket, and no argument; it mounts once; it unmounts nothing but that mount; it holds no descriptor of
the mount, so the mount never outlives its server; when the socket ends, whoever ended it, or the server was killed while a thread of it
waits in the kernel and keeps the socket open, it unmounts and exits. See docs/decisions/run-as.md.
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
from s3mount.daemon.mounting.mounters import AttachedMount, KernelMounter
from s3mount.daemon.mounting.path_resolution import closing
from s3mount.errors import SetupError

_MOUNT: Final = b"m"
_UNMOUNT: Final = b"u"
_DETACH: Final = b"d"
_DONE: Final = b"+"
_REFUSED: Final = b"-"
_REPLY_MAX: Final = 4096
_REPLY_WITHIN: Final = (
    10.0  # seconds; a system call or two, which may wait for a lock of the kernel's
)
_LOOKED_AT_EVERY: Final = 5.0  # seconds, at the server, which may be dead with its socket open
_NEEDED: Final = (
    syscalls.CAP_SYS_ADMIN,
    syscalls.CAP_DAC_READ_SEARCH,
)  # to mount, and to get to the place
_DEAF_TO: Final = (*signals.HEEDED, signal.SIGQUIT, signal.SIGTSTP, signal.SIGUSR2)

log = logging.getLogger(__name__)


class HelperMounter:
    """A Mounter that leaves the work to a keeper, which it starts; it may be used after privileges are dropped.

    The keeper alone has the descriptors of *mounter* from then on. Raises SetupError if there can be no process more.
    State: *_is_ended* once `detach` was called; the keeper is not asked any more.
    """

    def __init__(self, mounter: KernelMounter) -> None:
        self._path = mounter.path
        self._is_ended = False
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server = os.getpid()
        self._pid = fork()
        if self._pid == 0:
            _be_keeper(theirs, mounter, server)
        theirs.close()
        self._channel.settimeout(_REPLY_WITHIN)
        for (
            descriptor
        ) in mounter.descriptors:  # a directory that the user who serves may have no way to
            os.close(descriptor)

    def mount(self) -> AttachedMount:
        try:
            self._channel.send(_MOUNT)
            reply, descriptors, _, _ = socket.recv_fds(self._channel, _REPLY_MAX, 3)
        except OSError as exc:
            raise SetupError(f"the keeper of the mount does not answer: {exc}") from exc
        if reply[:1] != _DONE:
            raise SetupError(os.fsdecode(reply[1:]) or "the keeper of the mount died")
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return AttachedMount(*descriptors)

    def unmount(self) -> bool:
        return self._ask(_UNMOUNT)

    def detach(self) -> None:
        """And let the keeper go, which ends by itself once it is not needed."""
        if self._is_ended:
            return
        self._is_ended = True
        if not self._ask(_DETACH):
            log.warning(
                "the mount could not be taken away; if it stays: s3mount-clear %s", self._path
            )
        with contextlib.suppress(OSError):
            # not by close alone: the thread of an `unmount` may wait at the socket, and keep it open
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()
        _wait_end(self._pid)

    def _ask(self, word: bytes) -> bool:
        try:
            self._channel.send(word)
            return self._channel.recv(_REPLY_MAX) == _DONE
        except OSError:  # it was killed, and nothing can be unmounted any more; or it waits for a lock of the kernel's
            return False


def _wait_end(pid: int) -> None:
    """Until the child has ended, or `_REPLY_WITHIN` is over; the end of this process is not to wait for ever."""
    with contextlib.suppress(OSError), closing(os.pidfd_open(pid)) as process:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.poll(_REPLY_WITHIN * 1000)
        os.waitpid(pid, os.WNOHANG)


def _be_keeper(channel: socket.socket, mounter: KernelMounter, server: int) -> None:
    """Never returns: this is the other side of a fork, where nothing of the caller's may go on."""
    status = 1
    try:
        _settle({channel.fileno(), *mounter.descriptors})
        _keep(channel, mounter, server)
        status = 0
    finally:
        os._exit(status)


def _settle(kept: Collection[int]) -> None:
    """Signals are for the process that serves: Ctrl-C and a stop of the unit reach this one as well."""
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    close_descriptors(kept={0, 1, 2, *kept})
    os.chdir("/")
    syscalls.name_process("s3mount-keeper")
    syscalls.forbid_new_privileges()
    syscalls.bound_capabilities(_NEEDED)
    syscalls.retain_capabilities(_NEEDED)
    syscalls.forbid_dumps()


def _keep(channel: socket.socket, mounter: KernelMounter, server: int) -> None:
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    try:
        while True:
            if poll.poll(_LOOKED_AT_EVERY * 1000):
                word = channel.recv(1)
                if not word:
                    return
                _obey(word, channel, mounter)
            elif _is_dead(server):
                return
    except ConnectionError:
        return  # the server died with a word of ours unread
    finally:
        mounter.detach()


def _is_dead(process: int) -> bool:
    """Whether the main thread of *process* has ended, although others of its threads may not be able to."""
    try:
        state = (
            Path(f"/proc/{process}/stat").read_bytes().rpartition(b") ")[2][:1]
        )  # proc_pid_stat(5)
    except OSError:  # hidden, or gone: then the socket tells
        return False
    return state in (b"Z", b"X")


def _obey(word: bytes, channel: socket.socket, mounter: KernelMounter) -> None:
    if word == _MOUNT:
        _mount(channel, mounter)
    elif word == _UNMOUNT:
        channel.send(_DONE if mounter.unmount() else _REFUSED)
    elif word == _DETACH:
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

"""FUSE INIT handshake, with the flags and limits that libfuse does not request.

libfuse 3.14 (Debian 12) never requests FUSE_PARALLEL_DIROPS, whatever its documentation says, and
pyfuse3 cannot. Without it the kernel sends one LOOKUP or READDIR of a directory at a time: one slow
lookup keeps all other callers out of that directory. So this module amends libfuse's reply to INIT.
libfuse starts on one end of a socket pair, INIT and its reply pass through the other end, and then
the descriptor becomes that of /dev/fuse. Invariants:

1. The kernel gets one reply to INIT, before any other: libfuse's, with more of the offered flags.
2. When a task of pyfuse3 waits for the second request, the descriptor is that of /dev/fuse.
3. An unexpected first request, or an unexpected reply, is passed on unchanged.
"""

import contextlib
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import pyfuse3

log = logging.getLogger(__name__)

_pyfuse3: Final = vars(pyfuse3)  # pyfuse3 looks its functions up there at each call

# <linux/fuse.h>
_INIT: Final = 26
_PARALLEL_DIROPS: Final = 1 << 18
# len, opcode, unique, nodeid, uid, gid, pid, extensions, padding
_IN_HEADER: Final = struct.Struct("=IIQQIIIHH")
_INIT_IN: Final = struct.Struct("=IIII")  # major, minor, max_readahead, flags
_OUT_HEADER: Final = struct.Struct("=IiQ")  # len, error, unique
# major, minor, max_readahead, flags, max_background, congestion_threshold
_INIT_OUT: Final = struct.Struct("=IIIIHH")
_REQUEST_MAX: Final = 1 << 17  # bytes; the kernel wants room for the largest request, a write

# Reads that the kernel has in flight at once. Its default is 12: some of 16 readers at random would
# wait for the others, and slow reads of one user or bucket would block those of all.
BACKGROUND_MAX: Final = 256
CONGESTED_FROM: Final = 9  # reads in flight from which it skips readahead; the kernel's default


def amended(request: bytes, reply: bytes) -> bytes:
    """The *reply* to INIT with more reads in flight, and flags that *request* offers."""
    if (
        len(request) < _IN_HEADER.size + _INIT_IN.size
        or len(reply) < _OUT_HEADER.size + _INIT_OUT.size
    ):
        return reply
    opcode, error = _IN_HEADER.unpack_from(request)[1], _OUT_HEADER.unpack_from(reply)[1]
    if opcode != _INIT or error:
        return reply
    offered = _INIT_IN.unpack_from(request, _IN_HEADER.size)[3]
    major, minor, readahead, flags, _, _ = _INIT_OUT.unpack_from(reply, _OUT_HEADER.size)
    flags |= offered & _PARALLEL_DIROPS
    body = _INIT_OUT.pack(major, minor, readahead, flags, BACKGROUND_MAX, CONGESTED_FROM)
    return reply[: _OUT_HEADER.size] + body + reply[_OUT_HEADER.size + _INIT_OUT.size :]


class Handshake:
    """One INIT exchange on *fuse_fd*; create it before `pyfuse3.main`, and close it after.

    Raises OSError, without any effect, if there is no request yet or no free descriptor.
    """

    def __init__(self, fuse_fd: int) -> None:
        self._fuse_fd = fuse_fd
        self._wait_readable: Callable[[], Awaitable[bool]] = _pyfuse3["_wait_fuse_readable"]
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as undone:
            undone.enter_context(self._ours)
            self._kernel_fd = os.dup(fuse_fd)
            undone.callback(self.close)
            os.dup2(theirs.fileno(), fuse_fd, inheritable=False)
            # sent by the kernel at mount; read last, because it cannot be put back
            self._request = os.read(self._kernel_fd, _REQUEST_MAX)
            self._ours.send(self._request)
            undone.pop_all()
        _pyfuse3["_wait_fuse_readable"] = self._wait_second_request

    def close(self) -> None:
        """Restore the descriptor and pyfuse3, whether the exchange has ended or not."""
        if self._kernel_fd >= 0:
            _pyfuse3["_wait_fuse_readable"] = self._wait_readable
            os.dup2(self._kernel_fd, self._fuse_fd, inheritable=False)
            os.close(self._kernel_fd)
            self._kernel_fd = -1
            self._ours.close()

    async def _wait_second_request(self) -> bool:
        """Pass libfuse's reply to INIT on, then wait as pyfuse3 does.

        libfuse replies without a checkpoint after it has read the request.
        """
        try:
            reply = self._ours.recv(_REQUEST_MAX, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return await self._wait_readable()
        try:
            os.write(self._kernel_fd, amended(self._request, reply))
        except OSError as exc:  # already unmounted, as libfuse will find out
            log.debug("the kernel does not accept the reply to INIT: %s", exc)
        self.close()
        return await self._wait_readable()

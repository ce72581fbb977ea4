"""The INIT exchange with the kernel, and what libfuse leaves out of it.

libfuse 3.14, of Debian 12, never asks for FUSE_PARALLEL_DIROPS, whatever its documentation says, and pyfuse3 has no way to ask
for it. Without it the kernel sends one LOOKUP or READDIR of a directory at a time: whoever looks up a name that S3 is slow to
answer keeps everybody else out of that directory. So libfuse's reply to INIT is amended on its way: libfuse is started on one
end of a socket pair, INIT and its reply pass through the other, and then the descriptor becomes that of /dev/fuse.

Invariants:

1. The kernel gets one reply to INIT, before any other: libfuse's, with more flags, all of which the kernel offered.
2. When a task of pyfuse3 waits for the second request, the descriptor is that of /dev/fuse.
3. What is not as expected (the first request, or the reply) is passed on as it is.
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

_pyfuse3: Final = vars(pyfuse3)  # it looks its own functions up there at each call

# <linux/fuse.h>
_INIT: Final = 26
_PARALLEL_DIROPS: Final = 1 << 18
_IN_HEADER: Final = struct.Struct(
    "=IIQQIIIHH"
)  # len, opcode, unique, nodeid, uid, gid, pid, extensions, padding
_INIT_IN: Final = struct.Struct("=IIII")  # major, minor, max_readahead, flags
_OUT_HEADER: Final = struct.Struct("=IiQ")  # len, error, unique
_INIT_OUT: Final = struct.Struct(
    "=IIIIHH"
)  # major, minor, max_readahead, flags, max_background, congestion_threshold
_REQUEST_MAX: Final = (
    1 << 17
)  # bytes; the kernel wants room for the largest request, which is a write

BACKGROUND_MAX: Final = (
    256  # reads of all users that the kernel has sent at once; its own default is 12
)
CONGESTED_FROM: Final = (
    9  # from so many on, it leaves out readahead that nobody waits for; its own default
)


def amended(request: bytes, reply: bytes, *, is_shared: bool) -> bytes:
    """The *reply* to INIT, with what the kernel offers in *request* and libfuse leaves out; *is_shared* by several users."""
    if (
        len(request) < _IN_HEADER.size + _INIT_IN.size
        or len(reply) < _OUT_HEADER.size + _INIT_OUT.size
    ):
        return reply
    opcode, error = _IN_HEADER.unpack_from(request)[1], _OUT_HEADER.unpack_from(reply)[1]
    if opcode != _INIT or error:
        return reply
    offered = _INIT_IN.unpack_from(request, _IN_HEADER.size)[3]
    major, minor, readahead, flags, background, congested = _INIT_OUT.unpack_from(
        reply, _OUT_HEADER.size
    )
    if (
        is_shared
    ):  # or twelve slow reads of one user would keep the reads of all others in the kernel
        background, congested = BACKGROUND_MAX, CONGESTED_FROM
    body = _INIT_OUT.pack(
        major, minor, readahead, flags | (offered & _PARALLEL_DIROPS), background, congested
    )
    return reply[: _OUT_HEADER.size] + body + reply[_OUT_HEADER.size + _INIT_OUT.size :]


class Handshake:
    """One exchange over the descriptor *fuse_fd*, which stays libfuse's. To be made before `pyfuse3.main`, and closed after it.

    Raises OSError, with everything as it was, if there is no request yet, or no descriptor can be had.
    """

    def __init__(self, fuse_fd: int, *, is_shared: bool) -> None:
        self._fuse_fd = fuse_fd
        self._is_shared = is_shared
        self._wait_readable: Callable[[], Awaitable[bool]] = _pyfuse3["_wait_fuse_readable"]
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as undone:
            undone.enter_context(self._ours)
            self._kernel_fd = os.dup(fuse_fd)
            undone.callback(self.close)
            os.dup2(theirs.fileno(), fuse_fd, inheritable=False)
            # the kernel has sent it when it mounted; read last, for nothing can be put back
            self._request = os.read(self._kernel_fd, _REQUEST_MAX)
            self._ours.send(self._request)
            undone.pop_all()
        _pyfuse3["_wait_fuse_readable"] = self._wait_second_request

    def close(self) -> None:
        """Give back what the exchange has taken, whether it has come to its end or not."""
        if self._kernel_fd >= 0:
            _pyfuse3["_wait_fuse_readable"] = self._wait_readable
            os.dup2(self._kernel_fd, self._fuse_fd, inheritable=False)
            os.close(self._kernel_fd)
            self._kernel_fd = -1
            self._ours.close()

    async def _wait_second_request(self) -> bool:
        """As pyfuse3's, once libfuse has replied to INIT: it does so without a checkpoint after it has read it."""
        try:
            reply = self._ours.recv(_REQUEST_MAX, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return await self._wait_readable()
        try:
            os.write(self._kernel_fd, amended(self._request, reply, is_shared=self._is_shared))
        except OSError as exc:  # unmounted already, which libfuse shall find out
            log.debug("the kernel takes no reply to INIT: %s", exc)
        self.close()
        return await self._wait_readable()

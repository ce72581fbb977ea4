"""The loop that reads requests from the kernel, made to outlive what pyfuse3's takes for its end.

The kernel takes a request back if its caller is killed before it is read. If that happens after epoll has reported it, a blocking
read waits for the next request, and with it the whole event loop, for as long as no other comes. So the descriptor does not
block, and a read that finds nothing begins anew. The same holds where memory is short for a moment: libfuse has a buffer of
1 MiB for each request, and the mount would end with the first that cannot be had.
"""

import errno
import os
import select
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pyfuse3
import trio

from s3mount.fuse.handshake import Handshake

_pyfuse3 = vars(pyfuse3)  # it looks its own functions up there at each call

PAUSE = 0.1  # seconds until memory is asked for again


@contextmanager
def kernel_session(fuse_fd: int, *, is_shared: bool) -> Iterator[None]:
    """For the time of a block, `pyfuse3.main` serves *fuse_fd* without blocking; *is_shared*: for several users. INIT is to come."""
    loop, wait_readable = _pyfuse3["_session_loop"], _pyfuse3["_wait_fuse_readable"]
    readable = select.poll()
    readable.register(fuse_fd, select.POLLIN)

    async def read_requests(nursery: trio.Nursery, min_tasks: int, max_tasks: int) -> None:
        while True:
            try:
                await loop(nursery, min_tasks, max_tasks)
            except OSError as exc:
                if exc.errno not in (errno.EAGAIN, errno.ENOMEM):
                    raise
                await trio.sleep(PAUSE if exc.errno == errno.ENOMEM else 0)
            else:
                return

    async def wait_request() -> bool:
        # asked again, at once before it is read: a read of nothing costs pyfuse3's buffer, which it does not give back
        while await wait_readable():
            if readable.poll(0):
                return True
        return False

    os.set_blocking(fuse_fd, False)
    _pyfuse3.update(_session_loop=read_requests, _wait_fuse_readable=wait_request)
    try:
        with closing(Handshake(fuse_fd, is_shared=is_shared)):
            yield
    finally:
        _pyfuse3.update(_session_loop=loop, _wait_fuse_readable=wait_readable)

"""Request loop of the FUSE session, which survives errors that end pyfuse3's own loop.

The kernel withdraws a request if its caller is killed before it is read. If that happens after
epoll has reported the request, a blocking read blocks the whole event loop until the next request.
So the descriptor is non-blocking, and a read that finds nothing is tried again. So is a read for
which memory is short: libfuse allocates 1 MiB for each request, and a failure would end the mount.
A connection that ends while a request is read, by an unmount too, is ECONNABORTED instead of ENODEV
(fuse_dev_do_read in fs/fuse/dev.c).

This replaces functions of pyfuse3 that are not public. Invariant: if they, or the system, are not
as expected, pyfuse3 reads as it always does, and the mount is served all the same.
"""

import errno
import inspect
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from typing import Any, Final

import pyfuse3
import trio

from s3mount.fuse.handshake import Handshake
from s3mount.fuse.request_workers import RequestWorkers

log = logging.getLogger(__name__)

_pyfuse3: Final = vars(pyfuse3)  # pyfuse3 looks its functions up there at each call
_REPLACED: Final = {  # and their parameters
    "_session_loop": ("nursery", "min_tasks", "max_tasks"),
    "_wait_fuse_readable": (),
}
# ENOENT: the kernel withdrew the request while it was copied
_TRANSIENT: Final = (errno.EAGAIN, errno.ENOENT, errno.ENOMEM)

_NO_TASKS: Final = -(1 << 31)  # pyfuse3 starts none itself; it counts down with each that ends

PAUSE: Final = 0.1  # seconds after a lack of memory


@contextmanager
def kernel_session(fuse_fd: int) -> Iterator[None]:
    """Within the block, `pyfuse3.main` reads *fuse_fd* without blocking, from INIT on."""
    unknown = [name for name in _REPLACED if not _has_known_parameters(name)]
    if unknown:
        log.debug("unknown %s of pyfuse3: it reads requests as it does", " and ".join(unknown))
        yield
        return
    originals = {name: _pyfuse3[name] for name in _REPLACED}
    _pyfuse3.update(_Unblocked(fuse_fd, **originals).functions())
    try:
        with _handshake(fuse_fd):
            yield
    finally:
        _pyfuse3.update(originals)


def _has_known_parameters(name: str) -> bool:
    try:
        return tuple(inspect.signature(_pyfuse3[name]).parameters) == _REPLACED[name]
    except (KeyError, TypeError, ValueError):  # none, or the signature is unknown
        return False


def _handshake(fuse_fd: int) -> AbstractContextManager[object]:
    try:
        return closing(Handshake(fuse_fd))
    except OSError as exc:
        log.debug("libfuse's reply to INIT is not amended: %s", exc)
        return nullcontext()


class _Unblocked:
    """Replacements of pyfuse3's functions, for a non-blocking descriptor."""

    def __init__(self, fuse_fd: int, *, _session_loop: Any, _wait_fuse_readable: Any) -> None:
        self._loop = _session_loop
        self._workers = RequestWorkers(fuse_fd)
        os.set_blocking(fuse_fd, False)

    def functions(self) -> dict[str, Any]:
        return {
            "_session_loop": self._run_workers,
            "_wait_fuse_readable": self._workers.wait_request,
        }

    async def _run_workers(self, nursery: trio.Nursery, min_tasks: int, max_tasks: int) -> None:
        await self._workers.run(
            partial(self._read_requests, nursery, min_tasks), nursery, max_tasks
        )

    async def _read_requests(self, nursery: trio.Nursery, min_tasks: int) -> None:
        while True:
            try:
                await self._loop(nursery, min_tasks, _NO_TASKS)
            except OSError as exc:
                if exc.errno == errno.ECONNABORTED:
                    log.debug("the kernel has ended the connection while a request was read")
                    return
                if exc.errno not in _TRANSIENT:
                    raise
                if exc.errno == errno.ENOMEM:
                    self._workers.pause(PAUSE)
            else:
                return

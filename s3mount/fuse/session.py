"""The loop that reads requests from the kernel, made to outlive what pyfuse3's takes for its end.

The kernel takes a request back if its caller is killed before it is read. If that happens after epoll has reported it, a blocking
read waits for the next request, and with it the whole event loop, for as long as no other comes. So the descriptor does not
block, and a read that finds nothing begins anew. The same holds where memory is short for a moment: libfuse has a buffer of
1 MiB for each request, and the mount would end with the first that cannot be had.

Both replace functions of pyfuse3 that are not public. Invariant: where these, or the system, are not as expected, pyfuse3 reads as it
always did, and the mount is served all the same.
"""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any, Final

import pyfuse3
import trio

from s3mount.fuse.handshake import Handshake

log = logging.getLogger(__name__)

_pyfuse3: Final = vars(pyfuse3)  # it looks its own functions up there at each call
_REPLACED: Final = ("_session_loop", "_wait_fuse_readable")
_PASSING: Final = (
    errno.EAGAIN,
    errno.ENOENT,
    errno.ENOMEM,
)  # ENOENT: the kernel took the request back while it was copied

PAUSE: Final = 0.1  # seconds until memory is asked for again


@contextmanager
def kernel_session(fuse_fd: int, *, is_shared: bool) -> Iterator[None]:
    """For the time of a block, `pyfuse3.main` serves *fuse_fd* without blocking; *is_shared*: for several users. INIT is to come."""
    if not all(name in _pyfuse3 for name in _REPLACED):
        log.debug(
            "this pyfuse3 has no %s: requests are read as it reads them", " or ".join(_REPLACED)
        )
        yield
        return
    originals = {name: _pyfuse3[name] for name in _REPLACED}
    _pyfuse3.update(_Unblocked(fuse_fd, **originals).functions())
    try:
        with _handshake(fuse_fd, is_shared=is_shared):
            yield
    finally:
        _pyfuse3.update(originals)


def _handshake(fuse_fd: int, *, is_shared: bool) -> AbstractContextManager[object]:
    try:
        return closing(Handshake(fuse_fd, is_shared=is_shared))
    except OSError as exc:
        log.debug("libfuse's reply to INIT stays as it is: %s", exc)
        return nullcontext()


class _Unblocked:
    """pyfuse3's functions, with a descriptor that does not block. State: nothing is read before the moment *_resumes*."""

    def __init__(self, fuse_fd: int, *, _session_loop: Any, _wait_fuse_readable: Any) -> None:
        self._loop = _session_loop
        self._wait_readable = _wait_fuse_readable
        self._resumes: float | None = (
            None  # each failure to get memory has pyfuse3 start one more task
        )
        os.set_blocking(fuse_fd, False)

    def functions(self) -> dict[str, Any]:
        return {"_session_loop": self._read_requests, "_wait_fuse_readable": self._wait_request}

    async def _read_requests(self, *arguments: Any) -> None:
        while True:
            try:
                await self._loop(*arguments)
            except OSError as exc:
                if exc.errno not in _PASSING:
                    raise
                if exc.errno == errno.ENOMEM:
                    self._resumes = trio.current_time() + PAUSE
            else:
                return

    async def _wait_request(self) -> bool:
        # Whether there is a request still is not asked again: that costs 2 % of a walk, where a read of nothing costs one of
        # pyfuse3's buffers, which it does not give back, but of which no page was touched.
        while await self._wait_readable():
            if self._resumes is None or trio.current_time() >= self._resumes:
                self._resumes = None
                return True
            await trio.sleep_until(self._resumes)
        return False

"""Names that the kernel is to forget, told to it by a thread.

A notification may block: the kernel takes the directory's lock for it, which a readdir under way holds until it is answered. So
no request ever waits for one, and they go out one after another.
"""

import contextlib
import math

import pyfuse3
import trio

from s3mount.filesystem.entries import Entries


class Invalidations:
    """A queue of names, and the task that works it off; `is_busy` while a thread is in the kernel."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[tuple[int, Entries]](math.inf)
        self._is_ending = False
        self.is_busy = False

    def drop(self, parent: int, entries: Entries) -> None:
        """Have the kernel forget *entries* of the directory *parent*, soon."""
        self._send.send_nowait((parent, entries))

    async def run(self) -> None:
        """Work the queue off, until cancelled."""
        try:
            async for parent, entries in self._receive:
                await trio.to_thread.run_sync(self._invalidate, parent, entries, abandon_on_cancel=True)
        finally:
            self._is_ending = True

    def _invalidate(self, parent: int, entries: Entries) -> None:
        self.is_busy = True
        try:
            for index in range(len(entries)):
                if self._is_ending:
                    return
                with contextlib.suppress(OSError):  # ENOENT: the kernel has dropped it by itself
                    pyfuse3.invalidate_entry(pyfuse3.InodeT(parent), pyfuse3.FileNameT(entries.name(index)))
        finally:
            self.is_busy = False

"""Names that the kernel is to drop from its dentry cache, and the absent names that it keeps there.

A notification may block: the kernel takes the directory's lock for it, which lookups and readdirs under way hold until they are
answered. So no request ever waits for one: a thread sends them one after another. Invariants:

1. Every name given to `drop`, and every name, present or absent, that the kernel was told before `drop_all`, is dropped by a
   notification or has been dropped by the kernel itself. A failure only delays that.
2. At most NAMES_MAX names wait for their turn; a page of entries is one piece, however large. Beyond that they are given up for
   their directories: whatever the kernel then holds in these is dropped. Beyond DIRECTORIES_MAX of them, all it holds is.
3. At most ABSENT_MAX absent names are kept in the kernel at once; the lifetime of any other is 0 there.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pyfuse3
import trio

from s3mount.filesystem.listing.entry_page import EntryPage

NAMES_MAX: Final = 100_000  # a quarter of a second's work
BATCH: Final = 1000  # names that a thread is given at once, or one page if that is larger; a thread for each costs more than a name
DIRECTORIES_MAX: Final = 1000
ABSENT_MAX: Final = 10_000  # some 3 MB; as many as a directory keeps of single lookups
SLACK: Final = (
    1.0  # seconds that the kernel may keep a name beyond its lifetime, by its own rounding
)
PAUSE: Final = 1.0  # seconds after a failure

log = logging.getLogger(__name__)

Told = Callable[[float], Iterable[tuple[int, EntryPage]]]


class EntryInvalidator:
    """What is to be dropped, and the task that works it off; `is_busy` while a thread is in the kernel.

    *clock* is the tree's. A name is (inode of its directory, name).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # what waits: pages, of *_names* names together; single names; and directories of which all that was told by *_until*
        # is to go, or all directories. None of them lacks anything that was to be dropped.
        self._pages: deque[tuple[int, EntryPage]] = deque()
        self._names = 0
        self._singles: deque[tuple[int, bytes]] = deque()
        self._directories: set[int] = set()
        self._is_all = False
        self._until = 0.0
        # absent names that the kernel keeps, until which moment, nearly in the order of these
        self._absent: dict[tuple[int, bytes], float] = {}
        self._is_wanted = trio.Event()
        self._is_ending = False
        self.is_busy = False

    def drop(self, parent: int, entries: EntryPage) -> None:
        """Have the kernel forget *entries* of the directory *parent*, soon."""
        self._pages.append((parent, entries))
        self._names += len(entries)
        if self._names > NAMES_MAX and len(self._pages) > 1:
            self._directories.update(parent for parent, _ in self._pages)
            self._give_up_pages()
        self._is_wanted.set()

    def drop_all(self) -> None:
        """Have the kernel forget all that it was told before now, soon."""
        self._singles.extend(self._absent)
        self._absent.clear()
        self._is_all = True
        self._give_up_pages()
        self._is_wanted.set()

    def keep_absent(self, parent: int, name: bytes, valid_for: float) -> bool:
        """Note that the kernel keeps for *valid_for* seconds that there is no *name*; False if it must not, as it keeps too many."""
        now = self._clock()
        self._absent.pop((parent, name), None)
        while self._absent and next(iter(self._absent.values())) < now:
            del self._absent[next(iter(self._absent))]
        if len(self._absent) + len(self._singles) >= ABSENT_MAX:
            return False
        self._absent[parent, name] = now + valid_for + SLACK
        return True

    def end(self) -> None:
        """Begin nothing any more, and have a thread that is in the kernel stop after the name that it is at."""
        self._is_ending = True

    async def run(self, told: Told) -> None:
        """Work off what waits, until cancelled. *told* gives what the kernel was told until a moment, by directory."""
        has_failed = False
        while True:
            await self._is_wanted.wait()
            self._is_wanted = trio.Event()
            try:
                await self._work(told)
                has_failed = False
            except Exception:  # no thread can be started, for one
                if not has_failed:
                    log.exception("names were not dropped from the kernel, which is tried again")
                has_failed = True
                self._is_wanted.set()
                await trio.sleep(PAUSE)

    async def _work(self, told: Told) -> None:
        while True:
            if self._singles:
                await self._drop_singles()
            elif self._pages:
                await self._drop_pages()
            elif self._directories or self._is_all:
                await self._drop_directories(told)
            else:
                return

    async def _drop_singles(self) -> None:
        names = list(self._singles)
        await self._send(names)
        for _ in names:  # others may have come behind them
            self._singles.popleft()

    async def _drop_pages(self) -> None:
        pages = next(_batches(self._pages))
        for _, entries in pages:
            self._pages.popleft()
            self._names -= len(entries)
        try:
            await self._send(_names(pages))
        except Exception:
            for parent, entries in pages:
                self.drop(parent, entries)
            raise

    async def _drop_directories(self, told: Told) -> None:
        """Drop all that was told of some directories, or of all of them; those in the root first.

        With a directory, the kernel drops all that is not in use below it, and then has little left for the second round.
        """
        directories, is_all, until = self._directories, self._is_all, self._until
        self._directories, self._is_all = set(), False
        try:
            for is_first in (True, False) if is_all else (False,):
                wanted = {pyfuse3.ROOT_INODE} if is_first else directories
                for pages in _batches(
                    page for page in told(until) if page[0] in wanted or (is_all and not is_first)
                ):
                    await self._send(_names(pages))
        except Exception:
            self._directories |= directories
            self._is_all = self._is_all or is_all
            raise

    def _give_up_pages(self) -> None:
        self._until = self._clock()
        self._pages.clear()
        self._names = 0
        if len(self._directories) > DIRECTORIES_MAX:
            self._directories.clear()
            self._is_all = True

    async def _send(self, names: Iterable[tuple[int, bytes]]) -> None:
        if self._is_ending:
            return
        self.is_busy = True  # from here on, lest the session be closed before the thread has begun
        try:
            await trio.to_thread.run_sync(self._invalidate, names, abandon_on_cancel=True)
        except Exception:  # no thread has begun
            self.is_busy = False
            raise

    def _invalidate(self, names: Iterable[tuple[int, bytes]]) -> None:
        try:
            for parent, name in names:
                if self._is_ending:
                    return
                with contextlib.suppress(OSError):  # ENOENT: the kernel has dropped it by itself
                    pyfuse3.invalidate_entry(pyfuse3.InodeT(parent), pyfuse3.FileNameT(name))
        finally:
            self.is_busy = False


def _batches(pages: Iterable[tuple[int, EntryPage]]) -> Iterator[list[tuple[int, EntryPage]]]:
    """*pages* in their order, as many at a time as have BATCH names together; the last of them may have more."""
    batch: list[tuple[int, EntryPage]] = []
    names = 0
    for page in pages:
        batch.append(page)
        names += len(page[1])
        if names >= BATCH:
            yield batch
            batch, names = [], 0
    if batch:
        yield batch


def _names(pages: Iterable[tuple[int, EntryPage]]) -> Iterator[tuple[int, bytes]]:
    return (
        (parent, entries.name(index)) for parent, entries in pages for index in range(len(entries))
    )

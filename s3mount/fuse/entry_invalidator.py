"""Invalidation of the kernel's dentries, and the bound on its negative dentries.

A notification may block: the kernel takes the directory's lock for it, which lookups and readdirs
hold until they get their reply. So no request waits for a notification: a thread sends them, one
after another. Invariants:

1. Every name given to `drop`, and every dentry, positive or negative, that the kernel got before
   `drop_all`, is dropped by a notification or by the kernel itself. A failure only delays that.
2. At most NAMES_MAX names are queued; a page of entries is not split, however large. Beyond that,
   their directories are queued instead: all dentries that the kernel then has in them are dropped.
   Beyond DIRECTORIES_MAX directories, or SEARCHES_MAX searches for names, all dentries are.
3. The kernel has at most ABSENT_MAX negative dentries at once; any other has a TTL of 0.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import pyfuse3
import trio

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.time_slice import TimeSlice

NAMES_MAX: Final = 100_000  # a quarter of a second's work
BATCH: Final = 1000  # names for one call of a thread, since a call costs more than a name
DIRECTORIES_MAX: Final = 1000
SEARCHES_MAX: Final = 100
ABSENT_MAX: Final = 10_000  # some 3 MB; as many as a directory keeps of single lookups
SLACK: Final = 1.0  # seconds by which the kernel may exceed a TTL, because it rounds
PAUSE: Final = 1.0  # seconds after a failure

log = logging.getLogger(__name__)

# pages that the kernel refers to, requested up to a time, with their directories; None for each
# other page that was looked at
ReferencedPages = Callable[[float], Iterable[tuple[int, EntryPage] | None]]


class EntryInvalidator:
    """Queue of dentries to drop, and the task that drops them; *clock* is the tree's.

    `is_busy` while a thread is in the kernel.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # The queue: pages, with *_name_count* names in all; single names, each with its directory;
        # and directories (or all of them) of which every dentry given until *_until* is dropped.
        self._pages: deque[tuple[int, EntryPage]] = deque()
        self._name_count = 0
        self._searches: deque[Iterator[list[tuple[int, EntryPage]]]] = deque()  # batches to come
        self._singles: deque[tuple[int, bytes]] = deque()
        self._directories: set[int] = set()
        self._is_all = False
        self._until = 0.0
        # negative dentries of the kernel and when they expire, nearly sorted by that
        self._absent: dict[tuple[int, bytes], float] = {}
        self._has_work = trio.Event()
        self._is_working = False  # from when it is seen that there is work, until all of it is done
        self._waiting = trio.lowlevel.ParkingLot()
        self._is_ending = False
        self.is_busy = False

    def drop(self, parent: int, entries: EntryPage) -> None:
        """Have the kernel drop *entries* of the directory *parent*, soon."""
        self._pages.append((parent, entries))
        self._name_count += len(entries)
        if self._name_count > NAMES_MAX and len(self._pages) > 1:
            self._directories.update(parent for parent, _ in self._pages)
            self._clear_pages()
        self._has_work.set()

    def drop_each(self, pages: Iterable[tuple[int, EntryPage] | None]) -> None:
        """`drop` of each of *pages*, which are looked at soon, and not queued."""
        if len(self._searches) >= SEARCHES_MAX:
            self.drop_all()
            return
        self._searches.append(_batches(pages))
        self._has_work.set()

    def drop_name(self, parent: int, name: bytes) -> None:
        """Have the kernel drop *name* in the directory *parent*, and all negative dentries, soon.

        Those of one subtree would cost more to find than to drop: there are few.
        """
        self._singles.append((parent, name))
        self._drop_absent()
        self._has_work.set()

    def drop_all(self) -> None:
        """Have the kernel drop all dentries that it has now, soon."""
        self._drop_absent()
        self._is_all = True
        self._searches.clear()
        self._clear_pages()
        self._has_work.set()

    @staticmethod
    def expire_attributes(inode: int) -> None:
        """Have the kernel ask for the attributes of *inode* again, from now on.

        It takes no lock that a request holds, so it does not block (fs/fuse/inode.c,
        fuse_reverse_inval_inode with a negative offset).
        """
        with contextlib.suppress(OSError):  # ENOENT: the kernel has no such inode
            pyfuse3.invalidate_inode(pyfuse3.InodeT(inode), attr_only=True)

    def add_absent(self, parent: int, name: bytes, valid_for: float) -> bool:
        """Record a negative dentry of *valid_for* seconds; False if the kernel has too many."""
        now = self._clock()
        self._absent.pop((parent, name), None)
        while self._absent and next(iter(self._absent.values())) < now:
            del self._absent[next(iter(self._absent))]
        if len(self._absent) + len(self._singles) >= ABSENT_MAX:
            return False
        self._absent[parent, name] = now + valid_for + SLACK
        return True

    def end(self) -> None:
        """Start no more notifications; a running thread stops after its current name."""
        self._is_ending = True

    async def wait_dropped(self, most: float) -> bool:
        """Wait until the kernel has dropped all that it was told to; False after *most* seconds."""
        with trio.move_on_after(most) as patience:
            if self._has_work.is_set() or self._is_working:
                await self._waiting.park()
        return not patience.cancelled_caught

    async def run(self, referenced: ReferencedPages) -> None:
        """Work off the queue until cancelled."""
        has_failed = False
        while True:
            await self._has_work.wait()
            self._has_work, self._is_working = trio.Event(), True
            try:
                await self._work(referenced)
                has_failed = self._is_working = False
                self._waiting.unpark_all()
            except Exception:  # for instance, no thread can be started
                if not has_failed:
                    log.exception("names were not dropped from the kernel; trying again")
                has_failed = True
                self._has_work.set()
                await trio.sleep(PAUSE)

    async def _work(self, referenced: ReferencedPages) -> None:
        while True:
            if self._singles:
                await self._drop_singles()
            elif self._pages:
                await self._drop_pages()
            elif self._searches:
                await self._drop_found()
            elif self._directories or self._is_all:
                await self._drop_directories(referenced)
            else:
                return

    async def _drop_singles(self) -> None:
        names = list(self._singles)
        await self._send(names)
        for _ in names:  # more may have been added since
            self._singles.popleft()

    async def _drop_pages(self) -> None:
        pages = next(_batches(self._pages))
        for _, entries in pages:
            self._pages.popleft()
            self._name_count -= len(entries)
        try:
            await self._send(_names(pages))
        except Exception:  # raised again, with the names back in the queue
            for parent, entries in pages:
                self.drop(parent, entries)
            raise

    async def _drop_found(self) -> None:
        """Drop one batch of what the first search finds."""
        pages = next(self._searches[0], None)
        if pages is None:
            self._searches.popleft()
            return
        try:
            await self._send_or_yield(pages)
        except Exception:  # raised again, with the names back in the queue
            for parent, entries in pages:
                self.drop(parent, entries)
            raise

    async def _drop_directories(self, referenced: ReferencedPages) -> None:
        """Drop all dentries in the queued directories; if in all of them, those in the root first.

        With a directory, the kernel drops what is unused below it, so the second round is short.
        """
        directories, is_all, until = self._directories, self._is_all, self._until
        self._directories, self._is_all = set(), False
        try:
            for is_first in (True, False) if is_all else (False,):
                wanted = {pyfuse3.ROOT_INODE} if is_first else directories
                every = is_all and not is_first
                for batch in _batches(referenced(until)):
                    await self._send_or_yield(
                        [page for page in batch if every or page[0] in wanted]
                    )
        except Exception:  # raised again, with the directories back in the queue
            self._directories |= directories
            self._is_all = self._is_all or is_all
            raise

    def _drop_absent(self) -> None:
        self._singles.extend(self._absent)
        self._absent.clear()

    def _clear_pages(self) -> None:
        """Clear the queue of pages, whose directories are queued instead."""
        self._until = self._clock()
        self._pages.clear()
        self._name_count = 0
        if len(self._directories) > DIRECTORIES_MAX:
            self._directories.clear()
            self._is_all = True

    async def _send_or_yield(self, pages: Sequence[tuple[int, EntryPage]]) -> None:
        """`_send` the names of *pages*; without any a checkpoint, as finding out took its time."""
        if pages:
            await self._send(_names(pages))
        else:
            await trio.lowlevel.checkpoint()

    async def _send(self, names: Iterable[tuple[int, bytes]]) -> None:
        if self._is_ending:
            await trio.lowlevel.checkpoint()
            return
        self.is_busy = True  # from here on, or the session is closed before the thread has started
        try:
            await trio.to_thread.run_sync(self._invalidate, names, abandon_on_cancel=True)
        except Exception:  # no thread has started
            self.is_busy = False
            raise

    def _invalidate(self, names: Iterable[tuple[int, bytes]]) -> None:
        try:
            for parent, name in names:
                if self._is_ending:
                    return
                with contextlib.suppress(OSError):  # ENOENT: the kernel has dropped it itself
                    pyfuse3.invalidate_entry(pyfuse3.InodeT(parent), pyfuse3.FileNameT(name))
        finally:
            self.is_busy = False


def _batches(
    pages: Iterable[tuple[int, EntryPage] | None],
) -> Iterator[list[tuple[int, EntryPage]]]:
    """Batches of *pages*, in order: each ends once it has BATCH names, or a time slice is over."""
    batch: list[tuple[int, EntryPage]] = []
    names, current = 0, TimeSlice()
    for page in pages:
        if page is not None:
            batch.append(page)
            names += len(page[1])
        if names >= BATCH or current.is_over:
            yield batch
            batch, names, current = [], 0, TimeSlice()
    if batch:
        yield batch


def _names(pages: Iterable[tuple[int, EntryPage]]) -> Iterator[tuple[int, bytes]]:
    return (
        (parent, entries.name(index)) for parent, entries in pages for index in range(len(entries))
    )

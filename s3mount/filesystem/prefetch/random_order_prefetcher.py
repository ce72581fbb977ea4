"""Prefetch of small files that are opened once each, in no order.

The first epoch of a training loop opens every file of some directories, at random. So whichever
files of these are prefetched, they will be opened. A reader that chooses files looks the same at
first. What is prefetched in vain for it is bounded by what it read, and its choice ends the run.

Pure. Invariants, at every moment, whatever is opened and read:

1. The files that were prefetched in a run and not read are at most `UNREAD_FILES` for each file
   read in it, and have at most `UNREAD_BYTES` for each byte of these files.
2. No file is prefetched twice in a run, nor one that was opened in it.
3. Each file prefetched is small, may be prefetched, and is in a directory known whole, in which a
   file was opened. All that is left to read of these directories fits into the memory for it, so
   that no file is evicted before it is read.
4. A run ends when a file is opened again, but soon after, or when fewer files prefetched are opened
   than by chance. If they were prefetched in vain, the next run begins after more opens each time.

The bytes of a file count as read once some are read by the kernel: what it has cached is no reason
to fetch more. So a second epoch from the kernel's page cache prefetches nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.prefetch.policy import SMALL, PrefetchPolicy
from s3mount.filesystem.prefetch.random_order_detector import RandomOrderDetector
from s3mount.filesystem.prefetch.traversal_order import EntryRef

UNREAD_FILES: Final = 2  # for each file read
UNREAD_BYTES: Final = 1.5  # for each byte of files read
TRACKED_MAX: Final = 100_000  # files of a run, and entries of its directories
REOPENED_WITHIN: Final = 64  # opens, in which a program may open a file again to decode it
EXPECTED_MIN: Final = 8  # hits expected by chance before fewer are a sign of choice
HIT_RATIO_MIN: Final = 0.25  # of those
PAUSE_MIN: Final = 64  # opens after the first run in vain
PAUSE_MAX: Final = 1 << 14
MEMORY_SHARE: Final = 2  # such a part of the memory has to hold all that is left to read
FILE_SHARE: Final = 8  # such a part may be one file: a larger one is not fetched whole
AHEAD_MAX: Final = 64  # files for one open: fewer than prefetches that may be in flight
_TRIES = 8  # files that may be too large for what is left of the bound

PagesOf = Callable[[str, int], Sequence[EntryPage] | None]
MayPrefetch = Callable[[EntryPage, int], bool]


class _Directory:
    """A directory known whole, with *files*: those of its small files that were not opened.

    *file_count* and *octets* are of these at any time, *candidates* may be out of date.
    """

    def __init__(self, pages: Sequence[EntryPage], files: list[EntryRef]) -> None:
        self.pages = pages
        self.candidates = deque(files)
        self.file_count = len(files)
        self.octets = sum(page.sizes[at] for page, at in files)


class _Run:
    """Opens since the last ones in order or the last choice, and what was prefetched for them."""

    def __init__(self) -> None:
        self.opened: dict[int, int] = {}  # how many files were opened before, by inode number
        self._read: set[int] = set()
        self._octets_read = 0
        self._unread: dict[int, int] = {}  # bytes prefetched, by inode number
        self._octets_unread = 0
        # By prefix, directories with opened files: all, and those that may have candidates. Their
        # entries are counted, and of the files that were not opened the number and the bytes.
        self.directories: dict[str, _Directory] = {}
        self.unfinished: dict[str, None] = {}
        self.entry_count = 0
        self.file_count = 0
        self.octets = 0
        self.prefetched = 0
        self.hits = 0
        self._hits_expected = 0.0

    def record_open(self, prefix: str, inode: int, size: int) -> None:
        """Record the first open of a file in this run."""
        self.opened[inode] = len(self.opened)
        self.hits += inode in self._unread
        directory = self.directories.get(prefix)
        if directory is not None:
            self._hits_expected += len(self._unread) / max(1, self.file_count)
            self._count(directory, -1, -size)

    def record_read(self, inode: int, size: int) -> None:
        """Record that bytes of an open file were read."""
        if inode in self._read or inode not in self.opened:
            return
        self._read.add(inode)
        self._octets_read += size
        self._octets_unread -= self._unread.pop(inode, 0)

    def record_prefetch(self, inode: int, size: int) -> None:
        self._unread[inode] = size
        self._octets_unread += size
        self.prefetched += 1

    def add(self, prefix: str, directory: _Directory) -> None:
        self.directories[prefix] = directory
        self.unfinished[prefix] = None
        self.entry_count += sum(map(len, directory.pages))
        self.file_count += directory.file_count
        self.octets += directory.octets

    def remove(self, prefix: str) -> None:
        directory = self.directories.pop(prefix)
        self.unfinished.pop(prefix, None)
        self.entry_count -= sum(map(len, directory.pages))
        self._count(directory, -directory.file_count, -directory.octets)

    def is_candidate(self, inode: int) -> bool:
        return inode not in self.opened and inode not in self._unread

    def has_room(self, size: int = 0) -> bool:
        """Whether the bounds permit to prefetch one more file, of *size* bytes."""
        if len(self._unread) >= UNREAD_FILES * len(self._read):
            return False
        return self._octets_unread + size <= UNREAD_BYTES * self._octets_read

    @property
    def is_choice(self) -> bool:
        """Whether the reader opens far fewer of the files prefetched than by chance."""
        expected = self._hits_expected
        return expected >= EXPECTED_MIN and self.hits < expected * HIT_RATIO_MIN

    @property
    def was_in_vain(self) -> bool:
        return self.hits * 2 < self.prefetched

    def _count(self, directory: _Directory, files: int, octets: int) -> None:
        directory.file_count += files
        directory.octets += octets
        self.file_count += files
        self.octets += octets


class RandomOrderPrefetcher(PrefetchPolicy):
    """Prefetcher of the small files of directories whose files are opened once each at random.

    *pages_of* returns the pages of a directory if all entries are known, and are at most so many.
    *may_prefetch* tells whether a file may be prefetched at all. Blocks have a memory of
    *memory_limit* bytes.
    """

    def __init__(self, pages_of: PagesOf, may_prefetch: MayPrefetch, memory_limit: int) -> None:
        self._pages_of = pages_of
        self._may_prefetch = may_prefetch
        self._memory = memory_limit // MEMORY_SHARE
        self._small = min(SMALL, memory_limit // FILE_SHARE)
        # the run of now; the opens until the next one may prefetch, and the last such pause
        self._detector = RandomOrderDetector()
        self._run = _Run()
        self._paused = 0
        self._pause = 0

    def on_open(self, page: EntryPage, index: int) -> Iterator[EntryRef]:
        size = page.sizes[index]
        if 0 < size <= self._small and self._records_open(page, index, size):
            return self._next_files(page.prefix)
        return iter(())

    def on_read(self, inode: int, size: int) -> None:
        if 0 < size <= self._small:
            self._run.record_read(inode, size)

    def _records_open(self, page: EntryPage, index: int, size: int) -> bool:
        """Whether files are to be prefetched for the reader of this one."""
        detector = self._detector
        detector.record_open(page, index)
        run, inode = self._run, page.inode(index)
        if detector.is_ordered:
            if run.opened:
                self._run = _Run()
            return False
        before = run.opened.get(inode)
        if before is not None:
            if len(run.opened) - before > REOPENED_WITHIN:
                self._end_run()
            return False
        run.record_open(page.prefix, inode, size)
        if run.is_choice or len(run.opened) > TRACKED_MAX:
            self._end_run()
        self._paused = max(0, self._paused - 1)
        return self._run is run and detector.is_random and not self._paused

    def _end_run(self) -> None:
        run = self._run
        if run.prefetched:
            longer = min(PAUSE_MAX, max(PAUSE_MIN, self._pause * 2))
            self._pause = self._paused = longer if run.was_in_vain else 0
        self._run = _Run()
        self._detector.reset()

    def _next_files(self, prefix: str) -> Iterator[EntryRef]:
        """Files of the directory *prefix*, then of others."""
        run, tries = self._run, _TRIES
        most = run.prefetched + AHEAD_MAX
        self._current(prefix)
        while tries and run.prefetched < most and run.has_room() and run.octets <= self._memory:
            directory = self._with_candidates(prefix)
            if directory is None:
                return
            page, at = candidate = directory.candidates[0]
            inode, size = page.inode(at), page.sizes[at]
            if not run.is_candidate(inode) or not self._may_prefetch(page, at):
                directory.candidates.popleft()
            elif run.has_room(size):
                yield candidate  # the caller stops here if there is no room
                directory.candidates.popleft()
                run.record_prefetch(inode, size)
            else:
                directory.candidates.rotate(-1)
                tries -= 1

    def _with_candidates(self, prefix: str) -> _Directory | None:
        """The directory *prefix*, or another one if it has no candidates; None if none has."""
        unfinished = self._run.unfinished
        while unfinished:
            if prefix not in unfinished:
                prefix = next(iter(unfinished))
            directory = self._current(prefix)
            if directory is not None and directory.candidates:
                return directory
            unfinished.pop(prefix, None)
        return None

    def _current(self, prefix: str) -> _Directory | None:
        """The directory *prefix* as it is known now; None if it is not known, or too large."""
        run = self._run
        pages = self._pages_of(prefix, TRACKED_MAX)
        counted = run.directories.get(prefix)
        if counted is not None:
            if counted.pages is pages:
                return counted
            run.remove(prefix)
        if pages is None or run.entry_count + sum(map(len, pages)) > TRACKED_MAX:
            return None
        directory = _Directory(pages, self._unopened_files(pages))
        run.add(prefix, directory)
        return directory

    def _unopened_files(self, pages: Sequence[EntryPage]) -> list[EntryRef]:
        opened, small = self._run.opened, self._small
        return [
            EntryRef(page, at)
            for page in pages
            for at, size in enumerate(page.sizes)
            if 0 < size <= small and page.inode(at) not in opened
        ]

"""Fetcher of files into block memory: the pieces of one file after another, some at once.

Invariants:

1. A file begins only if there is room for all that is missing of it, and files begin in order. One
   that does not fit is counted, and smaller ones after it may.
2. At most *jobs* pieces are in flight, so no more files are.
3. A file that failed is counted once, and its other pieces are not fetched. One whose version GET
   denies is not counted yet. Others go on, unless the store seems to be away.
4. However it ends, no file stays open.
5. Files that need no request are gone through some at once, with a checkpoint after them, so that
   readers go first.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple, Protocol

import trio

from s3mount.errors import Archived, S3MountError, StaleVersion
from s3mount.filesystem.warming.warm_counts import OutageDetector, WarmCounts
from s3mount.s3.model import ByteRange, ObjectVersion

AT_ONCE: Final = 100  # files between two checkpoints: a few milliseconds at most


class Missing(Protocol):
    """Part of an object that no block holds: its bytes, requests for it, and memory it takes."""

    @property
    def octets(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def memory(self) -> int: ...


class WarmObject(Protocol):
    """One version while it is fetched, by *pieces*."""

    @property
    def pieces(self) -> Sequence[ByteRange]: ...
    async def fetch(self, piece: ByteRange) -> int | None:
        """Fetch what is missing of *piece*; its bytes, or None if there is no memory for it."""
        ...

    def close(self) -> None: ...


class BlockMemory(Protocol):
    """Memory of blocks; see `cache.warm_fetcher`."""

    def missing(self, version: ObjectVersion) -> Missing: ...
    def find_room(self) -> int: ...
    def make_room(self, length: int) -> bool: ...
    def forget_room(self) -> None: ...
    def open(self, version: ObjectVersion) -> WarmObject: ...


class Denied(NamedTuple):
    """A version that a GET denied, and how."""

    version: ObjectVersion
    error: StaleVersion


class _File:
    """One file while it is fetched."""

    def __init__(self, version: ObjectVersion, octets: int, content: WarmObject) -> None:
        self.version = version
        self.octets = octets  # that were missing
        self.content = content
        self.in_flight = 0
        self.has_begun_all = False
        self.is_cut = False  # memory was too little after all
        self.error: S3MountError | None = None

    @property
    def is_over(self) -> bool:
        return self.is_cut or self.error is not None


class FileFetcher:
    """Fetches versions into *memory*; paths in *counts* are relative to *root*."""

    def __init__(
        self, memory: BlockMemory, root: str, counts: WarmCounts, outage: OutageDetector
    ) -> None:
        self._memory = memory
        self._root = root
        self._counts = counts
        self._outage = outage
        self._open: set[_File] = set()
        self._denied: list[Denied] = []

    async def run(self, versions: Iterable[ObjectVersion], jobs: int) -> list[Denied]:
        """Fetch what is missing of *versions*; those that GET denied."""
        rest = iter(versions)
        pieces = self._each_piece(rest)
        interrupted: list[_File] = []
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(jobs):
                    nursery.start_soon(self._work, pieces, nursery.cancel_scope)
        finally:
            while self._open:
                interrupted.append(self._open.pop())
                interrupted[-1].content.close()
        if self._outage.is_away:
            failed = ((file.version, file.error) for file in interrupted)
            await self._give_up(chain(failed, ((version, None) for version in rest)))
        denied, self._denied = self._denied, []
        return denied

    async def _work(
        self, pieces: Iterator[tuple[_File, ByteRange] | None], scope: trio.CancelScope
    ) -> None:
        for piece in pieces:
            if piece is None:
                await trio.lowlevel.checkpoint()
                continue
            await self._fetch(*piece)
            if self._outage.is_away:
                scope.cancel()

    def _each_piece(
        self, versions: Iterable[ObjectVersion]
    ) -> Iterator[tuple[_File, ByteRange] | None]:
        """The pieces of all files that fit, in order; None when it is time for a checkpoint.

        Each piece counts as in flight.
        """
        for number, version in enumerate(versions, 1):
            missing = self._memory.missing(version)
            if not missing.octets:  # a reader has fetched it meanwhile
                self._counts.add_already()
            elif not self._memory.make_room(missing.memory):
                self._counts.add_unfit(missing.octets)
            else:
                file = _File(version, missing.octets, self._memory.open(version))
                self._open.add(file)
                yield from self._pieces_of(file)
            if number % AT_ONCE == 0:
                yield None

    def _pieces_of(self, file: _File) -> Iterator[tuple[_File, ByteRange]]:
        self._counts.path = file.version.key[len(self._root) :]
        for piece in file.content.pieces:
            if file.is_over:
                break
            file.in_flight += 1
            yield file, piece
        file.has_begun_all = True
        self._end_if_over(file)

    async def _fetch(self, file: _File, piece: ByteRange) -> None:
        try:
            fetched = await file.content.fetch(piece)
        except S3MountError as exc:
            file.error = file.error or exc
            self._outage.note_failure(exc)
        else:
            if fetched is None:
                file.is_cut = True
            else:
                self._outage.note_success()
                self._counts.done_octets += fetched
                self._counts.fetched_octets += fetched
        file.in_flight -= 1
        self._end_if_over(file)

    def _end_if_over(self, file: _File) -> None:
        if file.in_flight or not file.has_begun_all or file not in self._open:
            return
        self._open.remove(file)
        file.content.close()
        if isinstance(file.error, StaleVersion):
            self._denied.append(Denied(file.version, file.error))
            return
        self._counts.done_files += 1
        if isinstance(file.error, Archived):  # of Intelligent-Tiering: nothing told it before
            self._counts.add_archived(file.octets)
        elif file.error is not None:
            self._counts.add_failure(file.version.key[len(self._root) :], file.error)
        elif file.is_cut:
            self._counts.add_unfit(file.octets)
        else:
            self._counts.fetched_files += 1

    async def _give_up(self, failed: Iterable[tuple[ObjectVersion, S3MountError | None]]) -> None:
        """Count as failed what was not fetched when the store went away."""
        for number, (version, error) in enumerate(failed, 1):
            if number % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if self._memory.missing(version).octets:
                failure = error or self._outage.error
                self._counts.add_failure(version.key[len(self._root) :], failure)
            else:  # a reader has fetched it, or it came before it was cancelled
                self._counts.add_already()

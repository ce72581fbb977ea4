"""Checker of files that may be archived, before a warm-up plans to fetch them: one HEAD each.

A listing does not tell whether a file is restored, and a GET of an archived one is refused.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence

import trio

from s3mount.errors import S3MountError, StoreError
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.warming.warm_counts import OutageDetector, WarmCounts
from s3mount.s3.model import ObjectVersion

File = tuple[EntryPage, int]
"""A file, as an entry of a page."""


class RestoreChecker:
    """Checks by *is_archived*; paths in *counts* are relative to *root*."""

    def __init__(
        self,
        is_archived: Callable[[ObjectVersion], Awaitable[bool]],
        root: str,
        counts: WarmCounts,
        outage: OutageDetector,
    ) -> None:
        self._is_archived = is_archived
        self._root = root
        self._counts = counts
        self._outage = outage

    async def readable(self, files: Sequence[File], jobs: int) -> list[File]:
        """Those of *files* that can be read, in order; counts the others. *jobs* at once."""
        found: list[File | None] = [None] * len(files)
        rest = iter(enumerate(files))
        async with trio.open_nursery() as nursery:
            for _ in range(min(jobs, len(files))):
                nursery.start_soon(self._work, rest, found)
        return [file for file in found if file is not None]

    async def _work(self, rest: Iterator[tuple[int, File]], found: list[File | None]) -> None:
        for number, (page, index) in rest:
            version = page.version(index)
            path = version.key[len(self._root) :]
            if self._outage.is_away:
                away = StoreError("not fetched, since the store failed too often in a row")
                self._counts.add_failure(path, away)
                continue
            try:
                is_archived = await self._is_archived(version)
            except S3MountError as exc:
                self._outage.note_failure(exc)
                self._counts.add_failure(path, exc)
                continue
            self._outage.note_success()
            self._counts.path = path
            if is_archived:
                self._counts.add_archived(version.size)
            else:
                found[number] = page, index

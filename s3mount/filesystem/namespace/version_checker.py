"""Checker of versions that the store denies: was the object replaced, or does the store err?

Asks the store without a condition, and decides by its responses (`corrections`). Corrects entries
in place. Invariants:

1. An entry is corrected only while the kernel has no bytes of it. What a reader has had of one
   version is never followed by bytes of another.
2. The kernel asks for the attributes of a corrected inode before it gets any of its bytes.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import trio

from s3mount.errors import S3MountError
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.single_flight import SingleFlight
from s3mount.filesystem.namespace.corrections import (
    Corrections,
    Responses,
    actual_stat,
    is_size_confirmed,
)
from s3mount.filesystem.namespace.inode_table import InodeTable
from s3mount.filesystem.namespace.kernel_references import KernelCache
from s3mount.filesystem.namespace.ttl_policy import StrictClock
from s3mount.s3.model import ListQuery, ObjectStat, ObjectVersion, Reason
from s3mount.s3.object_store import ObjectStore

log = logging.getLogger(__name__)


class VersionChecker:
    """Checks versions with *store*, once for all callers of a version at a time."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        clock: StrictClock,
        inodes: InodeTable,
        kernel: KernelCache,
    ) -> None:
        self.corrections = Corrections()
        self._store = store
        self._inodes = inodes
        self._kernel = kernel
        self._calls: SingleFlight[ObjectVersion, ObjectStat | None] = SingleFlight(
            nursery, clock.tick
        )

    async def find_actual(self, version: ObjectVersion, mtime_ns: int) -> ObjectStat | None:
        """What an object is whose *version* was denied; None if it was replaced.

        The same if GET does not deny it any more. Raises what GET fails with.
        """
        entry = ObjectStat(version, mtime_ns)
        return await self._calls.join(version, -math.inf, partial(self._find_actual, entry))

    async def is_archived(self, version: ObjectVersion) -> bool:
        """Whether the object of *version* has to be restored before it can be read. One HEAD."""
        return (await self._store.head(version.key, Reason.RESTORE)).is_archived

    def correct(self, inode: int, stat: ObjectStat) -> None:
        """Make the file *inode*, of whose bytes the kernel has none, the version of *stat*."""
        page, index = self._inodes.resolve(inode)
        self._log(page, index, stat)
        self.corrections.add(page, index, stat)
        self._kernel.expire_attributes(inode)

    def correct_entry(self, page: EntryPage, index: int, stat: ObjectStat) -> None:
        """Make an entry the version of *stat*; if the kernel has it, once that opens it."""
        self._log(page, index, stat)
        self.corrections.remember(page, index, stat)
        self.apply(page, index)

    def version(self, page: EntryPage, index: int) -> ObjectVersion:
        """The version whose bytes an open of the entry will read, as far as that is known."""
        if self.corrections:
            self.apply(page, index)
            stat = self.corrections.find(page, index)
            if stat is not None:
                return stat.version.doubted()
        return page.version(index)

    def apply(self, page: EntryPage, index: int) -> None:
        """Correct an entry as another one was that told the same, unless the kernel has it."""
        if not self.corrections:
            return
        stat = self.corrections.find(page, index)
        if stat is not None and not self._inodes.stands_for(page, index):
            page.correct(index, stat)

    def _log(self, page: EntryPage, index: int, stat: ObjectStat) -> None:
        log.log(
            logging.DEBUG if self.corrections else logging.INFO,
            "the store describes %r otherwise than GET does: %d bytes are %d; GET is believed",
            page.key(index),
            page.sizes[index],
            stat.version.size,
        )

    async def _find_actual(self, entry: ObjectStat) -> ObjectStat | None:
        key = entry.version.key
        got = await self._store.head_by_get(key)
        if got.version.is_same(entry.version):
            if not got.version.size:
                self.corrections.has_empty_file = True
            return got
        told = await self._ask(got)
        stat = actual_stat(entry, told)
        if stat is not None and not is_size_confirmed(told):
            if not got.is_size_certain:
                return None
            whole = await self._store.head_by_get(key, is_whole=True)
            return stat if whole.version.is_same(stat.version) else None
        return stat

    async def _ask(self, got: ObjectStat) -> Responses:
        """What HEAD and a listing tell, beside *got*."""
        told: list[ObjectStat | None] = [None, None]
        async with trio.open_nursery() as nursery:
            for index, ask in enumerate((self._head, self._listed)):
                nursery.start_soon(self._put, told, index, ask, got.version)
        return Responses(got, *told)

    @staticmethod
    async def _put(
        told: list[ObjectStat | None],
        index: int,
        ask: Callable[[ObjectVersion], Awaitable[ObjectStat | None]],
        version: ObjectVersion,
    ) -> None:
        """Put what *ask* tells at *index*; a failure tells nothing."""
        with suppress(S3MountError):
            told[index] = await ask(version)

    async def _head(self, version: ObjectVersion) -> ObjectStat | None:
        return await self._store.head(version.key, Reason.REVALIDATE)

    async def _listed(self, version: ObjectVersion) -> ObjectStat | None:
        """The row of the object in an ordinary page: some gateways correct sizes in short ones."""
        page = await self._store.list_page(ListQuery(version.key, reason=Reason.REVALIDATE))
        for row in page.objects:
            if row.key == version.key:
                listed = ObjectVersion(version.bucket, row.key, row.etag, row.size)
                return ObjectStat(listed, row.mtime_ns)
        return None

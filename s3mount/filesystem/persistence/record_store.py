"""Store of records: blobs by key, kept as long as there is room.

The protocol that the composition root implements over a cache directory, and an implementation in
memory, for a mount that has no such directory and serves stale metadata.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import trio
from cachetools import LRUCache

ENTRY_WEIGHT = 200  # bytes of a record in memory beside its content


class RecordStore(Protocol):
    """Records by key. A failure, and a store that is late, count as "not kept"; none is raised."""

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The records of *keys*, in their order. A checkpoint."""
        ...

    async def put(self, records: Mapping[bytes, bytes | None]) -> bool:
        """Keep *records*, all or none; whether they are kept. None drops one. A checkpoint."""
        ...


class MemoryRecords:
    """Records in memory, of at most *limit* bytes; the least recently used go first."""

    def __init__(self, limit: int) -> None:
        self._records: LRUCache[bytes, bytes] = LRUCache(
            limit, getsizeof=lambda content: ENTRY_WEIGHT + len(content)
        )

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        await trio.lowlevel.checkpoint()
        return [self._records.get(key) for key in keys]

    async def put(self, records: Mapping[bytes, bytes | None]) -> bool:
        await trio.lowlevel.checkpoint()
        for key, content in records.items():
            self._records.pop(key, None)
            if content is not None and ENTRY_WEIGHT + len(content) <= self._records.maxsize:
                self._records[key] = content
        return True

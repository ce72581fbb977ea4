"""What files a warm-up fetches, and that readers go first while it finds out."""

from dataclasses import dataclass

import trio

from s3mount.errors import StoreError
from s3mount.filesystem.warming.file_fetcher import AT_ONCE, FileFetcher, WarmObject
from s3mount.filesystem.warming.warm_counts import OutageDetector, WarmCounts
from s3mount.s3.model import ByteRange, ObjectVersion

VERSIONS = [ObjectVersion("b", f"{number:04}", "e", 1) for number in range(10 * AT_ONCE + 5)]


@dataclass(frozen=True)
class OneByte:
    octets: int = 1
    requests: int = 1
    memory: int = 1


class FailingObject:
    """A version of a store that is away."""

    pieces = (ByteRange(0, 1),)

    async def fetch(self, _piece: ByteRange) -> int | None:
        await trio.lowlevel.checkpoint()
        raise StoreError("the store is away")

    def close(self) -> None: ...


class Memory:
    """Counts how many versions are asked for between two turns of another task."""

    def __init__(self, *, has_room: bool) -> None:
        self._has_room = has_room
        self._since_turn = 0
        self.most = 0

    def missing(self, _version: ObjectVersion) -> OneByte:
        self._since_turn += 1
        self.most = max(self.most, self._since_turn)
        return OneByte()

    def find_room(self) -> int:
        return len(VERSIONS)

    def make_room(self, _length: int) -> bool:
        return self._has_room

    def forget_room(self) -> None: ...

    def open(self, _version: ObjectVersion) -> WarmObject:
        return FailingObject()

    async def take_turns(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            self._since_turn = 0


async def fetch_all(memory: Memory) -> WarmCounts:
    """Fetch all versions by one job."""
    counts = WarmCounts()
    fetcher = FileFetcher(memory, "", counts, OutageDetector())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory.take_turns)
        await fetcher.run(VERSIONS, jobs=1)
        nursery.cancel_scope.cancel()
    return counts


async def test_readers_have_their_turn_while_no_file_fits() -> None:
    memory = Memory(has_room=False)

    counts = await fetch_all(memory)

    assert counts.unfit_files == len(VERSIONS)
    assert memory.most <= 2 * AT_ONCE


async def test_readers_have_their_turn_while_all_files_are_given_up() -> None:
    memory = Memory(has_room=True)

    counts = await fetch_all(memory)

    assert counts.failed_count == len(VERSIONS)
    assert memory.most <= 2 * AT_ONCE

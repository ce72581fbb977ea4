"""An open handle on one object version: reads become replies.

The way of a hit is short, synchronous and copies nothing; whatever has to wait is below it.
"""

from s3mount.cache.block import Block, VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.ranges import align
from s3mount.cache.readahead_scheduler import ReadaheadScheduler
from s3mount.s3.model import ByteRange


class ObjectReader:
    """Reads of one object version, any number at once."""

    def __init__(
        self, shelf: VersionBlocks, loads: BlockLoader, streams: ReadaheadScheduler
    ) -> None:
        self._shelf = shelf
        self._loads = loads
        self._streams = streams
        self._is_open = True
        shelf.readers += 1

    async def read(self, offset: int, size: int) -> bytes | bytearray | memoryview:
        """The bytes of [*offset*, *offset* + *size*), clipped at the end of the object; good until the next checkpoint.

        A checkpoint only if it has to wait. Raises what the load failed with that it waited for.
        """
        reply = self.read_cached(offset, size)
        if reply is not None:
            return reply
        return await self._read_slowly(
            ByteRange(offset, min(offset + size, self._shelf.version.size))
        )

    def read_cached(self, offset: int, size: int) -> bytes | memoryview | None:
        """`read`, where one landed block has it all; else None, and nothing was done."""
        shelf = self._shelf
        stop = min(offset + size, shelf.version.size)
        if offset >= stop:
            return b""
        block = shelf.find(offset)
        if block is None or stop > block.stop or block.flight is not None or block.buffer is None:
            return None
        reply = block.buffer[offset - block.start : stop - block.start]
        self._loads.memory.touch(block)
        self._streams.hit(self, shelf, offset, stop)
        return reply

    def close(self) -> None:
        """No read comes any more; those under way may still end. Closing again does nothing."""
        if self._is_open:
            self._is_open = False
            self._streams.release(self, self._shelf)
            self._shelf.readers -= 1
            if not self._shelf.readers:
                self._loads.orphan(self._shelf.rest(), may_cancel=True)

    async def _read_slowly(self, wanted: ByteRange) -> bytearray | memoryview:
        """A reply that waits for loads, or is put together from several blocks."""
        self._streams.miss(self, self._shelf, wanted)
        block, held = await self._landed(wanted.start, wanted.stop)
        if wanted.stop <= block.stop:
            return held[wanted.start - block.start : wanted.stop - block.start]
        reply = bytearray(len(wanted))
        at = wanted.start
        while True:
            stop = min(wanted.stop, block.stop)
            reply[at - wanted.start : stop - wanted.start] = held[
                at - block.start : stop - block.start
            ]
            if (at := stop) == wanted.stop:
                return reply
            block, held = await self._landed(at, wanted.stop)

    async def _landed(self, at: int, stop: int) -> tuple[Block, memoryview]:
        """The block that holds the byte *at*, and its bytes, good until the next checkpoint.

        Fetches again, if it has been evicted by now, what was asked for while the reader waited for another block.
        """
        shelf = self._shelf
        block = shelf.find(at)
        if block is None:
            self._loads.fetch(
                shelf, align(at, stop, shelf.version.size, shelf.geometry), ByteRange(at, stop)
            )
            block = shelf.find(at)
            assert block is not None
        if block.flight is not None:
            return block, await self._loads.wait_landed(block)
        assert block.buffer is not None
        self._loads.memory.touch(block)
        return block, block.buffer

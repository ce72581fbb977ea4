"""Object reader: an open handle on one object version; turns reads into replies.

A hit is short and synchronous, and copies nothing. What has to wait comes below it.
"""

from s3mount.cache.block import Block, VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.block_source import DirectReads
from s3mount.cache.fetch_planner import FetchPlanner
from s3mount.cache.ranges import align
from s3mount.cache.readahead_scheduler import ReadaheadScheduler


class ObjectReader:
    """Reads of one object version, any number at once."""

    def __init__(
        self,
        version_blocks: VersionBlocks,
        planner: FetchPlanner,
        loader: BlockLoader,
        readahead: ReadaheadScheduler,
        direct: DirectReads | None = None,
    ) -> None:
        self._version_blocks = version_blocks
        self._planner = planner
        self._loader = loader
        self._readahead = readahead
        self._direct = direct
        self._is_open = True
        version_blocks.readers += 1
        readahead.add_reader(version_blocks)

    async def read(self, offset: int, size: int) -> bytes | bytearray | memoryview:
        """The bytes of [*offset*, *offset* + *size*), clipped at the end of the object.

        Valid until the next checkpoint. A checkpoint only if it has to wait. Raises what the fetch
        failed with that it waited for.
        """
        reply = self.read_cached(offset, size)
        if reply is not None:
            return reply
        stop = min(offset + size, self._version_blocks.version.size)
        steps = self._readahead.on_miss(self, self._version_blocks, offset, stop)
        began_at = 0.0 if steps is None else steps.clock()
        block, held = await self._ready_block(offset, stop)
        if stop <= block.stop:
            joined = None
        else:
            joined = await self._join_blocks(block, held, offset, stop)
        if steps is not None:
            steps.record_wait(steps.clock() - began_at)
        self._readahead.record_served(self._version_blocks, stop - offset)
        return held[offset - block.start : stop - block.start] if joined is None else joined

    def read_cached(self, offset: int, size: int) -> bytes | memoryview | None:
        """`read`, if one ready block or a direct read has all of it; else None, nothing done."""
        version_blocks = self._version_blocks
        stop = min(offset + size, version_blocks.version.size)
        if offset >= stop:
            return b""
        block = version_blocks.find(offset)
        if block is None or stop > block.stop or block.fetch is not None or block.buffer is None:
            if block is not None or self._direct is None:
                return None
            return self._read_directly(self._direct, offset, stop)
        reply = block.buffer[offset - block.start : stop - block.start]
        self._loader.memory.touch(block)
        self._readahead.on_hit(self, version_blocks, offset, stop)
        self._readahead.record_served(version_blocks, stop - offset)
        return reply

    @property
    def has_had_bytes(self) -> bool:
        """Whether bytes of the version have come, for this reader or another."""
        return self._version_blocks.has_had_bytes

    def close(self) -> None:
        """No read will come; those in flight may still end. Closing again does nothing."""
        if self._is_open:
            self._is_open = False
            self._readahead.release(self, self._version_blocks)
            self._version_blocks.readers -= 1
            if not self._version_blocks.readers:
                self._loader.release(self._version_blocks.reset_readahead(), may_cancel=True)

    def _read_directly(self, direct: DirectReads, offset: int, stop: int) -> memoryview | None:
        """`read` of bytes that are in no block, if a tier has them at hand."""
        version_blocks = self._version_blocks
        reply = direct.read(version_blocks.version, offset, stop)
        if reply is not None:
            version_blocks.has_had_bytes = True
            # of a small object the tier has all, or a miss brings it
            is_small = version_blocks.version.size <= version_blocks.sizes.small
            on_hit = self._readahead.record_hit if is_small else self._readahead.on_hit
            on_hit(self, version_blocks, offset, stop)
            self._readahead.record_served(version_blocks, stop - offset)
        return reply

    async def _join_blocks(
        self, block: Block, held: memoryview, offset: int, stop: int
    ) -> bytearray:
        """A reply from several blocks, the first of which is *block*."""
        reply = bytearray(stop - offset)
        at = offset
        while True:
            end = min(stop, block.stop)
            reply[at - offset : end - offset] = held[at - block.start : end - block.start]
            if (at := end) == stop:
                return reply
            block, held = await self._ready_block(at, stop)

    async def _ready_block(self, at: int, stop: int) -> tuple[Block, memoryview]:
        """The block that holds the byte *at*, and its bytes, valid until the next checkpoint.

        Fetches a block again that was evicted while the reader waited for another one.
        """
        version_blocks = self._version_blocks
        block = version_blocks.find(at)
        if block is None:
            size = version_blocks.version.size
            self._planner.fetch(
                version_blocks, align(at, stop, size, version_blocks.sizes), at, stop
            )
            block = version_blocks.find(at)
            assert block is not None
        if block.fetch is not None:
            return block, await self._loader.wait_ready(block)
        assert block.buffer is not None
        self._loader.memory.touch(block)
        return block, block.buffer

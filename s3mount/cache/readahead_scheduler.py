"""Streams of the whole mount: who reads ahead, and how far memory lets each of them.

Joins the readahead policy, which knows one version, with the loads, which know none of it. Synchronous throughout.
"""

from typing import Final

from s3mount.cache.block import VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.readahead import SequentialStream
from s3mount.s3.model import ByteRange

# A stream that did not move while so many reads went elsewhere is asleep: elsewhere in its own version (32 MiB or more of
# them: its reader has gone off with a seek), or in others (a player that pauses).
_ASLEEP_AFTER: Final = 256
_ALL_ASLEEP_AFTER: Final = 4096


class ReadaheadScheduler:
    """The sequences that read ahead, over all versions; they share what memory may hold ahead of readers."""

    def __init__(self, loads: BlockLoader, ahead_limit: int) -> None:
        self._loads = loads
        self._ahead_limit = ahead_limit  # bytes for all streams together; 0: no readahead
        # `_share` is what each of `_streams` may have ahead. `reads` counts all reads, and is the only clock here.
        self._streams: dict[SequentialStream, VersionBlocks] = {}
        self._share = ahead_limit
        self.reads = 0
        self.reads_that_waited = 0

    def __len__(self) -> int:
        return len(self._streams)

    def hit(self, owner: object, shelf: VersionBlocks, offset: int, stop: int) -> None:
        """*owner* read [*offset*, *stop*), which was there: load what should be ahead of it now."""
        sequence = self._note(owner, shelf, offset, stop)
        if spans := shelf.readahead.ahead(sequence, self._share):
            self._fetch(shelf, sequence, spans, ByteRange(stop, stop))

    def miss(self, owner: object, shelf: VersionBlocks, wanted: ByteRange) -> None:
        """*owner* reads *wanted*, not all of which is in one landed block: load what it lacks, and what should be ahead of it."""
        sequence = self._note(owner, shelf, wanted.start, wanted.stop)
        lacks = next(shelf.gaps(wanted), None) is not None
        waits_to = max(
            (block.stop for block in shelf.overlapping(wanted) if block.flight), default=0
        )
        if lacks or waits_to:
            self.reads_that_waited += 1
            shelf.readahead.stall(sequence, max(wanted.stop, waits_to))
        if lacks:
            spans = shelf.readahead.demand(sequence, wanted.start, wanted.stop, self._share)
        else:
            spans = shelf.readahead.ahead(sequence, self._share)
        self._fetch(shelf, sequence, spans, wanted)

    def release(self, owner: object, shelf: VersionBlocks) -> None:
        """*owner* reads no more: nothing is fetched, or kept before other things, for its sake."""
        for stream in [s for s, at in self._streams.items() if at is shelf and s.owner is owner]:
            self._rest(stream)

    def _note(
        self, owner: object, shelf: VersionBlocks, offset: int, stop: int
    ) -> SequentialStream:
        self.reads += 1
        shelf.last_read = self.reads
        sequence = shelf.readahead.note(offset, stop)
        sequence.owner = owner
        if sequence.position >= shelf.version.size and sequence in self._streams:
            self._rest(sequence)
        return sequence

    def _fetch(
        self,
        shelf: VersionBlocks,
        sequence: SequentialStream,
        spans: tuple[ByteRange, ...],
        demanded: ByteRange,
    ) -> None:
        if sequence.is_stream and sequence not in self._streams and self._lacks(shelf, spans):
            self._streams[sequence] = shelf
            self._divide()
        for stream in [stream for stream in self._streams if self._is_asleep(stream)]:
            self._rest(stream)
        for span in spans:
            if not self._loads.fetch(shelf, span, demanded):
                sequence.refuse(span.start)
                return

    @staticmethod
    def _lacks(shelf: VersionBlocks, spans: tuple[ByteRange, ...]) -> bool:
        """Whether any of *spans* is to be loaded; a reader that trails behind another one takes no share of memory."""
        return any(next(shelf.gaps(span), None) for span in spans)

    def _is_asleep(self, stream: SequentialStream) -> bool:
        shelf = self._streams[stream]
        reads_here, reads_in_all = (
            shelf.readahead.reads - stream.last_read,
            self.reads - shelf.last_read,
        )
        if reads_here <= _ASLEEP_AFTER and reads_in_all <= _ALL_ASLEEP_AFTER:
            return False
        # the block of its last read too: whoever waits there is awake
        near = ByteRange(max(0, stream.position - 1), max(stream.position, stream.frontier))
        return not any(block.waiters for block in shelf.overlapping(near))

    def _rest(self, stream: SequentialStream) -> None:
        """Fetch no further for *stream*; what it had ahead may go, unless others come by."""
        shelf = self._streams.pop(stream)
        self._divide()
        ahead = stream.rest()
        if len(ahead):
            unwanted = [
                block
                for block in shelf.overlapping(ahead)
                if not shelf.readahead.is_wanted(block.span)
            ]
            self._loads.orphan(unwanted, may_cancel=shelf.readers == 1)

    def _divide(self) -> None:
        self._share = self._ahead_limit // max(1, len(self._streams))

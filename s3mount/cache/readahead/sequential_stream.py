"""Sequential stream: reads that follow one another in one object version, and what they prove.

Offsets and counts only. `Readahead` decides which reads belong to a stream, and what is fetched for
it.
"""

from dataclasses import dataclass
from typing import Final

from s3mount.cache.readahead.forward_steps import ForwardSteps
from s3mount.s3.model import ByteRange

WINDOW_FACTOR: Final = 32  # window bytes for each byte read in sequence
ALONE_FACTOR: Final = 8  # bytes of a single fetch for each byte read in sequence


@dataclass(slots=True, eq=False)
class SequentialStream:
    """Reads that follow one another in one object version.

    *position* is where the next read is expected. *skipped* are the bytes below it that may yet be
    read late, and *run* the bytes read less those skipped. Everything from *origin* to *frontier*
    was fetched; the next fetch ends at *next_stop*. *window* is how far ahead of the position to
    fetch (0: not a stream yet). It last grew for a read that waited for the bytes up to
    *stalled_to*. *last_read* is the number of the version's reads at the latest one here; *owner*
    is the handle that made it, for the readahead scheduler. *was_contended*: it was in contention.
    *links* are the versions that its reader has read whole just before this one; *lead* are the
    bytes from the beginning of the second of them to that of this one.
    *steps* are the latest reads that followed one another with gaps, if there are any.
    *begins_long*: its first read was of the beginning, and not of a small part.
    """

    origin: int
    position: int
    run: int
    frontier: int
    next_stop: int
    last_read: int
    skipped: int = 0
    window: int = 0
    stalled_to: int = 0
    owner: object = None
    was_contended: bool = False
    links: int = 0
    lead: int = 0
    steps: ForwardSteps | None = None
    begins_long: bool = False

    @property
    def is_stream(self) -> bool:
        return self.window > 0 and self.evidence > 0

    @property
    def is_beginning(self) -> bool:
        """Whether its only read so far was a long one, of the beginning."""
        return self.begins_long and self.run == self.position and not self.window

    @property
    def evidence(self) -> int:
        """How many bytes may be fetched ahead by what was read."""
        return self.evidence_by(WINDOW_FACTOR)

    def evidence_by(self, factor: int) -> int:
        """`evidence`, if each byte read in sequence counts *factor* times."""
        in_sequence = self.run * factor
        return in_sequence if self.steps is None else max(in_sequence, self.steps.evidence)

    def take_planned(self) -> tuple[ByteRange, ...]:
        """Return what is planned and yet to be read; plan no more until there is new evidence."""
        planned = ByteRange(min(self.position, self.frontier), self.frontier)
        self.window = self.run = 0
        self.steps = None
        self.frontier = self.next_stop = self.position
        return (planned,) if planned else ()

    def rewind(self, start: int) -> None:
        """Plan again from *start* on: there was no room to fetch it."""
        self.frontier = self.next_stop = min(start, self.frontier)

    def is_out_of_order(self, offset: int, stop: int) -> bool:
        """Whether this read, near by, may belong here, having overtaken or been overtaken."""
        return offset >= self.position or stop - offset <= self.skipped

    def jump(self, offset: int, stop: int) -> None:
        """Move forward by a read out of order: skipped bytes count against it until read."""
        skipped = offset - self.position
        self.run = max(0, self.run + stop - offset - max(0, skipped))
        self.skipped += skipped if skipped > 0 else offset - stop
        self.position = max(self.position, stop)

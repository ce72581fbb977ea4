"""Queue of the disk cache's writer: what waits to be done, in order, and when it is due.

Small writes wait for others, since a transaction costs as much as ten of them, and the threads of
readers do without the interpreter meanwhile. Knows no threads, no clock and no buffers: its owner
tells the time, and what a write costs. Invariants:

1. Writes and commands leave in the order in which they came, the lost ones left out.
2. Something is due once *due_bytes* or BATCH_MAX writes wait, or a command, or the first one has
   waited for *delay*. What comes while another batch is written makes the next one longer, as far
   as the owner lets it: the more a writer is behind, the less it pays for each.
3. Of writes that are lost at most LOST_MAX are in the queue.
4. A batch that took longer than a read may wait for the disk makes the next one so much smaller,
   but for BATCH_LEAST: a read waits behind it, and a slow disk is not to count as one that hangs.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from s3mount.cache.disk_tier.pending_write import PendingWrite
from s3mount.cache.disk_tier.readers import SLOW_AFTER

BATCH_LEAST: Final = 8 << 20  # bytes: less would cost more transactions than it saves time
BATCH_MAX: Final = 512  # writes of one transaction, which keeps other mounts from writing
LOST_MAX: Final = 1024

Command = Callable[[], None]


class _Item(NamedTuple):
    """Queued write or command, waiting since *since*; *cost* is in bytes of memory."""

    what: PendingWrite | Command
    cost: int
    since: float

    @property
    def is_lost(self) -> bool:
        return isinstance(self.what, PendingWrite) and self.what.content is None


class WriteQueue:
    """Queue of which a batch is due with *due_bytes*, or after *delay* seconds."""

    def __init__(self, due_bytes: int, delay: float) -> None:
        self._due_bytes = due_bytes
        self._delay = delay
        # what waits, in order; how many of these are lost, at most; what the others are
        self._items: deque[_Item] = deque()
        self._lost = 0
        self._octets = 0
        self._commands = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, write: PendingWrite, cost: int, now: float) -> None:
        """Let *write* wait, which takes *cost* bytes of memory."""
        self._items.append(_Item(write, cost, now))
        self._octets += cost

    def add_command(self, command: Command, now: float) -> None:
        """Let *command* be called in its turn, which is soon."""
        self._items.append(_Item(command, 0, now))
        self._commands += 1

    def due_at(self) -> float | None:
        """When the first one has waited long enough; None if nothing waits."""
        return self._items[0].since + self._delay if self._items else None

    def is_due(self, now: float) -> bool:
        """Whether a command or a batch is to be taken."""
        if not self._items:
            return False
        is_enough = self._octets >= self._due_bytes or len(self._items) >= BATCH_MAX
        is_late = now >= self._items[0].since + self._delay
        return is_enough or is_late or self._commands > 0

    def take_command(self) -> Command | None:
        """Take a command, if one is next."""
        command = self._items[0].what if self._items else None
        if command is None or isinstance(command, PendingWrite):
            return None
        self._commands -= 1
        self._pop()
        return command

    def take_batch(self, octets_max: int) -> list[PendingWrite]:
        """Take the writes that are next, as far as they are one batch; none may be left of them.

        It has *octets_max* bytes at most, or one write.
        """
        batch: list[PendingWrite] = []
        octets = 0
        while self._items and isinstance(write := self._items[0].what, PendingWrite):
            item = self._items[0]
            is_full = octets + item.cost > octets_max or len(batch) == BATCH_MAX
            if batch and is_full and not item.is_lost:
                break
            self._pop()
            if not item.is_lost:
                octets += item.cost
                batch.append(write)
        return batch

    def writes_of(self, digest: bytes) -> list[PendingWrite]:
        """The writes of an object that wait."""
        return [
            item.what
            for item in self._items
            if isinstance(item.what, PendingWrite) and item.what.named.digest == digest
        ]

    def note_lost(self) -> None:
        """A write that waits has been dropped."""
        self._lost += 1
        if self._lost > LOST_MAX:
            self._lost = 0
            self._items = deque(item for item in self._items if not item.is_lost)
            self._octets = sum(item.cost for item in self._items)

    def _pop(self) -> _Item:
        item = self._items.popleft()
        self._octets -= item.cost
        return item


class BatchSize:
    """Size of the next batch, of *most* bytes at most: small until the disk is known to be fast."""

    def __init__(self, most: int) -> None:
        self._least = min(BATCH_LEAST, most)
        self._most = most
        self.octets = self._least

    def record(self, octets: int, seconds: float) -> None:
        """A batch took *seconds*, in which *octets* bytes were written."""
        if seconds > SLOW_AFTER:
            self.octets = max(self._least, int(min(self.octets, octets) * SLOW_AFTER / seconds))
        elif 2 * octets >= self.octets and seconds <= SLOW_AFTER / 2:
            self.octets = min(self._most, 2 * self.octets)

"""Writer of the disk cache: keeps what readers have been given, behind them, in one thread.

Invariants:

1. Nothing waits for a write. Bytes in a block's buffer wait where they are. If the buffer is needed
   for something else before their turn comes, they are not written.
2. A buffer is held only while it is being written: an eighth of the memory at most, or one buffer.
   Bytes that came by another way wait in as much memory at most.
3. Writes and evictions are done in the order in which they came, one batch at a time, which is
   begun once it is due (`write_queue`): a write waits for WRITE_DELAY at most, if nothing is done.
4. Of an object that is being evicted nothing is waiting to be written. If that fails, it counts as
   being evicted for as long as the mount lives.
5. A write that has taken STUCK_AFTER is a failure of the disk, and nothing waits for it any longer.
6. What is noted of accesses is told to the index every FLUSH_AGE while anything is read, so that no
   other mount takes for unused what this one reads.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import outcome
import trio

from s3mount import unawaited
from s3mount.cache.buffer_holds import BufferHolds, memory_size
from s3mount.cache.disk_tier.health import DiskHealth
from s3mount.cache.disk_tier.names import NamedVersion
from s3mount.cache.disk_tier.pending_write import BatchResult, PendingWrite, write_batch
from s3mount.cache.disk_tier.presence_table import PresenceTable
from s3mount.cache.disk_tier.protocol import Disk
from s3mount.cache.disk_tier.readers import Threads
from s3mount.cache.disk_tier.write_queue import BatchSize, Command, WriteQueue
from s3mount.disk.object_name import ObjectName
from s3mount.disk.usage import DiskUsage

BATCH_DUE: Final = 16 << 20  # bytes for which a transaction is made
BATCH: Final = 32 << 20  # bytes of one transaction, of a disk that is fast
BATCH_SHARE: Final = 4  # of so many bytes of the directory: half of it makes room for no more
USAGE_AGE: Final = 10.0  # seconds between two looks at what the directory holds
STUCK_AFTER: Final = 30.0  # seconds
FLUSH_AGE: Final = 60.0  # seconds
WRITE_DELAY: Final = 1.0  # seconds that a small write waits for others


class DiskWriter:
    """Writes to *disk* in *threads*; *limit* is in bytes of the mount's memory.

    Small writes wait for others, for *delay* seconds.
    """

    def __init__(
        self,
        disk: Disk,
        holds: BufferHolds,
        presence: PresenceTable,
        threads: Threads,
        health: DiskHealth,
        *,
        limit: int,
        delay: float = WRITE_DELAY,
    ) -> None:
        self._disk = disk
        self._holds = holds
        self._presence = presence
        self._threads = threads
        self._health = health
        self._limit = limit
        # what waits, how much of it the next batch takes, and the bytes of it that are in no
        # buffer; whether a task watches when that is due; since when something is done
        batch_bytes = min(BATCH, limit, disk.limits.size // BATCH_SHARE)
        self._waiting = WriteQueue(min(BATCH_DUE, batch_bytes), delay)
        self._batch_size = BatchSize(batch_bytes)
        self._octets = 0
        self._is_watched = False
        self._busy_since: float | None = None
        self._flushed_at = trio.current_time()
        self._evicting: dict[bytes, int] = {}  # by digest: how many evictions of it have not ended
        self._usage_at = -USAGE_AGE
        self.usage: DiskUsage | None = None  # as it was when it was last looked at
        self.bytes_written = 0
        self.bytes_skipped = 0

    def add(self, named: NamedVersion, start: int, content: memoryview, buffer: memoryview) -> None:
        """Have *content* written, which lies in *buffer*, of a block; `start` begins it.

        Unless the object is being evicted: what has come until then is not to be kept.
        """
        if self.is_evicting(named.digest):
            return
        write = PendingWrite(named, start, content, buffer)
        write.on_return = partial(self._lose, write)
        self._holds.call_on_return(buffer, write.on_return)
        self._append(write, max(memory_size(buffer), write.octets))

    def add_bytes(self, named: NamedVersion, start: int, content: bytes) -> None:
        """Have *content* written; `start` begins it."""
        if self._octets + len(content) > self._limit:
            self.bytes_skipped += len(content)
            return
        self._octets += len(content)
        self._append(PendingWrite(named, start, memoryview(content), None), len(content))

    def evict(self, named: NamedVersion) -> None:
        """Drop all that is kept of an object; `is_evicting` until then."""
        self._evicting[named.digest] = self._evicting.get(named.digest, 0) + 1
        self._presence.forget_object(named.digest)
        for write in self._waiting.writes_of(named.digest):
            self._lose(write)
        self._append_command(partial(self._evict, named))
        self.start()

    def is_evicting(self, digest: bytes) -> bool:
        """Whether the disk may still have what is to be dropped."""
        return digest in self._evicting

    def mark_replaced(self, name: ObjectName) -> None:
        """Let *name* be evicted before others, unless the disk fails; `start` begins it."""
        if self._health.is_usable:
            mark = partial(self._disk.mark_replaced, name)
            self._append_command(partial(self._run, mark, lambda _: None))

    def look_at_usage(self) -> None:
        """Find out what the directory holds, before anything is written, and what is read next."""
        self._run(self._look_first, lambda _: None)

    def start(self) -> None:
        """Begin with what is due, a flush too, unless something is being done."""
        self._look_for_stuck()
        self._start_waiting()
        if self._busy_since is None and self._is_flush_due():
            self._flushed_at = trio.current_time()
            self._run(self._flush, lambda _: None)

    def _start_waiting(self) -> None:
        while self._busy_since is None and self._waiting.is_due(trio.current_time()):
            command = self._waiting.take_command() or self._start_batch
            command()
        if self._busy_since is None and self._waiting and not self._is_watched:
            self._is_watched = True
            trio.lowlevel.spawn_system_task(self._watch)

    async def _watch(self) -> None:
        """Begin with what waits once it is due, until something is begun."""
        try:
            while self._busy_since is None and (due_at := self._waiting.due_at()) is not None:
                await trio.sleep_until(due_at)
                unawaited.call("the writer of the disk cache", self.start)
        finally:
            self._is_watched = False

    @property
    def is_stuck(self) -> bool:
        """Whether something takes STUCK_AFTER or longer."""
        since = self._busy_since
        return since is not None and trio.current_time() >= since + STUCK_AFTER

    async def wait_done(self) -> None:
        """Wait until all is done that waits now, or something takes too long."""
        done = trio.Event()
        if not self.is_stuck:
            self._append_command(done.set)
            self._start_waiting()
        while not done.is_set() and not self.is_stuck:
            since = trio.current_time() if self._busy_since is None else self._busy_since
            with trio.move_on_at(since + STUCK_AFTER):
                await done.wait()
        self._look_for_stuck()

    def _look_for_stuck(self) -> None:
        if self.is_stuck and self._health.is_usable:
            self._health.record_failure(TimeoutError(f"a write has taken {STUCK_AFTER:g} seconds"))

    def _is_flush_due(self) -> bool:
        return self._health.is_usable and trio.current_time() - self._flushed_at >= FLUSH_AGE

    def _flush(self) -> None:
        """Tell the index what was noted; called in a thread."""
        self._disk.flush()
        self._look_at_usage()

    def _append(self, write: PendingWrite, cost: int) -> None:
        self._waiting.add(write, cost, trio.current_time())

    def _append_command(self, command: Command) -> None:
        self._waiting.add_command(command, trio.current_time())

    def _lose(self, write: PendingWrite) -> None:
        """Do not write *write*, unless that has begun: its buffer is held then."""
        if write.content is not None and not write.is_begun:
            self.bytes_skipped += write.octets
            self._drop(write)
            self._waiting.note_lost()

    def _drop(self, write: PendingWrite) -> None:
        if write.buffer is None:
            self._octets -= write.octets
        elif write.on_return is not None:
            self._holds.cancel_call(write.buffer, write.on_return)
        write.drop()

    def _run(
        self, function: Callable[[], object], on_end: Callable[[outcome.Outcome[object]], None]
    ) -> None:
        """Call *function* in a thread; what waits is begun after *on_end*."""

        def end(result: outcome.Outcome[object]) -> None:
            self._busy_since = None
            if isinstance(result, outcome.Error):
                self._health.record_failure(result.error)
            try:
                on_end(result)
            finally:
                self.start()

        self._busy_since = trio.current_time()
        self._threads.submit(function, end)

    def _evict(self, named: NamedVersion) -> None:
        def end(result: outcome.Outcome[object]) -> None:
            self._presence.forget_object(named.digest)
            if isinstance(result, outcome.Value):
                self._evicting[named.digest] -= 1
                if not self._evicting[named.digest]:
                    del self._evicting[named.digest]

        self._run(partial(self._disk.evict, named.name), end)

    def _start_batch(self) -> None:
        batch = self._waiting.take_batch(self._batch_size.octets)
        if not batch:
            return
        if not self._health.is_usable and not self._health.begin_trial():
            for write in batch:
                self._lose(write)
            return
        for write in batch:
            write.is_begun = True
            if write.buffer is not None:
                self._holds.hold(write.buffer)
        began = trio.current_time(), self._presence.generation
        self._run(partial(self._write, batch), partial(self._on_written, batch, *began))

    def _write(self, batch: list[PendingWrite]) -> BatchResult:
        """Write *batch*, and look at what the directory holds; called in a thread."""
        result = write_batch(self._disk, batch)
        self._look_at_usage()
        return result

    def _look_first(self) -> None:
        """Called in a thread, in turn with writes, so that nothing closes the disk meanwhile."""
        self._look_at_usage()
        self._disk.load_recent()

    def _look_at_usage(self) -> None:
        if time.monotonic() - self._usage_at >= USAGE_AGE:
            self._usage_at = time.monotonic()
            self.usage = self._disk.usage()

    def _on_written(
        self,
        batch: list[PendingWrite],
        began_at: float,
        generation: int,
        result: outcome.Outcome[object],
    ) -> None:
        for write in batch:
            if write.buffer is not None:
                self._holds.let_go(write.buffer)
            self._drop(write)
        if isinstance(result, outcome.Error):
            self.bytes_skipped += sum(write.octets for write in batch)
            return
        written = result.unwrap()
        assert isinstance(written, BatchResult)
        self._batch_size.record(written.octets, trio.current_time() - began_at)
        self._health.end_trial()
        self.bytes_written += written.octets
        for each in written.found:
            self._presence.put(*each, generation)

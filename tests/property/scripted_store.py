"""ObjectStore whose responses come when, and as, a test says.

Until a response is released, its buffer holds garbage that is written again and again. A reader of
a block that is not ready would read garbage. A cancelled read goes on until it is released, as one
in a thread does.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

from s3mount.cache.block_cache import BlockCache
from s3mount.errors import S3MountError
from s3mount.s3.model import (
    ByteRange,
    ObjectVersion,
    Reason,
)
from s3mount.s3.object_store import OnReadEnd, Priority
from s3mount.unawaited import ExpectedError
from tests.fakes.unasked_store import UnaskedStore

_PIECE = 1 << 20  # bytes of an object that are made at once


def content_of(version: ObjectVersion) -> bytes:
    """What the store says that *version* holds: bytes that tell every place from every other."""
    return b"".join(_piece(version, number) for number in range(-(-version.size // _PIECE)))


def _piece(version: ObjectVersion, number: int) -> bytes:
    length = min(_PIECE, version.size - number * _PIECE)
    return random.Random(f"{version.key} {version.etag} {number}").randbytes(length)


@dataclass(eq=False)
class Load:
    """`StartedRead`: a GET that was sent and not answered.

    One that is cancelled goes on until it is let through, as one does whose thread has yet to
    notice; with *waits_for_permit* it ends by itself. With *asks_once_more* a failure is that of an
    attempt, and another one follows.
    """

    store: "ScriptedStore"
    version: ObjectVersion
    span: ByteRange
    into: memoryview
    on_end: OnReadEnd
    priority: Priority
    waits_for_permit: bool = False
    asks_once_more: bool = False
    is_cancelled: bool = False

    def __post_init__(self) -> None:
        self.sent_priority = self.priority  # what it was sent with

    def promote(self) -> None:
        self.priority = Priority.DEMAND

    def cancel(self) -> None:
        self.is_cancelled = True
        if self.waits_for_permit:
            _soon(self._end, ExpectedError("cancelled"))

    def scribble(self) -> None:
        self.into[:] = b"\xee" * len(self.into)

    def land(self) -> None:
        if self in self.store.loads:
            self.store.fill(self.into, self.version, self.span)
            self._end(None)

    def fail(self, error: Exception) -> None:
        if self.asks_once_more:
            self.asks_once_more = False
        else:
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        if self in self.store.loads:
            self.store.loads.remove(self)
            version_id = self.version.version_id or self.store.version_id
            version = self.version.with_version_id(version_id, is_replaced=self.version.is_replaced)
            tell = partial(self.on_end, version, error)
            tell() if self.store.tells_at_once else _soon(tell)


def _soon(call: Callable[..., object], *arguments: object) -> None:
    trio.lowlevel.current_trio_token().run_sync_soon(call, *arguments)


class ScriptedStore(UnaskedStore):
    """An ObjectStore of ranges. *tells_at_once*: with the end of a load, not a moment later."""

    def __init__(self, *, tells_at_once: bool = False) -> None:
        self.tells_at_once = tells_at_once
        self.loads: list[Load] = []  # in flight
        self.asked: list[tuple[str, ByteRange, Priority]] = []  # all there ever were
        self.is_prompt = False
        self.ranges = True
        self.version_id: str | None = None  # what each load tells
        self._contents: dict[ObjectVersion, bytes] = {}
        self._pieces: dict[tuple[ObjectVersion, int], bytes] = {}

    def content(self, version: ObjectVersion) -> bytes:
        if version not in self._contents:
            self._contents[version] = content_of(version)
        return self._contents[version]

    def fill(self, into: memoryview, version: ObjectVersion, span: ByteRange) -> None:
        """Copy *span* of the content of *version*; what nobody reads of it is never made."""
        for number in range(span.start // _PIECE, -(-span.stop // _PIECE)):
            piece = self._pieces.get((version, number))
            if piece is None:
                piece = self._pieces[version, number] = _piece(version, number)
            start, stop = max(span.start, number * _PIECE), min(span.stop, (number + 1) * _PIECE)
            place = slice(start - number * _PIECE, stop - number * _PIECE)
            into[start - span.start : stop - span.start] = piece[place]

    def has_ranges(self) -> bool:
        return self.ranges

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,
        *,
        reason: Reason = Reason.READ,  # noqa: ARG002
    ) -> Load:
        load = Load(self, version, byte_range, into, on_end, priority)
        assert len(into) == len(byte_range) > 0
        assert byte_range.stop <= version.size
        load.scribble()
        self.asked.append((version.key, byte_range, priority))
        self.loads.append(load)
        if self.is_prompt:
            _soon(load.land)
        return load

    def scribble(self) -> None:
        """Let every load under way write to its buffer."""
        for load in self.loads:
            load.scribble()

    def land_all(self) -> None:
        for load in list(self.loads):
            load.land()

    def let_go(self) -> None:
        """Let everything through, from now on too: the play is over, however it went."""
        self.is_prompt = True
        self.land_all()

    def cancelled_by(self, cache: BlockCache) -> list[Load]:
        """The loads in flight that nobody wants any more."""
        reads = [fetch.read for fetch in cache._loader._fetches if fetch.is_cancelled]
        return [load for load in self.loads if load in reads]

    def fail_all(self, error: S3MountError) -> None:
        for load in list(self.loads):
            load.fail(error)

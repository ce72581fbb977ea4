"""Hedged reads: readers get slices, and nothing is left behind.

Attempts are late, fail, or are cancelled at random, in threads and in the event loop.
"""

import random
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.ranges import KIB, FetchSizes
from s3mount.config import BlockConfig
from s3mount.errors import StaleVersion, StoreError
from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import Priority
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.scheduling.limiter import PermitWaiter
from s3mount.s3.transport import ReceiveState, Retryable
from tests.metrics import read_metrics
from tests.property.scripted_store import content_of

UNIT = 64 * KIB
VERSION = ObjectVersion("b", "key", "etag", 30 * UNIT + 7).with_version_id("v1")
CONTENT = content_of(VERSION)
CONNECTIONS = 6
LATE = 0.001  # seconds


class FickleTransport:
    """Sleeps, fails, writes rubbish, checks its token, or blocks until cancelled, by chance.

    The version is replaced at some time, and read by its version id from then on.
    """

    def __init__(self, chance: random.Random, failure_rate: float, stuck_rate: float) -> None:
        self._chance = chance
        self._failure_rate = failure_rate
        self._stuck_rate = stuck_rate
        self._is_replaced = False

    def has_ranges(self) -> bool:
        return True

    def get_range(
        self,
        version: ObjectVersion,  # noqa: ARG002 - the protocol's
        byte_range: ByteRange,
        *,
        version_id: str | None,
        deadline: float,  # noqa: ARG002 - the protocol's
        is_conditional: bool = True,  # noqa: ARG002 - the protocol's
        reason: Reason = Reason.READ,  # noqa: ARG002 - the protocol's
    ) -> "FickleRange":
        return FickleRange(self, byte_range, version_id)

    def read(
        self,
        span: ByteRange,
        version_id: str | None,
        into: Callable[[], memoryview],
        cancel_token: CancelToken,
    ) -> str | None:
        self._delay(cancel_token)
        self._is_replaced |= self._chance.random() < 0.02
        if self._is_replaced and version_id is None:
            raise StaleVersion("replaced")
        buffer = into()
        buffer[:] = b"\xee" * len(buffer)
        self._delay(cancel_token)
        buffer[:] = CONTENT[span.start : span.stop]
        return None

    def read_nowait(
        self,
        span: ByteRange,
        version_id: str | None,
        into: Callable[[], memoryview],
        cancel_token: CancelToken,
    ) -> "SentByChance | None":
        if self._chance.random() < 0.5:
            return None
        finish = partial(self.read, span, version_id, into, cancel_token)
        return SentByChance(self._chance, cancel_token, finish)

    def close(self) -> None: ...

    def _delay(self, cancel_token: CancelToken) -> None:
        time.sleep(self._chance.choice((0, 0, LATE, 3 * LATE)))  # latency of the store
        if self._chance.random() < 0.5:
            cancel_token.check()
        is_in_event_loop = (
            threading.current_thread() is threading.main_thread()
        )  # where all of the answer is here
        if self._chance.random() < self._stuck_rate and not is_in_event_loop:
            was_cancelled = threading.Event()
            cancel_token.attach(was_cancelled.set)
            assert was_cancelled.wait(20)
        if self._chance.random() < self._failure_rate:
            raise Retryable(StoreError("ill luck"))


class FickleRange:
    """`Sender` of a `FickleTransport`."""

    def __init__(
        self, transport: FickleTransport, byte_range: ByteRange, version_id: str | None
    ) -> None:
        self._transport = transport
        self._range = byte_range
        self._version_id = version_id

    def hedged(self) -> "FickleRange":
        return self

    def send(self, into: Callable[[], memoryview], cancel_token: CancelToken) -> str | None:
        return self._transport.read(self._range, self._version_id, into, cancel_token)

    def send_nowait(
        self, into: Callable[[], memoryview], cancel_token: CancelToken
    ) -> "SentByChance | None":
        return self._transport.read_nowait(self._range, self._version_id, into, cancel_token)


class SentByChance:
    """`PendingResponse`: bytes come at once, or later, or only when it is cancelled."""

    def __init__(
        self, chance: random.Random, cancel_token: CancelToken, finish: Callable[[], str | None]
    ) -> None:
        self._chance = chance
        self._finish = finish
        self._socket, self._peer = socket.socketpair()
        self.has_begun = False
        self._cord = cancel_token
        cancel_token.attach(self._come)
        if chance.random() < 0.8:
            self._come()

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive_available(self) -> ReceiveState:
        self.has_begun = self._chance.random() < 0.5
        return self._chance.choice(list(ReceiveState))

    def _come(self) -> None:
        self._peer.send(b"some")

    def finish(self) -> str | None:
        self._cord.detach()
        with self._socket, self._peer:
            return self._finish()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    failure_rate=st.sampled_from((0.0, 0.2)),
    patience=st.sampled_from((0.004, 1.0)),
)
def test_reads_that_are_sent_twice_equal_slices(
    seed: int, failure_rate: float, patience: float
) -> None:
    with patch("s3mount.s3.scheduling.executor.HAND_OVER_AFTER", 4 * LATE):
        trio.run(_play, random.Random(seed), failure_rate, 0.0, patience)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), stuck_rate=st.sampled_from((0.05, 0.3)))
def test_reads_without_readers_end_though_the_store_never_responds(
    seed: int, stuck_rate: float
) -> None:
    with patch("s3mount.s3.scheduling.executor.HAND_OVER_AFTER", 4 * LATE):
        trio.run(_play, random.Random(seed), 0.1, stuck_rate, 10 * LATE)


async def _play(
    chance: random.Random, failure_rate: float, stuck_rate: float, patience: float
) -> None:
    store = RemoteStore(
        FickleTransport(chance, failure_rate, stuck_rate),  # type: ignore[arg-type]  # ranges only
        max_connections=CONNECTIONS,
        timeout=60,
        pauses=lambda: iter([0.0] * 20),
    )
    store._reads.hedge_policy._earned = 1000.0
    async with trio.open_nursery() as loads:
        limit = 24 * UNIT
        cache = BlockCache(
            store, loads, BlockConfig(memory_limit=limit), FetchSizes(4 * UNIT, UNIT, UNIT, UNIT)
        )
        store._reads.hedge_policy.latency.late_after = LATE
        with trio.move_on_after(patience):
            async with trio.open_nursery() as readers:
                for _ in range(4):
                    readers.start_soon(_read, cache, chance)
    with trio.fail_after(5):
        while read_metrics(cache)["block_fetches_in_flight"]:  # noqa: ASYNC110 - a thread ends it
            await trio.sleep(LATE)
    for _ in range(CONNECTIONS):  # each attempt has released its permit, sooner or later
        with trio.fail_after(5):
            await PermitWaiter(store._limiter, Priority.DEMAND).acquire()
    ready = sum(
        max(len(block), 2048) for blocks in cache._versions.values() for block in blocks._blocks
    )
    assert read_metrics(cache)["block_fetches_in_flight"] == 0
    assert ready + cache._loader.memory._idle.octets == cache._loader.memory.used <= limit
    store.close()


async def _read(cache: BlockCache, chance: random.Random) -> None:
    reader = cache.open(VERSION)
    at = 0
    try:
        for _ in range(6):
            size = chance.choice((4096, UNIT, 3 * UNIT))
            at = at if chance.random() < 0.5 else chance.randrange(VERSION.size)
            assert CONTENT[at : at + size] == await reader.read(at, size)
            at += size
    finally:
        reader.close()

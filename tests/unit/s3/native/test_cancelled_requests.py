"""A call that is ended from outside, and a read that is sent twice, over real sockets."""

import contextlib
import gc
import mmap
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.object_store import Priority
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.scheduling.hedge_policy import ROUND
from s3mount.s3.scheduling.limiter import PermitWaiter
from s3mount.s3.transport import ReceiveState, Retryable
from tests.fakes.started_reads import read_range as read_started
from tests.metrics import read_metrics
from tests.unit.s3.clients import client
from tests.unit.s3.clients import read as read_range
from tests.unit.s3.scripted_server import (
    Line,
    Peer,
    ScriptedServer,
    part,
    receive,
    says,
    stalls_after,
    store_at,
)

CONTENT = bytes(range(250)) * 4
VERSION = ObjectVersion("bucket", "key", "abc", len(CONTENT))
RANGE = ByteRange(100, 900)
PART = part(CONTENT, RANGE.start, RANGE.stop)
RESPONSE = says(PART)


@contextmanager
def connecting(*script: Line) -> Iterator[tuple[BucketOperations, ScriptedServer]]:
    with client("native", *script) as operations_and_server:
        yield operations_and_server


def read(operations: BucketOperations, token: CancelToken) -> bytes:
    deadline = time.monotonic() + 30
    return read_range(operations, VERSION, RANGE, deadline=deadline, cancel_token=token)


@pytest.mark.parametrize("reads_before", [0, 1])
def test_a_call_that_waits_is_cancelled_at_once_and_opens_no_other_connection(
    reads_before: int,
) -> None:
    with connecting(*[RESPONSE] * reads_before, stalls_after()) as (operations, server):
        for _ in range(reads_before):
            read(operations, CancelToken())
        token = CancelToken()
        threading.Timer(0.05, token.cancel).start()

        started = time.monotonic()
        with pytest.raises((Retryable, RequestCancelledError)):
            read(operations, token)

        assert time.monotonic() - started < 10
        assert server.connections == 1


@contextmanager
def resolving(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that hangs; the event is set when a call has arrived there."""
    has_arrived, is_over = threading.Event(), threading.Event()
    resolve = socket.getaddrinfo

    def hang(*where: Any, **options: Any) -> Any:
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            return resolve(*where, **options)
        has_arrived.set()
        is_over.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield has_arrived
    is_over.set()


@pytest.mark.parametrize("is_closed", [False, True], ids=["cancelled", "closed"])
def test_a_call_that_waits_for_a_name_is_cancelled_at_once(
    monkeypatch: pytest.MonkeyPatch, *, is_closed: bool
) -> None:
    """It kept its buffer and permit, and an unmount waited, for the connect timeout."""
    operations, token = (
        BucketOperations(
            NativeTransport(store_at(80, host="name.invalid", connect_timeout=30.0)), "bucket"
        ),
        CancelToken(),
    )

    def end(has_arrived: threading.Event) -> None:
        has_arrived.wait(10)
        (operations.close if is_closed else token.cancel)()

    with resolving(monkeypatch) as has_arrived:
        threading.Thread(target=end, args=(has_arrived,)).start()
        started = time.monotonic()
        with pytest.raises((Retryable, RequestCancelledError)):
            read(operations, token)

        assert time.monotonic() - started < 10
    operations.close()


def test_a_call_that_is_cancelled_in_its_body_fails() -> None:
    with connecting(stalls_after(PART[:-1])) as (operations, _):
        token = CancelToken()
        threading.Timer(0.05, token.cancel).start()

        with pytest.raises(Retryable):
            read(operations, token)


@pytest.mark.parametrize(
    "line", [stalls_after(), stalls_after(PART[:-1])], ids=["before", "in-its-body"]
)
def test_a_request_that_was_sent_without_waiting_is_cancelled_too(line: Line) -> None:
    has_arrived = threading.Event()

    def arrives(peer: Peer) -> None:
        has_arrived.set()
        line(peer)

    with connecting(arrives) as (operations, server):
        operations.preconnect(deadline=time.monotonic() + 10)
        token, into, deadline = (
            CancelToken(),
            memoryview(bytearray(len(RANGE))),
            time.monotonic() + 30,
        )
        sender = operations.get_range(VERSION, RANGE, version_id=None, deadline=deadline)
        pending = sender.send_nowait(lambda: into, token)
        assert pending is not None
        assert has_arrived.wait(10)
        token.cancel()

        assert receive(pending, deadline) is ReceiveState.FALLBACK
        with pytest.raises((Retryable, RequestCancelledError)):
            pending.finish()
        assert server.connections == 1


def test_a_call_is_cancelled_while_it_opens_its_connection() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        contextlib.ExitStack() as queue,
    ):
        for _ in range(2):  # one more than the backlog says; the kernel answers no other
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        operations = BucketOperations(NativeTransport(store_at(full.getsockname()[1])), "bucket")
        token = CancelToken()
        threading.Timer(0.05, token.cancel).start()

        started = time.monotonic()
        with pytest.raises((Retryable, RequestCancelledError)):
            read(operations, token)

        assert time.monotonic() - started < 5
        operations.close()


def test_cancelling_a_call_that_has_ended_hurts_no_other() -> None:
    with connecting(RESPONSE, RESPONSE) as (operations, server):
        first = CancelToken()
        read(operations, first)

        first.cancel()

        assert read(operations, CancelToken()) == CONTENT[100:900]
        assert server.connections == 1


async def test_a_late_read_is_hedged_over_another_connection() -> None:
    with connecting(*[RESPONSE] * ROUND, stalls_after(), RESPONSE, RESPONSE) as (
        operations,
        server,
    ):
        store = RemoteStore(operations, max_connections=4, timeout=30)
        replies = []

        with trio.fail_after(15):
            for _ in range(ROUND + 2):
                into = bytearray(len(RANGE))
                await read_started(store, VERSION, RANGE, memoryview(into))
                replies.append(bytes(into))
            for _ in range(4):  # no permit is lost
                await PermitWaiter(store._limiter, Priority.DEMAND).acquire()

        statistics = read_metrics(store)
        assert set(replies) == {CONTENT[100:900]}
        assert (statistics["hedged_reads"], statistics["hedged_reads_won"]) == (1, 1)
        log = operations._transport._log  # type: ignore[attr-defined]
        assert log.counts()["GET"].by_outcome["succeeded"] == ROUND + 2
        assert log.counts()["GET"].by_outcome["cancelled"] == 1
        assert (log.reasons()["read"], log.reasons()["hedge"]) == (ROUND + 2, 1)
        assert (statistics["request_errors"], statistics["retries"]) == (0, 0)
        assert server.connections == 2


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_read_without_a_thread_leaves_its_buffer_to_no_cycle(*, is_cancelled: bool) -> None:
    with (
        connecting(stalls_after(PART[:-1]) if is_cancelled else RESPONSE) as (operations, _),
        without_collector(),
    ):
        operations.preconnect(deadline=time.monotonic() + 10)
        store, ended = RemoteStore(operations, max_connections=4, timeout=30), trio.Event()
        buffer = mmap.mmap(-1, len(RANGE))
        errors = []

        def on_end(_: ObjectVersion, error: BaseException | None) -> None:
            errors.append(error)
            ended.set()

        read = store.start_read(VERSION, RANGE, memoryview(buffer), on_end, Priority.DEMAND)
        if is_cancelled:
            read.cancel()
        with trio.fail_after(10):
            await ended.wait()
        del read

        buffer.close()  # BufferError while anything refers to it

    assert [error is not None for error in errors] == [is_cancelled]


@contextmanager
def without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

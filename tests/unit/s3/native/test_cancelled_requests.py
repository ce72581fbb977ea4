"""A call that is ended from outside, and a read that is asked twice, over real sockets."""

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
from s3mount.s3.object_store import Demand, Priority
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.scheduling.latency import ROUND
from s3mount.s3.scheduling.limiter import Permit
from s3mount.s3.transport import ReceiveState, Retryable
from tests.metrics import read_metrics
from tests.unit.s3.native.scripted import (
    Line,
    Peer,
    ScriptedServer,
    gather,
    part,
    says,
    scripted,
    stalls_after,
    store_at,
)

CONTENT = bytes(range(250)) * 4
VERSION = ObjectVersion("bucket", "key", "abc", len(CONTENT))
SPAN = ByteRange(100, 900)
PART = part(CONTENT, SPAN.start, SPAN.stop)
ANSWER = says(PART)


@contextmanager
def asking(*script: Line) -> Iterator[tuple[NativeTransport, ScriptedServer]]:
    with scripted(*script) as server:
        transport = NativeTransport(store_at(server.port))
        try:
            yield transport, server
        finally:
            transport.close()


def read(transport: NativeTransport, cord: CancelToken) -> bytes:
    into = bytearray(len(SPAN))
    deadline = time.monotonic() + 30
    transport.get_range(
        VERSION, SPAN, lambda: memoryview(into), version_id=None, deadline=deadline, cord=cord
    )
    return bytes(into)


@pytest.mark.parametrize("reads_before", [0, 1])
def test_a_call_that_waits_is_cut_at_once_and_asks_no_other_connection(reads_before: int) -> None:
    with asking(*[ANSWER] * reads_before, stalls_after()) as (transport, server):
        for _ in range(reads_before):
            read(transport, CancelToken())
        cord = CancelToken()
        threading.Timer(0.05, cord.pull).start()

        begun = time.monotonic()
        with pytest.raises((Retryable, RequestCancelledError)):
            read(transport, cord)

        assert time.monotonic() - begun < 10
        assert server.connections == 1


@contextmanager
def resolving(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that does not answer; the event is set when it was asked."""
    asked, is_over = threading.Event(), threading.Event()
    resolve = socket.getaddrinfo

    def hang(*where: Any, **options: Any) -> Any:
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            return resolve(*where, **options)
        asked.set()
        is_over.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield asked
    is_over.set()


@pytest.mark.parametrize("is_closed", [False, True], ids=["cut", "closed"])
def test_a_call_that_waits_for_a_name_is_cut_at_once(
    monkeypatch: pytest.MonkeyPatch, *, is_closed: bool
) -> None:
    """A killed reader kept its buffer and its place, and an unmount waited, until the connect timeout."""
    transport, cord = (
        NativeTransport(store_at(80, host="name.invalid", connect_timeout=30.0)),
        CancelToken(),
    )

    def end(asked: threading.Event) -> None:
        asked.wait(10)
        (transport.close if is_closed else cord.pull)()

    with resolving(monkeypatch) as asked:
        threading.Thread(target=end, args=(asked,)).start()
        begun = time.monotonic()
        with pytest.raises((Retryable, RequestCancelledError)):
            read(transport, cord)

        assert time.monotonic() - begun < 10
    transport.close()


def test_a_call_that_is_cut_in_its_body_fails() -> None:
    with asking(stalls_after(PART[:-1])) as (transport, _):
        cord = CancelToken()
        threading.Timer(0.05, cord.pull).start()

        with pytest.raises(Retryable):
            read(transport, cord)


@pytest.mark.parametrize(
    "line", [stalls_after(), stalls_after(PART[:-1])], ids=["before", "in-its-body"]
)
def test_a_question_that_was_sent_is_cut_too(line: Line) -> None:
    asked = threading.Event()

    def is_asked(peer: Peer) -> None:
        asked.set()
        line(peer)

    with asking(is_asked) as (transport, server):
        transport.prepare(deadline=time.monotonic() + 10)
        cord, into, deadline = (
            CancelToken(),
            memoryview(bytearray(len(SPAN))),
            time.monotonic() + 30,
        )
        sent = transport.begin_range(
            VERSION, SPAN, lambda: into, version_id=None, deadline=deadline, cord=cord
        )
        assert sent is not None
        assert asked.wait(10)
        cord.pull()

        assert gather(sent, deadline) is ReceiveState.OTHERWISE
        with pytest.raises((Retryable, RequestCancelledError)):
            sent.finish()
        assert server.connections == 1


def test_a_call_is_cut_while_it_opens_its_connection() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as unheeding,
        contextlib.ExitStack() as queue,
    ):
        for _ in range(
            2
        ):  # one connection more than the backlog says; from then on the kernel answers none
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(unheeding.getsockname())
        transport, cord = NativeTransport(store_at(unheeding.getsockname()[1])), CancelToken()
        threading.Timer(0.05, cord.pull).start()

        begun = time.monotonic()
        with pytest.raises((Retryable, RequestCancelledError)):
            read(transport, cord)

        assert time.monotonic() - begun < 5
        transport.close()


def test_cutting_a_call_that_has_ended_hurts_no_other() -> None:
    with asking(ANSWER, ANSWER) as (transport, server):
        first = CancelToken()
        read(transport, first)

        first.pull()

        assert read(transport, CancelToken()) == CONTENT[100:900]
        assert server.connections == 1


async def test_a_read_whose_answer_is_late_is_answered_by_another_connection() -> None:
    with asking(*[ANSWER] * ROUND, stalls_after(), ANSWER, ANSWER) as (transport, server):
        store = RemoteStore(transport, max_connections=4, timeout=30)
        replies = []

        with trio.fail_after(15):
            for _ in range(ROUND + 2):
                into = bytearray(len(SPAN))
                await store.get_range(VERSION, SPAN, memoryview(into))
                replies.append(bytes(into))
            for _ in range(4):  # no place is lost
                await Permit(store._gate, Priority.DEMANDED).enter()

        statistics = read_metrics(store)
        assert set(replies) == {CONTENT[100:900]}
        assert (statistics["hedged_reads"], statistics["hedged_reads_won"]) == (1, 1)
        assert statistics["get_requests"] == ROUND + 3
        assert (statistics["request_errors"], statistics["retries"]) == (0, 0)
        assert server.connections == 2


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_read_that_no_thread_waits_for_leaves_its_buffer_to_no_cycle(
    *, is_cancelled: bool
) -> None:
    with (
        asking(stalls_after(PART[:-1]) if is_cancelled else ANSWER) as (transport, _),
        without_collector(),
    ):
        transport.prepare(deadline=time.monotonic() + 10)
        store, ended = RemoteStore(transport, max_connections=4, timeout=30), trio.Event()
        buffer = mmap.mmap(-1, len(SPAN))
        begun = store.begin_range(VERSION, SPAN, memoryview(buffer), Demand(), ended.set)
        assert begun is not None
        if is_cancelled:
            begun.cancel()
        with trio.fail_after(10):
            await ended.wait()
        is_done = begun.is_done
        del begun

        buffer.close()  # BufferError while anything refers to it

    assert is_done is not is_cancelled


@contextmanager
def without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

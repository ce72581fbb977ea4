"""Reads from a store that serves a fixed number of connections, and leaves others silent.

Each would wait for a timeout of half a minute over a silent connection, and be retried. That none
is retried shows that none has waited so long.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trustme

from s3mount.s3 import silent_connections
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.native import connection_pool
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.object_store import Priority, StartedRead
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.request_log import RequestLog
from s3mount.s3.silent_connections import SilentConnections
from tests.unit.s3.saturated_server import SaturatedServer, saturated, slice_of
from tests.unit.s3.scripted_server import (
    ScriptedServer,
    part,
    says,
    scripted,
    stalls_after,
    store_at,
)
from tests.waiting import wait_until

CONTENT = bytes(range(256)) * 256
STEP = 1000  # bytes of a read
VERSION = ObjectVersion("bucket", "key", "abc", len(CONTENT))
TIMEOUT = 60.0


@contextmanager
def store_of(
    server: SaturatedServer | ScriptedServer, connections: int, **changes: object
) -> Iterator[RemoteStore]:
    """A store as a mount makes it, within its event loop. No request is to have failed."""
    connections_seen, requests = SilentConnections(), RequestLog()
    transport = NativeTransport(
        store_at(server.port, idle_timeout=30.0, **changes),
        requests,
        connections=connections,
        silent_connections=connections_seen,
    )
    store = RemoteStore(
        BucketOperations(transport, "bucket"),
        max_connections=connections,
        timeout=TIMEOUT,
        silent_connections=connections_seen,
    )
    try:
        yield store
        assert requests.errors() == []
    finally:
        store.close()


async def read(store: RemoteStore, start: int) -> bytes:
    """Read STEP bytes from *start* on."""
    ended, failures = trio.Event(), []

    def on_end(_version: ObjectVersion, error: BaseException | None) -> None:
        failures.append(error)
        ended.set()

    buffer = bytearray(STEP)
    span = ByteRange(start, start + STEP)
    store.start_read(VERSION, span, memoryview(buffer), on_end, Priority.DEMAND)
    await ended.wait()
    assert failures == [None]
    return bytes(buffer)


async def read_all(store: RemoteStore, count: int, readers: int) -> None:
    """Let *readers* make *count* reads each, and check their bytes."""

    async def make_reads(reader: int) -> None:
        for index in range(count):
            start = (reader * 7919 + index * 104_729) % (len(CONTENT) - STEP)
            assert await read(store, start) == CONTENT[start : start + STEP]

    async with trio.open_nursery() as nursery:
        for reader in range(readers):
            nursery.start_soon(make_reads, reader)


@pytest.mark.parametrize("served", [1, 3, 8])
@pytest.mark.parametrize("closes", [False, True], ids=["kept-alive", "closed"])
def test_a_store_of_few_connections_serves_many_readers_without_a_timeout(
    served: int, *, closes: bool
) -> None:
    async def main() -> None:
        with store_of(server, 96) as store:
            await read_all(store, 20, 24)

            assert (store.counts.retries, store.counts.throttles) == (0, 0)
            if not closes:
                assert store.counts.request_limit <= served + 1

    with saturated(served, slice_of(CONTENT), closes=closes) as server:
        trio.run(main)

        silent = server.connections - served if not closes else 24
        assert len(server.requests) <= 20 * 24 + silent


def test_requests_leave_silent_connections_though_no_other_request_is_sent() -> None:
    async def main() -> None:
        with store_of(server, 96) as store:
            await read_all(store, 1, 24)

            assert (store.counts.retries, store.counts.throttles) == (0, 0)

    with saturated(2, slice_of(CONTENT)) as server:
        trio.run(main)


def test_a_read_does_not_wait_for_connections_whose_bodies_take_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each attempt waited for half a minute, and was then made anew: the read failed."""
    monkeypatch.setattr(connection_pool, "PROVEN_WAIT", 0.1)
    response = part(CONTENT, 0, STEP)

    async def main() -> None:
        with store_of(server, 8) as store:
            buffer = memoryview(bytearray(STEP))
            busy = store.start_read(
                VERSION, ByteRange(0, STEP), buffer, lambda *_: ended.set(), Priority.DEMAND
            )
            await trio.to_thread.run_sync(wait_until, lambda: bool(server.requests))
            assert await read(store, 0) == CONTENT[:STEP]

            assert (store.counts.retries, store.counts.throttles) == (0, 0)
            busy.cancel()
            await ended.wait()

    ended = trio.Event()
    with scripted(stalls_after(response[:-1]), stalls_after(), says(response)) as server:
        trio.run(main)

        assert len(server.requests) == 3


def test_no_read_times_out_after_the_store_has_closed_all_idle_connections() -> None:
    async def main() -> None:
        with store_of(server, 96) as store:
            for _ in range(2):
                await read_all(store, 3, 24)
                server.end_connections()

            assert (store.counts.retries, store.counts.throttles) == (0, 0)

    with saturated(3, slice_of(CONTENT)) as server:
        trio.run(main)


def test_a_limit_of_connections_that_is_met_later_costs_no_timeout_either() -> None:
    async def main() -> None:
        with store_of(server, 60) as store:
            await read_all(store, 80, 60)

            assert (store.counts.retries, store.counts.throttles) == (0, 0)

    with saturated(40, slice_of(CONTENT)) as server:
        trio.run(main)

        assert len(server.requests) <= 80 * 60 + server.connections


def test_the_limit_of_requests_recovers_once_the_store_serves_more_connections() -> None:
    async def main() -> None:
        with store_of(server, 16) as store:
            await read_all(store, 5, 16)
            assert store.counts.request_limit <= 4

            server.serve_more(100)
            await read_all(store, 300, 16)
            assert store.counts.request_limit >= 12
            assert (store.counts.retries, store.counts.throttles) == (0, 0)

    with saturated(4, slice_of(CONTENT)) as server:
        trio.run(main)


def test_silent_handshakes_of_tls_cost_no_timeout_either(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("127.0.0.1").configure_cert(context)

    async def main() -> None:
        with store_of(server, 96, scheme="https", ca_bundle=str(bundle)) as store:
            await read_all(store, 10, 24)

            assert (store.counts.retries, store.counts.throttles) == (0, 0)

    with saturated(3, slice_of(CONTENT), context=context) as server:
        trio.run(main)


def test_connections_that_the_store_does_not_accept_cost_no_timeout_either() -> None:
    """Each waited for 10 s."""

    async def main() -> None:
        with store_of(server, 96) as store:
            await read_all(store, 10, 24)

            assert (store.counts.retries, store.counts.throttles) == (0, 0)
            assert store.counts.request_limit <= 4

    with saturated(3, slice_of(CONTENT), has_queue=False) as server:
        trio.run(main)


def test_reads_that_their_reader_gives_up_are_no_limit_of_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two that were cancelled early lowered the limit of requests for a thousand others."""
    monkeypatch.setattr(silent_connections, "LATE_MIN", 0.0)

    async def main() -> None:
        with store_of(server, 8) as store:
            await read(store, 0)
            ended = [trio.Event() for _ in range(4)]
            reads = [start_read(store, each) for each in ended]
            connections = store._limiter._silent_connections
            await trio.to_thread.run_sync(wait_until, lambda: connections.is_stalled)

            for each in reads:
                each.cancel()
            for event in ended:
                await event.wait()

            assert connections.limits_found == 0

    def start_read(store: RemoteStore, ended: trio.Event) -> StartedRead:
        buffer = memoryview(bytearray(STEP))
        span = ByteRange(0, STEP)
        return store.start_read(VERSION, span, buffer, lambda *_: ended.set(), Priority.DEMAND)

    with scripted(says(part(CONTENT, 0, STEP)), *[stalls_after()] * 4) as server:
        trio.run(main)

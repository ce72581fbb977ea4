"""Connections, credentials, clock and proxies of the native transport, over real sockets."""

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from s3mount.errors import AccessDenied, S3MountError
from s3mount.s3.endpoint.credentials import ANONYMOUS, FrozenCredentials
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.native.receive_buffer import SMALL_BODY
from s3mount.s3.native.socket_stream import PlainStream
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import ReceiveState, Retryable
from tests.unit.s3.clients import client, operations_over, read, read_nowait, soon
from tests.unit.s3.scripted_server import (
    FixedCredentials,
    Line,
    ScriptedServer,
    head,
    part,
    receive,
    refusal,
    says,
    says_and_ends,
    scripted,
    stalls_after,
    store_at,
)

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
VERSION = ObjectVersion("bucket", "dir/key +", "abc", len(CONTENT))
MIDDLE = ByteRange(100, 5000)
PART = part(CONTENT, 100, 5000)


@contextmanager
def native(*script: Line, **changes: object) -> Iterator[tuple[BucketOperations, ScriptedServer]]:
    with client("native", *script, **changes) as operations_and_server:
        yield operations_and_server


Read = Callable[..., bytes]


@pytest.fixture(params=[read, read_nowait], ids=["waiting", "nowait"])
def read_middle(request: pytest.FixtureRequest) -> Read:
    def call(operations: BucketOperations, *, deadline: float | None = None) -> bytes:
        content: bytes = request.param(operations, VERSION, MIDDLE, deadline=deadline)
        return content

    return call


def retryable(call: Callable[[], object]) -> Retryable:
    with pytest.raises(Retryable) as caught:
        call()
    return caught.value


def failure_of(kind: type[S3MountError], call: Callable[[], object]) -> S3MountError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


# requests that are sent without waiting


def test_a_small_range_is_sent_without_waiting_once_there_is_a_connection() -> None:
    with native(*[says(PART)] * 2) as (operations, server):
        sender = operations.get_range(VERSION, MIDDLE, version_id=None, deadline=soon())
        buffer = memoryview(bytearray(4900))

        assert sender.send_nowait(lambda: buffer, CancelToken()) is None
        operations.preconnect(deadline=soon())
        pending = sender.send_nowait(lambda: buffer, CancelToken())

        assert pending is not None
        assert receive(pending, soon()) is ReceiveState.COMPLETE
        assert pending.has_begun
        pending.finish()
        assert pending.has_begun
        assert buffer == CONTENT[100:5000]
        assert server.requests[0].startswith("GET /bucket/dir/key%20%2B HTTP/1.1\r\n")
        assert (len(server.requests), server.connections) == (1, 1)


@pytest.mark.parametrize(
    ("byte_range", "changes"),
    [
        (ByteRange(0, SMALL_BODY + 1), {}),
        (MIDDLE, {"credentials": FixedCredentials(ANONYMOUS, is_ready=False)}),
        (MIDDLE, {"credentials": FixedCredentials(FrozenCredentials("AKID", "secret", "\r\n"))}),
    ],
    ids=["large", "credentials-not-cached", "credentials-not-sendable"],
)
def test_what_has_to_wait_or_fails_is_not_sent_without_waiting(
    byte_range: ByteRange, changes: dict[str, object]
) -> None:
    with native(**changes) as (operations, server):
        operations.preconnect(deadline=soon())
        sender = operations.get_range(VERSION, byte_range, version_id=None, deadline=soon())

        assert sender.send_nowait(lambda: memoryview(bytearray(1)), CancelToken()) is None
        assert not server.requests


def test_few_frames_lead_to_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    depths: list[int] = []
    send = PlainStream.send

    def record(stream: PlainStream, message: bytes) -> None:
        depths.append(len(traceback.extract_stack()))
        send(stream, message)

    with native(says(PART)) as (operations, _):
        operations.preconnect(deadline=soon())
        monkeypatch.setattr(PlainStream, "send", record)
        sender = operations.get_range(VERSION, MIDDLE, version_id=None, deadline=soon())
        pending = sender.send_nowait(lambda: memoryview(bytearray(4900)), CancelToken())
        assert pending is not None
        pending.finish()

    here = len(traceback.extract_stack())
    assert depths == [here + 4]  # the operation, the transport, the connection, the stream


def test_credentials_that_no_header_can_carry_are_refused() -> None:
    keys = FrozenCredentials("AKID", "secret", "token\r\nx-evil: 1")
    with native(credentials=FixedCredentials(keys)) as (operations, server):
        failure_of(AccessDenied, lambda: operations.head("k", deadline=soon()))

        assert server.requests == []


# connections


def test_a_connection_that_ends_with_the_next_request_is_replaced_once(read_middle: Read) -> None:
    with native(says(PART), says_and_ends(b""), says(PART)) as (operations, server):
        assert read_middle(operations) == read_middle(operations) == CONTENT[100:5000]
        assert server.connections == 2


def test_a_new_connection_that_ends_without_a_response_is_a_failure() -> None:
    with native(says(PART), says_and_ends(b""), says_and_ends(b"")) as (operations, server):
        read(operations, VERSION, MIDDLE)

        retryable(lambda: read(operations, VERSION, MIDDLE))
        assert server.connections == 2


def test_an_early_connection_serves_the_first_request(read_middle: Read) -> None:
    with native(says(PART)) as (operations, server):
        operations.preconnect(deadline=soon())

        assert read_middle(operations) == CONTENT[100:5000]
        assert server.connections == 1


def test_an_early_connection_that_was_closed_meanwhile_is_no_failure(read_middle: Read) -> None:
    with native(says_and_ends(b""), says(PART)) as (operations, server):
        operations.preconnect(deadline=soon())

        assert read_middle(operations) == CONTENT[100:5000]
        assert server.connections == 2


def test_a_store_that_is_not_there_is_no_failure_before_a_request() -> None:
    with scripted() as server:
        port = server.port

    NativeTransport(store_at(port)).preconnect(deadline=soon())


def test_a_body_after_a_head_costs_the_connection() -> None:
    with native(says(head(Content_Length=5), b"hello"), says(head(Content_Length=6))) as (
        operations,
        server,
    ):
        sizes = [operations.head("k", deadline=soon()).version.size for _ in range(2)]

        assert sizes == [5, 6]
        assert server.connections == 2


def test_a_name_without_an_address_may_be_retried(read_middle: Read) -> None:
    with operations_over(NativeTransport(store_at(1, host="nowhere.invalid"))) as operations:
        retryable(lambda: read_middle(operations, deadline=soon(3)))


def test_closing_wakes_the_threads_that_wait(read_middle: Read) -> None:
    arrived = threading.Event()

    def arrive_and_stall(peer: object) -> None:
        arrived.set()
        stalls_after(b"")(peer)  # type: ignore[arg-type]

    with native(arrive_and_stall) as (operations, _):
        faults: list[Retryable] = []
        reader = threading.Thread(
            target=lambda: faults.append(retryable(lambda: read_middle(operations)))
        )
        reader.start()
        arrived.wait()

        operations.close()
        reader.join(2)

        assert len(faults) == 1
        retryable(lambda: read_middle(operations))


# the clock


def test_a_wrong_clock_is_replaced_by_the_stores() -> None:
    date = "Sun, 22 Nov 2026 12:31:47 GMT"
    late = head("403 Forbidden", ETag=None, Last_Modified=None, Content_Length=0, Date=date)
    skewed = refusal("403 Forbidden", "RequestTimeTooSkewed", Date=date)
    for refused in (late, skewed):
        with scripted(says(refused), says(head(Content_Length=5)), says(refused)) as server:
            transport = NativeTransport(store_at(server.port), wall_clock=lambda: 1_000_000_000.0)
            with operations_over(transport) as operations:
                with pytest.raises(Retryable):
                    operations.head("k", deadline=soon())
                operations.head("k", deadline=soon())
                with pytest.raises(AccessDenied):
                    operations.head("k", deadline=soon())

            assert "x-amz-date: 20010909T" in server.requests[0]
            assert "x-amz-date: 20261122T123147Z" in server.requests[1]


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 99 Nov 2026 12:31:47 GMT"])
def test_a_clock_is_not_replaced_by_what_is_no_date(date: str | None) -> None:
    transport = NativeTransport(store_at(1))

    assert not transport.adjust_clock(date)


# proxies


def test_a_proxy_forwards_requests_over_http() -> None:
    with scripted(says(head(Content_Length=5))) as proxy:
        store = store_at(
            80, host="store.test", proxy=f"http://us%40er:pa%20ss@127.0.0.1:{proxy.port}"
        )
        with operations_over(NativeTransport(store)) as operations:
            operations.head("k", deadline=soon())

        assert proxy.requests[0].startswith(
            "HEAD http://store.test/bucket/k HTTP/1.1\r\nhost: store.test\r\n"
        )
        assert "\r\nProxy-Authorization: Basic dXNAZXI6cGEgc3M=" in proxy.requests[0]

"""No failure at any step leaves a socket open, whatever fails and however."""

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from s3mount.errors import AccessDenied, S3MountError
from s3mount.s3 import tcp_connect
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.native import connection, connector, socket_stream
from s3mount.s3.native.receive_buffer import ReceiveBuffer
from s3mount.s3.native.tls_stream import TlsStream
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import Retryable
from tests.unit.s3.clients import read
from tests.unit.s3.native.test_tls import Authority, authority
from tests.unit.s3.scripted_server import (
    FixedCredentials,
    part,
    says,
    says_and_ends,
    scripted,
    store_at,
)

__all__ = ["authority"]  # a fixture

CONTENT = bytes(range(250)) * 4
VERSION = ObjectVersion("bucket", "key", "abc", len(CONTENT))
RANGE = ByteRange(100, 900)
RESPONSE = part(CONTENT, RANGE.start, RANGE.stop)
STEPS_MAX = 200


class Injected(Exception):
    """An unexpected failure."""


class Steps:
    """Counts the steps that can fail. The one with number *failing* raises *failure*."""

    def __init__(self) -> None:
        self.count = 0
        self.failing = -1
        self.failure: Exception = OSError()
        self.sockets: list[
            socket.socket
        ] = []  # kept, so that a socket that was left open is not closed by chance

    def begin(self, failing: int, failure: Exception) -> None:
        self.count, self.failing, self.failure = 0, failing, failure
        self.sockets.clear()

    def step(self) -> None:
        self.count += 1
        if self.count == self.failing:
            raise self.failure

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **kwargs: Any) -> Any:
            self.step()
            return function(*args, **kwargs)

        return stepped


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Steps: the calls that open, set up or use a socket in `s3/native`."""
    steps = Steps()

    class Stepping(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            steps.step()
            super().__init__(*args, **kwargs)
            steps.sockets.append(self)

        settimeout = steps.around(socket.socket.settimeout)
        connect_ex = steps.around(socket.socket.connect_ex)
        getsockopt = steps.around(socket.socket.getsockopt)
        setsockopt = steps.around(socket.socket.setsockopt)
        sendall = steps.around(socket.socket.sendall)
        recv_into = steps.around(socket.socket.recv_into)

    monkeypatch.setattr(
        tcp_connect, "socket", SimpleNamespace(**{**vars(socket), "socket": Stepping})
    )
    polling = SimpleNamespace(**{**vars(select), "poll": steps.around(select.poll)})
    monkeypatch.setattr(tcp_connect, "select", polling)
    monkeypatch.setattr(socket_stream, "select", polling)
    monkeypatch.setattr(connector, "TlsStream", steps.around(TlsStream))
    monkeypatch.setattr(connection, "ReceiveBuffer", steps.around(ReceiveBuffer))
    return steps


class SteppingCredentials(FixedCredentials):
    def __init__(self, steps: Steps) -> None:
        super().__init__(FrozenCredentials("AKID", "secret"))
        self.steps = steps

    def frozen(self, deadline: float, cancel_token: CancelToken | None = None) -> FrozenCredentials:
        self.steps.step()
        return super().frozen(deadline, cancel_token)


def _use(transport: NativeTransport) -> None:
    """Open a connection early, use it without waiting and with, lose it, replace it, release it."""
    deadline = time.monotonic() + 10
    into = bytearray(len(RANGE))
    operations = BucketOperations(transport, "bucket")
    operations.preconnect(deadline=deadline)
    sender = operations.get_range(VERSION, RANGE, version_id=None, deadline=deadline)
    pending = sender.send_nowait(lambda: memoryview(into), CancelToken())
    if pending is not None:
        with suppress(S3MountError, Retryable, Injected):
            pending.finish()
    for _ in range(2):
        with suppress(S3MountError, Retryable):
            sender.send(lambda: memoryview(into), CancelToken())


@pytest.fixture(params=["plain", "tls"])
def settings(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    if request.param == "plain":
        yield {}
    else:
        yield {"authority": request.getfixturevalue("authority")}


@pytest.mark.parametrize(
    "failure",
    [OSError("injected"), Injected(), AccessDenied("injected"), MemoryError()],
    ids=lambda it: type(it).__name__,
)
def test_whichever_step_fails_no_socket_is_left_open(
    failure: Exception, steps: Steps, settings: dict[str, Any]
) -> None:
    tls: Authority | None = settings.get("authority")
    changes = {"scheme": "https", "ca_bundle": tls.bundle} if tls else {}
    failing = 0
    while True:
        failing += 1
        steps.begin(-1, failure)
        with scripted(
            says(RESPONSE),
            says_and_ends(b""),
            *[says(RESPONSE)] * 5,
            context=tls.context if tls else None,
        ) as server:
            steps.begin(failing, failure)
            transport = NativeTransport(
                store_at(server.port, credentials=SteppingCredentials(steps), **changes)
            )
            with suppress(Injected, AccessDenied, MemoryError):
                _use(transport)
            in_pool = {each.fileno() for _, each in transport._pool._idle}
            left = [each for each in steps.sockets if each.fileno() not in {-1, *in_pool}]
            transport.close()
            left_at_end = [each for each in steps.sockets if each.fileno() != -1]
        assert left == [], f"step {failing}"
        assert left_at_end == [], f"step {failing}"
        if steps.count < failing:
            break
    assert 20 < failing < STEPS_MAX


def test_an_address_of_an_unsupported_family_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with scripted(says(RESPONSE)) as server:
        ours = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        lacking = (socket.AF_X25, socket.SOCK_STREAM, 6, "", ("nowhere", 1))
        monkeypatch.setattr(tcp_connect, "resolve_name", lambda *_: [lacking, ours])
        transport = NativeTransport(store_at(server.port))

        content = read(BucketOperations(transport, "bucket"), VERSION, RANGE)

        transport.close()
        assert content == CONTENT[RANGE.start : RANGE.stop]


def test_a_connection_with_a_full_send_buffer_is_not_idle() -> None:
    """The event loop would wait for its send buffer, half a second with each request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.create_connection(server.getsockname())
        plain = socket_stream.PlainStream(sock, idle_timeout=10.0)
        plain.configure()
        plain.set_deadline(time.monotonic() + 10)
        peer, _ = server.accept()

        assert plain.is_idle()
        with suppress(TimeoutError):
            plain.send(bytes(1 << 26))
        assert not plain.is_idle()

        plain.close()
        peer.close()


def test_the_shortest_idle_timeout_is_no_wait_for_ever() -> None:
    """SO_RCVTIMEO takes microseconds, and 0 of them for no limit."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.create_connection(server.getsockname())
        plain = socket_stream.PlainStream(sock, idle_timeout=1e-7)
        plain.configure()
        plain.set_deadline(time.monotonic() + 10)

        with pytest.raises(TimeoutError):
            plain.receive(memoryview(bytearray(1)))

        plain.close()

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
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.native import connection, connector, socket_stream
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import Retryable
from tests.unit.s3.native.scripted import (
    FixedCredentials,
    part,
    says,
    says_and_ends,
    scripted,
    store_at,
)
from tests.unit.s3.native.test_tls import Authority, authority

__all__ = ["authority"]  # a fixture

CONTENT = bytes(range(250)) * 4
VERSION = ObjectVersion("bucket", "key", "abc", len(CONTENT))
SPAN = ByteRange(100, 900)
ANSWER = part(CONTENT, SPAN.start, SPAN.stop)
STEPS_MAX = 200


class Injected(Exception):
    """What nobody expects."""


class Steps:
    """Counts the steps that can fail; *failing* is the number of the one that does, and *failure* what it raises."""

    def __init__(self) -> None:
        self.count = 0
        self.failing = -1
        self.failure: Exception = OSError()
        self.sockets: list[
            socket.socket
        ] = []  # referred to, so that a socket that was left is not closed by chance

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
    """Every call that opens, sets up or uses a socket in `dial`, `stream` and `connection` is a step."""
    steps = Steps()

    class Stepping(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            steps.step()
            super().__init__(*args, **kwargs)
            steps.sockets.append(self)

        settimeout = steps.around(socket.socket.settimeout)
        connect = steps.around(socket.socket.connect)
        setsockopt = steps.around(socket.socket.setsockopt)
        sendall = steps.around(socket.socket.sendall)
        recv_into = steps.around(socket.socket.recv_into)

    monkeypatch.setattr(
        connector, "socket", SimpleNamespace(**{**vars(socket), "socket": Stepping})
    )
    monkeypatch.setattr(
        socket_stream,
        "select",
        SimpleNamespace(**{**vars(select), "poll": steps.around(select.poll)}),
    )
    monkeypatch.setattr(connector, "TlsStream", steps.around(socket_stream.TlsStream))
    monkeypatch.setattr(connection, "_BufferedSource", steps.around(connection._BufferedSource))
    return steps


class SteppingCredentials(FixedCredentials):
    def __init__(self, steps: Steps) -> None:
        super().__init__(FrozenCredentials("AKID", "secret"))
        self.steps = steps

    def frozen(self, deadline: float, cancel_token: CancelToken | None = None) -> FrozenCredentials:
        self.steps.step()
        return super().frozen(deadline, cancel_token)


def _use(transport: NativeTransport) -> None:
    """A connection is prepared, used without waiting and with, lost to its peer, replaced, and put back."""
    deadline = time.monotonic() + 10
    into = bytearray(len(SPAN))
    ask = {"version_id": None, "deadline": deadline, "cord": CancelToken()}
    transport.prepare(deadline=deadline)
    sent = transport.begin_range(VERSION, SPAN, lambda: memoryview(into), **ask)  # type: ignore[arg-type]  # one dict for all
    if sent is not None:
        with suppress(S3MountError, Retryable, Injected):
            sent.finish()
    for _ in range(2):
        with suppress(S3MountError, Retryable):
            transport.get_range(VERSION, SPAN, lambda: memoryview(into), **ask)  # type: ignore[arg-type]  # one dict for all


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
            says(ANSWER),
            says_and_ends(b""),
            *[says(ANSWER)] * 5,
            context=tls.context if tls else None,
        ) as server:
            steps.begin(failing, failure)
            transport = NativeTransport(
                store_at(server.port, credentials=SteppingCredentials(steps), **changes)
            )
            with suppress(Injected, AccessDenied, MemoryError):
                _use(transport)
            in_pool = {each.fileno() for _, each in transport._exchange._pool._idle}
            left = [each for each in steps.sockets if each.fileno() not in {-1, *in_pool}]
            transport.close()
            left_at_end = [each for each in steps.sockets if each.fileno() != -1]
        assert left == [], f"step {failing}"
        assert left_at_end == [], f"step {failing}"
        if steps.count < failing:
            break
    assert 20 < failing < STEPS_MAX


def test_an_address_of_a_family_that_this_machine_lacks_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with scripted(says(ANSWER)) as server:
        ours = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        lacking = (socket.AF_X25, socket.SOCK_STREAM, 6, "", ("nowhere", 1))
        monkeypatch.setattr(connector, "resolved", lambda *_: [lacking, ours])
        transport = NativeTransport(store_at(server.port))
        into = bytearray(len(SPAN))

        transport.get_range(
            VERSION, SPAN, lambda: memoryview(into), version_id=None, deadline=time.monotonic() + 10
        )

        transport.close()
        assert into == CONTENT[SPAN.start : SPAN.stop]


def test_a_connection_whose_peer_reads_nothing_serves_no_more() -> None:
    """The event loop would wait for its send buffer, half a second with each request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        plain = socket_stream.PlainStream(socket.socket(), idle_timeout=10.0)
        plain.connect(server.getsockname(), 10.0)
        plain.wait_until(time.monotonic() + 10)
        peer, _ = server.accept()

        assert plain.is_quiet()
        with suppress(TimeoutError):
            plain.send(bytes(1 << 26))
        assert not plain.is_quiet()

        plain.close()
        peer.close()

"""The server of the control socket, with clients that behave well and badly, over real sockets.

With a clock that jumps when nothing can go on, no test waits.
"""
# ruff: noqa: ARG001 - a clock for its effect, arguments of commands

import errno
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.accept_loop import FAILURE_PAUSE
from s3mount.control.admission import CLIENTS_MAX, IDLE_MIN, STREAMS_MAX
from s3mount.control.commands import Commands, Send
from s3mount.control.connection import IDLE_TIMEOUT, SEND_TIMEOUT
from s3mount.control.listening_socket import ListeningSocket
from s3mount.control.pacer import BURST, RATE
from s3mount.control.protocol import LINE_MAX, Arguments, Greeting, LineSplitter, Object
from s3mount.control.server import ControlServer
from s3mount.errors import NotFound, S3MountError, StoreError

GREETING = Greeting(
    s3mount="1", pid=os.getpid(), connection=52, source="s3://b", mountpoint="/m", since=1.0
)
BUG = "the command status of the control socket failed: this is a bug"


class Client:
    """A client that sends and receives lines."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._lines = LineSplitter(limit=None)

    async def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """Send a request, and return the first line of the reply."""
        await self.send(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
        return await self.receive()

    async def send(self, octets: bytes) -> None:
        await self.stream.send_all(octets)

    async def send_often(self, octets: bytes, times: int) -> None:
        for _ in range(times):
            await self.send(octets)

    async def receive(self) -> dict[str, Any]:
        """Return the next line; an empty object at the end."""
        while (line := self._lines.next_line()) is None:
            piece = await receive_some(self.stream)
            if not piece:
                return {}
            self._lines.feed(piece)
        found: dict[str, Any] = json.loads(line)
        return found


async def receive_some(stream: trio.SocketStream) -> bytes:
    """Receive; the end of the connection, however it ended, is no bytes."""
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


class Server:
    """A running server, and its clients."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Yield a client that was greeted."""
        async with await trio.open_unix_socket(self.path) as stream:
            client = Client(stream)
            assert await client.receive() == GREETING.as_object()
            yield client


@asynccontextmanager
async def serving(
    directory: Path, commands: Commands, *, allowed: frozenset[int] = frozenset({os.getuid()})
) -> AsyncIterator[Server]:
    listening = ListeningSocket(directory / "52.socket")
    try:
        async with trio.open_nursery() as nursery:
            server = ControlServer(listening, GREETING, commands, allowed)
            nursery.start_soon(server.run)
            yield Server(listening.path)
            nursery.cancel_scope.cancel()
    finally:
        listening.close()


async def answer(arguments: Arguments, send: Send) -> Object:
    """The command status, which answers at once."""
    return {"well": True}


class Endless:
    """A command that sends items without end, and notes when it was cancelled."""

    def __init__(self, item: Mapping[str, object], pause: float = 0.0) -> None:
        self.ended_at: float | None = None
        self._item = item
        self._pause = pause

    async def __call__(self, arguments: Arguments, send: Send) -> Object:  # noqa: ARG002
        try:
            while True:
                await send([self._item])
                await trio.sleep(self._pause)
        finally:
            self.ended_at = trio.current_time()


class Waiting(Endless):
    """A command that sends nothing and does not end."""

    async def __call__(self, arguments: Arguments, send: Send) -> Object:  # noqa: ARG002
        try:
            await trio.sleep_forever()
        finally:
            self.ended_at = trio.current_time()


def raising(failure: Exception) -> Commands:
    async def fail(arguments: Arguments, send: Send) -> Object:
        raise failure

    return {"status": fail, "activity": answer}


async def test_a_request_is_answered_by_its_command(tmp_path: Path) -> None:
    async with serving(tmp_path, {"status": answer}) as server, server.client() as client:
        assert await client.ask("status") == {"result": {"well": True}}


async def test_requests_sent_at_once_are_answered_in_order(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(tmp_path, {"status": answer}) as server, server.client() as client:
        await client.send(b'{"command":"status"}\nnothing\n{"command":"st')
        assert "result" in await client.receive()
        assert (await client.receive())["error"]["code"] == "bad-request"
        await client.send(b'atus"}\n')
        assert "result" in await client.receive()


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (StoreError("the store is away"), "failed", "the store is away"),
        (NotFound("no such file or directory"), "no-such-path", "no such file or directory"),
    ],
)
async def test_an_expected_failure_is_told(
    tmp_path: Path, failure: S3MountError, code: str, message: str
) -> None:
    async with serving(tmp_path, raising(failure)) as server, server.client() as client:
        assert await client.ask("status") == {"error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    "failure",
    [
        ZeroDivisionError("a secret"),
        ExceptionGroup("several", [ValueError("a secret")]),
        RecursionError(),
    ],
)
async def test_a_bug_of_a_command_is_logged_and_ends_nothing(
    tmp_path: Path, failure: Exception, expected_warnings: list[str]
) -> None:
    expected_warnings.append(BUG)
    async with serving(tmp_path, raising(failure)) as server, server.client() as client:
        refused = (await client.ask("status"))["error"]
        assert refused["code"] == "failed"
        assert "secret" not in refused["message"]
        assert "result" in await client.ask("activity")


async def test_a_result_that_is_no_json_is_a_bug(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append(BUG)

    async def wrong(arguments: Arguments, send: Send) -> Object:
        return {"seconds": float("inf"), "path": b"bytes"}

    async with serving(tmp_path, {"status": wrong}) as server, server.client() as client:
        assert (await client.ask("status"))["error"]["code"] == "failed"


async def test_a_line_without_end_costs_its_client_the_connection_and_others_nothing(
    tmp_path: Path,
) -> None:
    async with (
        serving(tmp_path, {"status": answer}) as server,
        server.client() as flooding,
        server.client() as other,
    ):
        with pytest.raises(trio.BrokenResourceError):
            await flooding.send_often(b"x" * LINE_MAX, 1 << 14)  # 1 GiB
        assert (await flooding.receive())["error"]["code"] == "bad-request"
        assert await flooding.receive() == {}
        assert "result" in await other.ask("status")


async def test_requests_without_end_cost_their_client_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path, {"status": answer}) as server, server.client() as flooding:
        with pytest.raises(trio.BrokenResourceError):
            await flooding.send_often(b'{"command":"status"}\n' * 1000, 1 << 14)


async def test_a_client_that_does_not_read_is_dropped_and_its_command_cancelled(
    autojump_clock: MockClock,
    tmp_path: Path,
) -> None:
    endless = Endless({"padding": "x" * 10_000})
    async with (
        serving(tmp_path, {"trace": endless, "status": answer}) as server,
        server.client() as stalled,
        server.client() as other,
    ):
        await stalled.send(b'{"command":"trace"}\n')
        began = trio.current_time()
        while endless.ended_at is None:
            assert "result" in await other.ask("status")
            await trio.sleep(1)

    assert endless.ended_at - began == pytest.approx(SEND_TIMEOUT, abs=1)


async def test_a_client_that_reads_slowly_is_kept(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    endless = Endless({"padding": "x" * 10_000})
    async with serving(tmp_path, {"trace": endless}) as server, server.client() as slow:
        await slow.send(b'{"command":"trace"}\n')
        for _ in range(300):
            assert "item" in await slow.receive()
            await trio.sleep(0.1)

        assert endless.ended_at is None


@pytest.mark.parametrize("sent", [b"", b'{"command":"sta'], ids=["nothing", "half a line"])
async def test_a_client_without_a_request_is_dropped(
    autojump_clock: MockClock, tmp_path: Path, sent: bytes
) -> None:
    async with serving(tmp_path, {}) as server, server.client() as idle:
        began = trio.current_time()
        await idle.send(sent)
        assert await idle.receive() == {}

        assert trio.current_time() - began == pytest.approx(IDLE_TIMEOUT, abs=1)


@pytest.mark.parametrize(
    "leave",
    [
        lambda stream: stream.socket.close(),
        lambda stream: stream.socket.shutdown(socket.SHUT_WR),
        lambda stream: stream.socket.shutdown(socket.SHUT_RDWR),
    ],
    ids=["close", "half-close", "shutdown"],
)
@pytest.mark.parametrize("command", [Waiting({}), Endless({"n": 1}, pause=1.0)])
async def test_a_command_is_cancelled_when_its_client_goes(
    autojump_clock: MockClock,
    tmp_path: Path,
    leave: Callable[[trio.SocketStream], None],
    command: Endless,
) -> None:
    command.ended_at = None
    async with (
        serving(tmp_path, {"trace": command, "status": answer}) as server,
        server.client() as client,
    ):
        await client.send(b'{"command":"trace"}\n{"command":"status"}\n')
        await wait_all_tasks_blocked()
        began = trio.current_time()
        leave(client.stream)
        await wait_all_tasks_blocked()

        assert command.ended_at == pytest.approx(began)


async def test_more_clients_than_there_is_room_for_are_told_so(tmp_path: Path) -> None:
    async with serving(tmp_path, {"status": answer}) as server, AsyncExitStack() as clients:
        for _ in range(CLIENTS_MAX):
            await clients.enter_async_context(server.client())

        async with await trio.open_unix_socket(server.path) as stream:
            refused = Client(stream)
            assert (await refused.receive())["error"]["code"] == "busy"
            assert await refused.receive() == {}


async def test_the_client_that_is_idle_the_longest_makes_room(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Sixteen idle clients kept all others out for a minute."""
    commands: Commands = {"status": answer, "trace": Endless({"n": 1}, pause=1.0)}
    async with serving(tmp_path, commands) as server, AsyncExitStack() as stack:
        clients = []
        for _ in range(CLIENTS_MAX):
            clients.append(await stack.enter_async_context(server.client()))
            await trio.sleep(0.1)
        tracing, asking, idle = clients[:3]
        await tracing.send(b'{"command":"trace"}\n')
        await trio.sleep(IDLE_MIN)
        await asking.ask("status")

        async with server.client() as further:
            assert "result" in await further.ask("status")

        assert await idle.receive() == {}
        assert "item" in await tracing.receive()
        for client in (asking, *clients[3:]):
            assert "result" in await client.ask("status")


async def test_clients_that_trace_leave_room_for_others(tmp_path: Path) -> None:
    commands: Commands = {"status": answer, "trace": Waiting({})}
    async with serving(tmp_path, commands) as server, AsyncExitStack() as stack:
        for _ in range(STREAMS_MAX):
            client = await stack.enter_async_context(server.client())
            await client.send(b'{"command":"trace"}\n')
        await wait_all_tasks_blocked()

        async with server.client() as further:
            assert (await further.ask("trace"))["error"]["code"] == "busy"
            assert "result" in await further.ask("status")


async def test_a_trace_that_has_ended_takes_no_room(tmp_path: Path) -> None:
    commands = {"status": answer, "trace": answer}
    async with serving(tmp_path, commands) as server, server.client() as client:
        for _ in range(STREAMS_MAX + 1):
            assert "result" in await client.ask("trace")


async def test_another_user_is_disconnected_without_a_word(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, {"status": answer}, allowed=frozenset({4711})) as server,
        await trio.open_unix_socket(server.path) as stream,
    ):
        assert await receive_some(stream) == b""


async def test_a_flood_of_requests_takes_a_small_share_of_the_event_loop(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with (
        serving(tmp_path, {"status": answer}) as server,
        server.client() as flooding,
        server.client() as other,
    ):
        began = trio.current_time()
        for number in range(200):
            assert "result" in await flooding.ask("status")
            if number == 100:
                before = trio.current_time()
                assert "result" in await other.ask("status")
                assert trio.current_time() - before < 3 / RATE

        assert trio.current_time() - began >= (200 - BURST) / RATE


class Exhausted:
    """A listener that has no descriptor for the first clients."""

    def __init__(self, listener: trio.socket.SocketType) -> None:
        self._listener = listener
        self._failures = 3

    async def accept(self) -> tuple[trio.socket.SocketType, object]:
        if self._failures:
            self._failures -= 1
            await trio.lowlevel.checkpoint()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return await self._listener.accept()


async def test_a_lack_of_descriptors_delays_clients_and_ends_nothing(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = trio.socket.from_stdlib_socket
    monkeypatch.setattr(trio.socket, "from_stdlib_socket", lambda sock: Exhausted(original(sock)))
    async with serving(tmp_path, {"status": answer}) as server:
        await wait_all_tasks_blocked()
        monkeypatch.undo()
        began = trio.current_time()
        async with server.client() as client:
            assert "result" in await client.ask("status")

        assert trio.current_time() - began == pytest.approx(3 * FAILURE_PAUSE, abs=1)


async def test_nothing_runs_while_no_client_is_connected(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """With a timer, the clock would stop at it: a deadline, or a poll."""
    async with serving(tmp_path, {"status": answer}) as server:
        async with server.client() as client:
            await client.ask("status")
        await wait_all_tasks_blocked()

        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")

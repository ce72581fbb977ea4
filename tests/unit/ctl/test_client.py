"""The client of the control socket, with a server that says what a test wants."""

import json
import math
import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from s3mount.ctl.client import (
    GREETING_LIMIT,
    START_LIMIT,
    Client,
    clear_command,
    connected,
    open_socket,
)
from s3mount.ctl.health import State, check_all
from s3mount.ctl.mounts import Mount
from s3mount.ctl.warm import replies
from s3mount.errors import CommandFailed, NotServed
from tests.fakes.control_server import CONNECTION, GREETING, ControlServer, control_server, results


def _mount(socket: Path | None, connection: int = CONNECTION) -> Mount:
    sockets = (socket,) if socket else ()
    return Mount("s3://photos/2024", "/mnt/photos", connection, sockets, os.getuid())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "52.socket"


def _error(message: Mapping[str, Any]) -> Any:
    return lambda _: [message]


def test_a_call_returns_the_result(path: Path) -> None:
    with (
        control_server(path, {"refresh": results({"forgotten": 3})}) as server,
        connected(_mount(path)) as client,
    ):
        assert client.call("refresh", path="a\udcff") == {"forgotten": 3}
        assert client.greeting.pid == GREETING["pid"]

    assert server.requests == [{"command": "refresh", "arguments": {"path": "a\udcff"}}]


def test_a_mount_that_has_just_begun_may_greet_late(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine it imports for longer than a listed mount may take to greet."""
    limits = list[float | None]()
    read_line = Client._line

    def note(client: Client, limit: float | None) -> bytes | None:
        limits.append(limit)
        return read_line(client, limit)

    monkeypatch.setattr(Client, "_line", note)
    with control_server(path, {}):
        with connected(_mount(path)):
            pass
        check_all([_mount(path)])

    assert limits == [START_LIMIT, GREETING_LIMIT]


def test_an_error_of_the_server_is_told_with_its_code(path: Path) -> None:
    reply = {"error": {"code": "no-such-path", "message": "there is no \x1b[2Jpath"}}

    with (
        control_server(path, {"refresh": _error(reply)}),
        connected(_mount(path)) as client,
        pytest.raises(CommandFailed) as failure,
    ):
        client.call("refresh", path="a")

    assert str(failure.value) == r"there is no \x1b[2Jpath (no-such-path)"


BUSY: Mapping[str, Any] = {"error": {"code": "busy", "message": "too many clients"}}


def test_a_busy_server_says_so_instead_of_its_greeting(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3mount.ctl.client.BUSY_LIMIT", 0.0)
    with (
        control_server(path, {}, BUSY),
        pytest.raises(CommandFailed, match="busy"),
        connected(_mount(path)),
    ):
        pass


def test_a_server_that_has_room_after_a_while_is_asked_again(path: Path) -> None:
    with (
        control_server(path, {"status": results({})}, BUSY, GREETING) as server,
        connected(_mount(path)) as client,
    ):
        assert client.call("status") == {}

    assert len(server.requests) == 1


@pytest.mark.parametrize("greeting", [BUSY, {**GREETING, "protocol": 2}])
def test_a_mount_that_is_busy_or_of_another_version_is_not_to_be_cleared(
    path: Path, greeting: Mapping[str, Any]
) -> None:
    with control_server(path, {}, greeting):
        (found,) = check_all([_mount(path)])

    assert (found.state, found.greeting) == (State.HEALTHY, None)


@pytest.mark.parametrize(
    "greeting",
    [
        {**GREETING, "connection": 53},
        {**GREETING, "pid": None},
        {**GREETING, "pid": math.inf},
        {**GREETING, "since": "x"},
        {**GREETING, "since": 1e300},
        {**GREETING, "since": -1e300},
    ],
)
def test_a_greeting_of_something_else_is_refused(path: Path, greeting: Mapping[str, Any]) -> None:
    with (
        control_server(path, {}, greeting),
        pytest.raises(CommandFailed, match="not of the protocol"),
        connected(_mount(path)),
    ):
        pass


def test_another_version_of_the_protocol_is_refused_with_what_to_do(path: Path) -> None:
    with (
        control_server(path, {}, {**GREETING, "protocol": 2}),
        pytest.raises(CommandFailed, match=r"version 2 .* version 1: use the s3mountctl of"),
        connected(_mount(path)),
    ):
        pass


@pytest.mark.parametrize("reply", [{"item": 3}, {"other": {}}, {"result": []}])
def test_a_reply_that_is_none_is_refused(path: Path, reply: Mapping[str, Any]) -> None:
    with (
        control_server(path, {"status": _error(reply)}),
        connected(_mount(path)) as client,
        pytest.raises(CommandFailed, match="not of the protocol"),
    ):
        client.call("status")


def test_a_server_that_ends_within_a_command_is_told(path: Path) -> None:
    def end(_arguments: object) -> list[Mapping[str, Any]]:
        raise OSError

    with (
        control_server(path, {"status": end}),
        connected(_mount(path)) as client,
        pytest.raises(NotServed, match="closed the connection"),
    ):
        client.call("status")


def test_replies_that_came_together_are_yielded_without_a_wait(path: Path) -> None:
    ours, theirs = socket.socketpair()
    replies = [{"item": {"n": 1}}, {"item": {"n": 2}}, {"result": {}}]
    theirs.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in (GREETING, *replies)))

    with theirs, ours, Client(ours, _mount(path)) as client:
        waits = list[None]()
        received = client.replies("trace", {}, before_wait=lambda: waits.append(None))

        assert [kind for kind, _ in received] == ["item", "item", "result"]
        assert waits == []


def test_a_warm_up_of_a_mount_that_hangs_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for an item without end."""
    monkeypatch.setattr("s3mount.ctl.warm.ITEM_LIMIT", 0.1)

    def one_item(_arguments: object) -> Any:
        yield {"item": {"phase": "listing"}}
        server.left.wait()

    with control_server(path, {"warm": one_item}) as server:
        with connected(_mount(path)) as client, pytest.raises(NotServed, match="does not respond"):
            [*replies(client, ["a"], {})]
        server.left.set()


def test_replies_end_when_the_watched_pipe_has_no_reader(path: Path) -> None:
    reader, writer = os.pipe()

    def one_item(_arguments: object) -> Any:
        yield {"item": {"n": 1}}
        server.left.wait()

    with control_server(path, {"trace": one_item}) as server:
        with connected(_mount(path)) as client:
            replies = client.replies("trace", {}, watched=writer)
            assert next(replies) == ("item", {"n": 1})
            os.close(reader)
            assert list(replies) == []
        server.left.set()
    os.close(writer)


def test_replies_end_when_the_watched_socket_has_no_reader(path: Path) -> None:
    """As the stdout of a program that ssh runs."""
    reader, writer = socket.socketpair()

    def one_item(_arguments: object) -> Any:
        yield {"item": {"n": 1}}
        server.left.wait()

    with writer, control_server(path, {"trace": one_item}) as server:
        with connected(_mount(path)) as client:
            replies = client.replies("trace", {}, watched=writer.fileno())
            assert next(replies) == ("item", {"n": 1})
            reader.close()
            assert list(replies) == []
        server.left.set()


def test_states_of_mounts(tmp_path: Path) -> None:
    """Healthy, hanging, dead (its socket was left), and without a socket."""
    paths = {name: tmp_path / name for name in ("healthy", "hanging", "dead")}
    ControlServer(paths["dead"], {}).close()

    with control_server(paths["healthy"], {}), control_server(paths["hanging"], {}, None):
        found = check_all([*(_mount(path) for path in paths.values()), _mount(None)])

    assert [each.state for each in found] == [
        State.HEALTHY,
        State.HANGING,
        State.DEAD,
        State.UNKNOWN,
    ]
    assert [each.greeting is not None for each in found] == [True, False, False, False]


def test_a_dead_mount_is_named_with_the_command_that_clears_it(path: Path) -> None:
    ControlServer(path, {}).close()

    with (
        pytest.raises(NotServed, match="is dead; clear it: s3mount-clear /mnt/photos"),
        connected(_mount(path)),
    ):
        pass


def test_a_mount_without_a_socket_is_refused_with_what_to_do() -> None:
    with (
        pytest.raises(NotServed, match=r"has no control socket.*: (try|mount it again)"),
        connected(_mount(None)),
    ):
        pass


def test_the_command_that_clears_is_quoted_for_the_shell() -> None:
    mount = Mount("b", "/mnt/it's; rm", 52, (), 0)

    assert clear_command(mount) == """s3mount-clear '/mnt/it'"'"'s; rm'"""


def test_the_command_that_clears_has_the_whole_path() -> None:
    path = "/mnt" + "/long" * 200

    assert clear_command(Mount("b", path, 52, (), 0)) == f"s3mount-clear {path}"


def test_a_stale_socket_of_the_same_number_is_passed_over(tmp_path: Path) -> None:
    """A killed mount leaves its socket, perhaps in another folder, and numbers are reused."""
    stale, own = tmp_path / "stale", tmp_path / "own"
    ControlServer(stale, {}).close()
    mount = Mount("b", "/mnt/b", CONNECTION, (stale, own), os.getuid())

    with control_server(own, {"status": results({})}), connected(mount) as client:
        assert client.call("status") == {}


OTHER = 4711


def _fill_backlog(path: Path, stack: ExitStack) -> socket.socket:
    """Return a listener at *path* with as many clients as the kernel lets wait."""
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(path))
    listener.listen(1)
    with suppress(BlockingIOError):
        while True:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect(str(path))
    return listener


def test_a_mount_at_which_many_wait_is_connected_to_when_it_has_accepted_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        listener = _fill_backlog(path, stack)
        accepted: list[socket.socket] = []

        def accept(_seconds: float) -> None:
            accepted.append(stack.enter_context(listener.accept()[0]))

        monkeypatch.setattr("s3mount.ctl.client.time.sleep", accept)
        open_socket(_mount(path)).close()

        assert len(accepted) == 1


def test_a_mount_that_accepts_nobody_does_not_respond(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3mount.ctl.client.GREETING_LIMIT", 0.0)
    with ExitStack() as stack:
        _fill_backlog(path, stack)

        with pytest.raises(NotServed, match="does not respond"), connected(_mount(path)):
            pass

        assert [each.state for each in check_all([_mount(path)])] == [State.HANGING]


def _listen_as(path: Path, uid: int) -> socket.socket:
    """Listen at *path*; the kernel notes the user who calls listen(2)."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    os.seteuid(uid)
    try:
        listener.listen()
    finally:
        os.seteuid(0)
    return listener


def test_another_users_process_at_the_socket_is_told_nothing(path: Path, tmp_path: Path) -> None:
    """Another user swaps the file for a link after its owner was checked."""
    with _listen_as(tmp_path / "other", OTHER) as listener:
        path.symlink_to(tmp_path / "other")
        with (
            pytest.raises(NotServed, match=f"a process of uid {OTHER} serves"),
            connected(_mount(path)),
        ):
            pass
        (found,) = check_all([_mount(path)])

        assert found.state == State.UNKNOWN
        client, _ = listener.accept()
        with client:
            assert client.recv(1) == b""


def test_the_mounts_own_user_may_serve(path: Path) -> None:
    mount = Mount("b", "/mnt/b", CONNECTION, (path,), OTHER)

    with _listen_as(path, OTHER):
        open_socket(mount).close()

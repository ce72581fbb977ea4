"""s3mountctl at a terminal, beside mounts that hang: its screens, its keys, and its end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3mount.cli.standard_output import READER_GONE
from tests.fakes.control_replies import RECORD, STATUS, WARM_ITEMS, WARM_RESULT, activity
from tests.fakes.control_server import GREETING, ControlServer, Script, control_server, results
from tests.mount.mount_process import environment
from tests.mount.unanswered_mount import UnansweredMount, unanswered_mount
from tests.terminal import WITHIN, Terminal, terminal

COMMAND = [sys.executable, "-c", "from s3mount.ctl.main import main; main()"]
SHOW_CURSOR = b"\x1b[?25h"
LEAVE_SCREEN = b"\x1b[?1049l"


@dataclass
class Client:
    """Runner of s3mountctl beside *mount*, whose server is *server*."""

    mount: UnansweredMount
    server: ControlServer
    runtime: Path

    @property
    def env(self) -> dict[str, str]:
        return environment(XDG_RUNTIME_DIR=str(self.runtime))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )

    @contextmanager
    def at_terminal(self, *arguments: str, **variables: str) -> Iterator[Terminal]:
        with terminal([*COMMAND, *arguments], {**self.env, **variables}, 110, 32) as screen:
            yield screen


@contextmanager
def serving(directory: Path, script: Script, *, is_silent: bool = False) -> Iterator[Client]:
    runtime = directory / "runtime"
    (runtime / "s3mount").mkdir(parents=True)
    with unanswered_mount(directory / "photos", "s3://photos/2024") as mount:
        greeting = {**GREETING, "connection": mount.connection, "mountpoint": str(mount.path)}
        socket = runtime / "s3mount" / f"{mount.connection}.socket"
        with control_server(socket, script, None if is_silent else greeting) as server:
            yield Client(mount, server, runtime)


@pytest.fixture
def client(directory: Path) -> Iterator[Client]:
    script = {
        "status": results(STATUS),
        "activity": results(*map(activity, range(1000))),
        "trace": _trace,
        "warm": lambda _: [*({"item": item} for item in WARM_ITEMS), {"result": WARM_RESULT}],
    }
    with serving(directory, script) as client:
        yield client


def _trace(_arguments: object) -> Iterator[dict[str, object]]:
    while True:
        yield {"item": RECORD}


def test_list_shows_a_table(client: Client) -> None:
    with client.at_terminal("list") as screen:
        screen.wait_end()

    assert "Mount point" in screen.text
    assert str(client.mount.path) in screen.text
    assert "healthy" in screen.text
    assert b"\x1b[32m" in screen.received  # green


def test_no_color_is_heeded(client: Client) -> None:
    with client.at_terminal("list", NO_COLOR="1") as screen:
        screen.wait_end()

    assert "healthy" in screen.text
    assert b"\x1b[32m" not in screen.received


def test_a_dead_mount_is_shown_with_the_command_that_clears_it(client: Client) -> None:
    client.mount.die()
    client.server.close()

    with client.at_terminal("list") as screen:
        status = screen.wait_end()

    assert status == 1
    assert f"{client.mount.path} is dead: s3mount-clear {client.mount.path}" in screen.text


@pytest.mark.parametrize("place", ["", "/deep/path"])
def test_a_mount_that_hangs_does_not_hang_the_client(directory: Path, place: str) -> None:
    """Each access to the mount point would hang, and the socket is silent too."""
    with serving(directory, {}, is_silent=True) as client:
        listed = client.run("list")
        status = client.run("status", f"{client.mount.path}{place}")

    assert (listed.returncode, "not-responding" in listed.stdout) == (1, True)
    assert (status.returncode, status.stdout) == (3, "")
    assert "does not respond" in status.stderr


def test_status_is_drawn(client: Client) -> None:
    with client.at_terminal("status", str(client.mount.path)) as screen:
        screen.screen.resize(80, 110)  # all of it, without scrolling
        status = screen.wait_end()

    assert status == 0
    for text in (
        "s3://photos/2024 at /mnt/photos",
        "sso  expired",
        "206: 1,230, 503: 4",
        "read 400",
        "192 MiB of 256 MiB",
        "93.5 % saved",
        "SlowDown",
        r"2024/a\udcff\x1b[31m.jpg",
    ):
        assert text in screen.text


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_status_fits_any_width(client: Client, columns: int) -> None:
    with terminal([*COMMAND, "status", str(client.mount.path)], client.env, columns, 60) as screen:
        assert screen.wait_end() == 0


def test_top_is_live_and_its_keys_work(client: Client) -> None:
    with client.at_terminal("top", str(client.mount.path)) as screen:
        screen.wait_for("11.0", "4.0 MiB/s", r"2024/busy\x1b[2J.raw", "sort (now by rate)")
        screen.press("s")
        screen.wait_for("sort (now by readers)")
        screen.press("p")
        screen.wait_for("PAUSED", "p resume")
        screen.press("p")
        screen.wait_until(lambda: "PAUSED" not in screen.text)
        screen.resize(70, 20)
        screen.wait_until(lambda: len(screen.text.splitlines()[1]) == 68)
        screen.press("q")
        status = screen.wait_end()

        _check_restored(screen)

    assert status == 0


def test_a_small_terminal_is_enough_for_top(client: Client) -> None:
    with terminal([*COMMAND, "top", str(client.mount.path)], client.env, 20, 5) as screen:
        screen.wait_for("s3://photos")
        screen.press("q")
        assert screen.wait_end() == 0


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
def test_top_restores_the_terminal_when_a_signal_ends_it(
    client: Client, number: signal.Signals, status: int
) -> None:
    with client.at_terminal("top", str(client.mount.path)) as screen:
        screen.wait_for("Requests/s")
        screen.process.send_signal(number)

        assert screen.wait_end() == status
        _check_restored(screen)


def test_top_restores_the_terminal_when_the_mount_ends(client: Client) -> None:
    with client.at_terminal("top", str(client.mount.path)) as screen:
        screen.wait_for("Requests/s")
        client.server.close()

        assert screen.wait_end() == 3
        _check_restored(screen)
    assert "has closed the connection" in screen.text


def test_warm_shows_bars_and_what_did_not_fit(client: Client) -> None:
    with client.at_terminal("warm", f"{client.mount.path}/a") as screen:
        status = screen.wait_end()

    assert status == 1
    assert client.server.requests[0]["arguments"]["paths"] == ["a"]
    for text in ("4/10 files, 40.0 MiB/100 MiB", "did not fit: 2 files", "access denied"):
        assert text in screen.text
    assert SHOW_CURSOR in screen.received


def test_ctrl_c_ends_warm_cleanly(directory: Path) -> None:
    def warm(_arguments: object) -> Iterator[dict[str, object]]:
        yield {"item": WARM_ITEMS[1]}
        left.server.left.wait()  # the connection is closed

    with (
        serving(directory, {"warm": warm}) as left,
        left.at_terminal("warm", str(left.mount.path)) as screen,
    ):
        screen.wait_for("4/10 files")
        screen.press("\x03")
        status = screen.wait_end()
        left.server.left.set()

        assert screen.attributes == screen.attributes_before
    assert status == 130
    assert "Traceback" not in screen.text
    assert SHOW_CURSOR in screen.received


def test_trace_ends_quietly_with_the_reader_of_its_pipe(client: Client) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(  # it is killed by the end of its server if it hangs
        [*COMMAND, "trace", str(client.mount.path)],
        env=client.env,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert os.read(reader, 100)

    os.close(reader)
    _, errors = process.communicate(timeout=WITHIN)

    assert (process.returncode, errors) == (READER_GONE, b"")


def test_control_characters_of_names_never_reach_the_terminal(client: Client) -> None:
    with client.at_terminal("trace", str(client.mount.path)) as screen:
        screen.wait_for(r"2024/a\udcff\x1b[31m.jpg")

    assert b"\x1b[31m.jpg" not in screen.received


def _check_restored(screen: Terminal) -> None:
    assert screen.attributes == screen.attributes_before
    assert SHOW_CURSOR in screen.received
    assert LEAVE_SCREEN in screen.received

"""sd_notify, against a socket like that of the service manager."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from s3mount.daemon.sd_notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        yield manager


def heard(manager: socket.socket) -> list[str]:
    messages = []
    try:
        while True:
            messages.append(manager.recv(4096).decode())
    except BlockingIOError:
        return messages


def test_without_a_manager_nothing_is_sent(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is the one that is given, which has no manager, not that of the process."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())

    Notifier({}).ready("fine")
    Notifier({"NOTIFY_SOCKET": "/nowhere/notify"}).ready("fine")

    assert heard(manager) == []


def test_a_manager_that_does_not_listen_blocks_nothing(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})

    for _ in range(2000):  # more than the queue of a socket takes
        notifier.stopping("busy")

    assert set(heard(manager)) == {"STOPPING=1\nSTATUS=busy"}


@pytest.mark.parametrize("send", [Notifier.ready, Notifier.stopping])
@pytest.mark.parametrize("end", ["\n", "\u2028"])
def test_a_status_is_one_assignment_for_any_mount_point(
    manager: socket.socket, send: Callable[[Notifier, str], None], end: str
) -> None:
    status = f"serving b at /mnt/x{end}MAINPID=1\x85\x1b[2J"

    send(Notifier({"NOTIFY_SOCKET": manager.getsockname()}), status)

    [message] = heard(manager)
    escaped = repr(end)[1:-1]
    assert message.split("\n")[-1] == rf"STATUS=serving b at /mnt/x{escaped}MAINPID=1\x85\x1b[2J"


async def test_the_watchdog_is_notified_twice_in_each_interval(
    manager: socket.socket,
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "10000000"})

    with trio.move_on_after(29):
        await notifier.feed_watchdog()

    assert heard(manager) == ["WATCHDOG=1"] * 6


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
    ],
)
def test_only_a_watchdog_of_this_process_is_notified(
    environment: dict[str, str], interval: float | None
) -> None:
    assert Notifier(environment).watchdog_interval == interval

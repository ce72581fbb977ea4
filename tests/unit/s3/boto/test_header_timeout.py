"""The watchdog that ends requests whose time is up."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from s3mount.s3.boto import header_timeout
from s3mount.s3.boto.header_timeout import Watchdog

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    pairs = [socket.socketpair() for _ in range(3)]
    for pair in pairs:
        pair[0].settimeout(10)
    yield pairs
    for pair in pairs:
        pair[0].close()
        pair[1].close()


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[threading.Thread]]]:
    """Returns the threads that the test has started and that have not ended."""
    monkeypatch.setattr(header_timeout, "LINGER", 0.05)
    before = set(threading.enumerate())

    def started() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in before]

    yield started
    for thread in started():
        thread.join(10)


def test_sockets_are_shut_down_when_their_time_is_up(pairs: list[Pair]) -> None:
    watchdog, began = Watchdog(), time.monotonic()
    late, early = watchdog.start(60, pairs[0][0]), watchdog.start(0.1, pairs[1][0])

    assert pairs[1][0].recv(1) == b""
    assert (early.has_fired, late.has_fired) == (True, False)
    assert time.monotonic() - began >= 0.1
    late.cancel()


def test_a_cancelled_timer_does_not_fire(pairs: list[Pair]) -> None:
    watchdog = Watchdog()
    cancelled = watchdog.start(0.05, pairs[0][0])
    cancelled.cancel()
    watchdog.start(0.1, pairs[1][0])

    assert pairs[1][0].recv(1) == b""
    assert not cancelled.has_fired
    pairs[0][1].sendall(b"x")
    assert pairs[0][0].recv(1) == b"x"


def test_one_thread_serves_all_timers_ends_without_any_and_starts_again(
    pairs: list[Pair], threads: Callable[[], list[threading.Thread]]
) -> None:
    watchdog = Watchdog()
    for left, _ in pairs[:2]:
        watchdog.start(0.05, left)
    [first] = threads()
    first.join(10)

    assert not threads()
    watchdog.start(0.05, pairs[2][0])
    assert pairs[2][0].recv(1) == b""
    [second] = threads()
    second.join(10)


def test_without_a_thread_the_request_fails(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    watchdog = Watchdog()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="no thread could be started"):
            watchdog.start(0.05, pairs[0][0])

    assert watchdog.start(0.05, pairs[0][0])
    assert pairs[0][0].recv(1) == b""

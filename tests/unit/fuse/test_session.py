"""The request loop that replaces pyfuse3's; the kernel is one end of a socket pair."""

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pyfuse3
import pytest
import trio
from trio.testing import MockClock

from s3mount.fuse.session import PAUSE, kernel_session

NAMES = ("_session_loop", "_wait_fuse_readable")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    libfuse, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with libfuse, kernel:
        yield libfuse, kernel


class Loop:
    """pyfuse3's functions; each read fails with the next of *failures*."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failures: int) -> None:
        self.failures = list(failures)
        self.reads: list[float] = []
        monkeypatch.setitem(vars(pyfuse3), "_session_loop", self.session_loop)
        monkeypatch.setitem(vars(pyfuse3), "_wait_fuse_readable", self.wait_readable)

    async def session_loop(
        self,
        nursery: None,  # noqa: ARG002 - pyfuse3's parameters
        min_tasks: int,  # noqa: ARG002
        max_tasks: int,  # noqa: ARG002
    ) -> None:
        if await vars(pyfuse3)["_wait_fuse_readable"]():
            self.reads.append(trio.current_time())
            if self.failures:
                raise OSError(self.failures.pop(0), "fuse_session_receive_buf failed")

    async def wait_readable(self) -> bool:
        await trio.lowlevel.checkpoint()
        return True


def functions() -> list[Any]:
    return [vars(pyfuse3).get(name) for name in NAMES]


async def test_an_empty_read_is_retried_at_once_and_a_lack_of_memory_after_a_pause(
    ends: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    loop = Loop(monkeypatch, errno.EAGAIN, errno.ENOMEM, errno.ENOENT)
    libfuse, kernel = ends
    began = trio.current_time()

    with kernel_session(libfuse.fileno()):
        kernel.send(b"request")
        await vars(pyfuse3)["_session_loop"](None, 1, 99)

    assert [moment - began for moment in loop.reads] == pytest.approx(
        [0, 0, PAUSE, PAUSE], abs=PAUSE / 2
    )


async def test_a_session_that_cannot_be_read_ends(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    Loop(monkeypatch, errno.EIO)
    before = functions()
    libfuse, kernel = ends
    kernel.send(b"request")

    with (
        pytest.raises(OSError, match="receive_buf"),
        kernel_session(libfuse.fileno()),
    ):
        await vars(pyfuse3)["_session_loop"](None, 1, 99)

    assert functions() == before


@pytest.mark.parametrize("missing", NAMES)
def test_an_unknown_pyfuse3_is_not_changed(
    missing: str, ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(vars(pyfuse3), missing)
    before = functions()

    with kernel_session(ends[0].fileno()):
        assert functions() == before
        assert os.get_blocking(ends[0].fileno())

    assert functions() == before


@pytest.mark.parametrize("name", NAMES)
def test_a_pyfuse3_with_other_parameters_is_not_changed(
    name: str, ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def changed(*_: object) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setitem(vars(pyfuse3), name, changed)
    before = functions()

    with kernel_session(ends[0].fileno()):
        assert functions() == before


def test_the_installed_pyfuse3_is_changed(ends: tuple[socket.socket, socket.socket]) -> None:
    before = functions()

    with kernel_session(ends[0].fileno()):
        assert not set(functions()) & set(before)


def test_a_session_without_a_first_request_keeps_its_descriptor(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    libfuse, kernel = ends

    with kernel_session(libfuse.fileno()):
        kernel.send(b"later")
        assert os.read(libfuse.fileno(), 10) == b"later"


async def test_the_descriptor_is_the_kernels_again_after_the_reply(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(monkeypatch)
    libfuse, kernel = ends
    kernel.send(b"first")

    with kernel_session(libfuse.fileno()):
        assert os.read(libfuse.fileno(), 10) == b"first"
        os.write(libfuse.fileno(), b"reply")
        kernel.send(b"second")
        await vars(pyfuse3)["_session_loop"](None, 1, 99)
        assert len(loop.reads) == 1
        assert kernel.recv(10) == b"reply"
        assert os.read(libfuse.fileno(), 10) == b"second"


async def test_an_aborted_connection_ends_the_session_as_an_unmount_does(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(monkeypatch, errno.ECONNABORTED, errno.EIO)
    ends[1].send(b"request")

    with kernel_session(ends[0].fileno()):
        await vars(pyfuse3)["_session_loop"](None, 1, 99)

    assert len(loop.reads) == 1

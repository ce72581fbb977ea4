"""Bugs in handlers, through the kernel: the call fails with EIO, and the mount survives."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.filesystem_access import failure_of, read_file
from tests.mount.memory_mount import ControlledMount, memory_mount
from tests.mount.mount_process import ENDED_WITHIN, is_mounted
from tests.waiting import wait_until


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[ControlledMount]:
    with memory_mount(tmp_path / "mount") as made:
        made.command("put", "file", "bytes")
        made.command("put", "d/inner", "more")
        yield made


HANDLERS = ("lookup", "opendir", "readdir", "releasedir", "release", "statfs", "forget")


def test_a_bug_in_a_handler_ends_no_mount(mount: ControlledMount) -> None:
    bugs = [f"{name} failed: this is a bug" for name in HANDLERS]
    mount.mount.expect(*bugs)
    read_file(mount / "d/inner")  # makes inodes for the kernel to forget
    directory = os.open(mount.path, os.O_RDONLY | os.O_DIRECTORY)
    file = os.open(mount / "file", os.O_RDONLY)

    mount.command("break")
    failures = [
        failure_of(lambda: os.stat(mount / "absent")),
        failure_of(lambda: os.statvfs(mount.path)),
        failure_of(lambda: os.listdir(directory)),
        failure_of(lambda: os.open(mount.path, os.O_RDONLY | os.O_DIRECTORY)),
    ]
    os.close(file)
    os.close(directory)
    os.kill(mount.mount.process.pid, signal.SIGHUP)  # the kernel then returns its references
    wait_until(lambda: {record["message"] for record in mount.mount.records()}.issuperset(bugs))
    mount.command("repair")

    assert failures == ["EIO"] * 4
    assert read_file(mount / "file") == b"bytes"
    assert os.listdir(mount / "d") == ["inner"]


def test_a_request_that_the_kernel_withdraws_blocks_no_other(mount: ControlledMount) -> None:
    wait_until(
        lambda: any("mounted" in record["message"] for record in mount.mount.records())
    )  # the interpreter reads its own mount once
    mount.command("pause")
    caller = stat_in_a_process(mount / "absent")
    assert mount.receive() is None  # the event loop has seen the request, and has not read it

    caller.kill()
    caller.wait()
    mount.send("\n")

    assert (
        mount.command("lookups") == 0
    )  # an event loop that waits for another request replies to nothing


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_the_mount_ends_while_a_notification_waits_for_an_unanswered_lookup(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """A kernel thread waits for the lookup's lock: it cannot be killed and keeps the connection."""
    with memory_mount(tmp_path / "mount", "--metadata-ttl", "0") as mount:
        mount.mount.is_left = True
        server = mount.mount.process.pid
        mount.command("put", "d/inner", "bytes")
        inner = os.open(mount / "d/inner", os.O_RDONLY)  # the kernel caches it
        mount.command("hold", "d/absent")
        caller = stat_in_a_process(mount / "d/absent")
        wait_until(lambda: mount.command("held") > 0)
        os.kill(server, signal.SIGHUP)  # drops the names of d
        wait_until(lambda: is_any_thread_in(server, "fuse_reverse_inval_entry"))

        os.kill(server, number)

        assert mount.mount.process.wait(ENDED_WITHIN) == status
        assert caller.wait(ENDED_WITHIN) == 1
        wait_until(lambda: not is_mounted(mount.path))
        os.close(inner)


def stat_in_a_process(path: Path) -> subprocess.Popen[bytes]:
    program = "import os, sys; os.stat(sys.argv[1])"
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, path], stderr=subprocess.DEVNULL
    )


def is_any_thread_in(process: int, function: str) -> bool:
    """Return whether a thread of *process* waits in a *function* of the kernel."""
    return any(
        task.joinpath("wchan").read_text() == function
        for task in Path(f"/proc/{process}/task").iterdir()
    )

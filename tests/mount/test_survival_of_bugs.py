"""Bugs in handlers, through the kernel: the call fails with EIO, and the mount lives on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.filesystem_access import failure_of, read_file, wait_until
from tests.mount.memory_mount import Told, memory_mount
from tests.mount.mount_process import ENDED_WITHIN, is_mounted


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with memory_mount(tmp_path / "mount") as made:
        made.tell("put", "file", "bytes")
        made.tell("put", "d/inner", "more")
        yield made


HANDLERS = ("lookup", "opendir", "readdir", "releasedir", "release", "statfs", "forget")


def test_a_bug_in_any_handler_ends_no_mount(told: Told) -> None:
    bugs = [f"{name} failed: this is a bug" for name in HANDLERS]
    told.mount.expect(*bugs)
    read_file(told / "d/inner")  # makes inodes for the kernel to forget
    directory = os.open(told.path, os.O_RDONLY | os.O_DIRECTORY)
    file = os.open(told / "file", os.O_RDONLY)

    told.tell("break")
    failures = [
        failure_of(lambda: os.stat(told / "absent")),
        failure_of(lambda: os.statvfs(told.path)),
        failure_of(lambda: os.listdir(directory)),
        failure_of(lambda: os.open(told.path, os.O_RDONLY | os.O_DIRECTORY)),
    ]
    os.close(file)
    os.close(directory)
    os.kill(told.mount.process.pid, signal.SIGHUP)  # the kernel then gives its references back
    wait_until(lambda: {record["message"] for record in told.mount.records()}.issuperset(bugs))
    told.tell("mend")

    assert failures == ["EIO"] * 4
    assert read_file(told / "file") == b"bytes"
    assert os.listdir(told / "d") == ["inner"]


def test_a_request_that_the_kernel_takes_back_blocks_no_other(told: Told) -> None:
    wait_until(
        lambda: any("mounted" in record["message"] for record in told.mount.records())
    )  # it asks the mount itself, once
    told.tell("pause")
    caller = stat_in_a_process(told / "absent")
    assert told.hear() is None  # the loop has seen the request, and has not read it

    caller.kill()
    caller.wait()
    told.send("\n")

    assert told.tell("lookups") == 0  # a loop that waits for another request answers nothing


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_it_ends_while_a_notification_waits_for_a_lookup_that_nobody_answers(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """A thread in the kernel waits for the lock that the lookup holds: it cannot be killed, and keeps the connection open."""
    with memory_mount(tmp_path / "mount", "--metadata-ttl", "0") as told:
        told.mount.is_left = True
        server = told.mount.process.pid
        told.tell("put", "d/inner", "bytes")
        inner = os.open(told / "d/inner", os.O_RDONLY)  # the kernel keeps it
        told.tell("hold", "d/absent")
        caller = stat_in_a_process(told / "d/absent")
        wait_until(lambda: told.tell("held") > 0)
        os.kill(server, signal.SIGHUP)  # drops the names of d
        wait_until(lambda: is_any_thread_in(server, "fuse_reverse_inval_entry"))

        os.kill(server, number)

        assert told.mount.process.wait(ENDED_WITHIN) == status
        assert caller.wait(ENDED_WITHIN) == 1
        wait_until(lambda: not is_mounted(told.path))
        os.close(inner)


def stat_in_a_process(path: Path) -> subprocess.Popen[bytes]:
    program = "import os, sys; os.stat(sys.argv[1])"
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, path], stderr=subprocess.DEVNULL
    )


def is_any_thread_in(process: int, function: str) -> bool:
    """Whether a thread of *process* waits in a *function* of the kernel."""
    return any(
        task.joinpath("wchan").read_text() == function
        for task in Path(f"/proc/{process}/task").iterdir()
    )

"""Bugs in handlers, through the kernel: the call fails with EIO, and the mount lives on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.looking import failure_of, read_file, wait_until
from tests.mount.memory_mount import Told, memory_mount


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
    told.tell("pause")
    caller = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "import os, sys; os.stat(sys.argv[1])", told / "absent"]
    )
    assert told.hear() is None  # the loop has seen the request, and has not read it

    caller.kill()
    caller.wait()
    told.send("\n")

    assert told.tell("lookups") == 0  # a loop that waits for another request answers nothing

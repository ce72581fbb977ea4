"""Bugs in handlers, through the kernel: the call fails with EIO, and the mount lives on."""

import os
import signal
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

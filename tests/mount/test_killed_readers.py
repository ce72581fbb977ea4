"""Readers that are killed, and mounts that are removed, while a request waits for the store."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.memory_mount import ControlledMount, memory_mount
from tests.mount.mount_process import ENDED_WITHIN, abort
from tests.waiting import wait_until


@contextmanager
def killed(
    mount: ControlledMount, *command: str, is_released: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """Kill *command* once its request waits for the store, which is released at the end."""
    os.listdir(mount / "d")
    mount.command("hold", "d/")
    reader = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: mount.command("held") > 0)
    reader.kill()
    yield reader
    if is_released:
        mount.command("release")
    reader.wait()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[ControlledMount]:
    with memory_mount(tmp_path / "mnt") as mount:
        mount.command("put", "d/file", "x" * 3_000_000)
        mount.command("put", "d/other", "y")
        yield mount


@pytest.mark.parametrize(
    "command",
    ["cat {}", "dd if={} bs=4k iflag=direct of=/dev/null", "head -c1 {}", "tail -c1 {}"],
)
def test_a_killed_reader_leaves_no_line_in_the_log(mount: ControlledMount, command: str) -> None:
    with killed(mount, *command.replace("{}", str(mount / "d/file")).split()):
        pass

    assert (mount / "d/file").read_bytes() == b"x" * 3_000_000
    assert (mount / "d/other").read_bytes() == b"y"


@pytest.mark.parametrize("how", ["umount", "abort"])
def test_a_mount_that_is_removed_below_a_killed_reader_leaves_no_line(
    mount: ControlledMount, how: str
) -> None:
    """pyfuse3 logged that the reply to the reader's request was not accepted, as an error."""
    mount.mount.is_left = True

    with killed(mount, "cat", f"{mount.path}/d/file", is_released=False) as reader:
        if how == "umount":
            reader.wait()
            subprocess.run(["umount", mount.path], check=True)
        else:
            abort(mount.path)

    assert mount.mount.process.wait(ENDED_WITHIN) == 0

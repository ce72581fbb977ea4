"""Disks under test: a delayed and failing one, and a real one that is small."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mount.mount_process import environment
from tests.waiting import wait_until

_ENDED_WITHIN = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class FaultyDisk:
    """A file system at *path* that behaves as it is told."""

    path: Path
    control: Path

    def behave(self) -> None:
        self._say("well")

    def delay(self, seconds: float) -> None:
        """Let each operation on the content of files take *seconds* longer."""
        self._say(f"delay {seconds}")

    def fail(self, number: int = errno.EIO) -> None:
        """Let them fail with an errno."""
        self._say(f"fail {number}")

    def be_read_only(self) -> None:
        """Let all fail with EROFS that changes something."""
        self._say("read-only")

    def _say(self, said: str) -> None:
        new = self.control.with_suffix(".new")
        new.write_text(said)
        new.rename(self.control)


@contextmanager
def faulty_disk(folder: Path) -> Iterator[FaultyDisk]:
    """Mount a disk that behaves well, below *folder*, which exists."""
    backing, path, control = folder / "backing", folder / "disk", folder / "behaviour"
    for each in (backing, path):
        each.mkdir()
    control.write_text("well")
    command = [sys.executable, "-m", "tests.disks.passthrough", backing, path, control]
    process = subprocess.Popen(
        [str(part) for part in command], env=environment(), stdin=subprocess.DEVNULL
    )
    disk = FaultyDisk(path, control)
    try:
        _wait_mounted(process, path)
        yield disk
    finally:
        disk.behave()
        subprocess.run(["fusermount3", "-u", "-z", path], check=False, capture_output=True)
        try:
            process.wait(_ENDED_WITHIN)
        except subprocess.TimeoutExpired:  # a file is still open in it
            process.kill()
            process.wait()


def _wait_mounted(process: subprocess.Popen[bytes], path: Path) -> None:
    wait_until(lambda: path.is_mount() or process.poll() is not None)
    assert process.poll() is None, "the faulty disk did not mount"


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a real file system of *size* bytes below *folder*; for root."""
    image, path = folder / "image", folder / "small"
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, path], check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True, capture_output=True)

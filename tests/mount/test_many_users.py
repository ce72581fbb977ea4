"""Concurrent requests of several users: what needs no store never waits for what does."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.filesystem_access import read_file
from tests.mount.memory_mount import ControlledMount, memory_mount
from tests.waiting import wait_until

NOBODY = 65534
CONNECTIONS = 32
SHARE = 28  # of them, for one user
STUCK = 300
LOOK_UP = f"""
import os, sys
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
for number in range(int(sys.argv[2])):
    if os.fork() == 0:
        try:
            os.stat(sys.argv[1] + "/absent" + str(number))
        finally:
            os._exit(0)
for number in range(int(sys.argv[2])):
    os.wait()
"""


@pytest.fixture
def mount() -> Iterator[ControlledMount]:
    with tempfile.TemporaryDirectory(prefix="s3mount-users-") as made:
        Path(made).chmod(0o755)  # pytest's own directories are for their owner only
        options = ("--allow-other", "--metadata-ttl", "3600", "--max-connections", str(CONNECTIONS))
        with memory_mount(Path(made) / "mount", *options) as mount:
            mount.command("pages", "2")  # so that the first page does not prove absences
            for key in ("here/file", "here/other", "slow/a", "slow/b", "slow/c"):
                mount.command("put", key, key * 100)
            yield mount


@contextmanager
def stuck_in(mount: ControlledMount, directory: str) -> Iterator[None]:
    """Run another user's processes, each in a lookup of its own name that the store holds."""
    os.stat(mount / directory)
    mount.command("hold", directory + "/")
    before = mount.command("lookups")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LOOK_UP, str(mount / directory), str(STUCK)],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: mount.command("lookups") - before >= STUCK)
        yield
    finally:
        mount.command("release")
        process.wait()


def read_anew(path: Path) -> bytes:
    """Read a file past the kernel's cache."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def test_cached_data_is_served_while_a_user_waits_for_the_store(mount: ControlledMount) -> None:
    read_file(mount / "here/file")
    names = os.listdir(mount / "here")

    with stuck_in(mount, "slow"):
        assert read_anew(mount / "here/file") == b"here/file" * 100
        assert os.listdir(mount / "here") == names


def test_one_user_does_not_take_all_connections(mount: ControlledMount) -> None:
    with stuck_in(mount, "slow"):
        assert (
            mount.command("held") <= SHARE + 8
        )  # a lookup sends two requests, and some pages are prefetched
        assert read_file(mount / "here/other") == b"here/other" * 100


def test_with_allow_root_no_other_user_sees_what_the_kernel_has_cached() -> None:
    with tempfile.TemporaryDirectory(prefix="s3mount-users-") as made:
        Path(made).chmod(0o755)
        with memory_mount(Path(made) / "mount", "--allow-root") as mount:
            mount.command("put", "file", "secret")
            os.stat(mount / "file")

            other = subprocess.run(
                ["stat", mount / "file"],
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                capture_output=True,
                check=False,
            )

            assert other.returncode != 0
            assert b"Permission denied" in other.stderr
            assert read_file(mount / "file") == b"secret"

"""Many requests at once, of one user and of others: what needs no store never waits for what does."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.filesystem_access import read_file, wait_until
from tests.mount.memory_mount import Told, memory_mount

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
def told() -> Iterator[Told]:
    with tempfile.TemporaryDirectory(prefix="s3mount-users-") as made:
        Path(made).chmod(0o755)  # pytest's own directories are for their owner alone
        options = ("--allow-other", "--metadata-ttl", "3600", "--max-connections", str(CONNECTIONS))
        with memory_mount(Path(made) / "mount", *options) as mount:
            mount.tell("pages", "2")  # so that no first page says what is absent
            for key in ("here/file", "here/other", "slow/a", "slow/b", "slow/c"):
                mount.tell("put", key, key * 100)
            yield mount


@contextmanager
def stuck_in(told: Told, directory: str) -> Iterator[None]:
    """Another user's processes, each in a lookup of a name of its own that the store does not answer before the end."""
    os.stat(told / directory)
    told.tell("hold", directory + "/")
    before = told.tell("lookups")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LOOK_UP, str(told / directory), str(STUCK)],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: told.tell("lookups") - before >= STUCK)
        yield
    finally:
        told.tell("release")
        process.wait()


def read_anew(path: Path) -> bytes:
    """The bytes of a file as the mount has them, not as the kernel does."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def test_what_is_cached_is_served_while_one_user_waits_for_the_store(told: Told) -> None:
    read_file(told / "here/file")
    names = os.listdir(told / "here")

    with stuck_in(told, "slow"):
        assert read_anew(told / "here/file") == b"here/file" * 100
        assert os.listdir(told / "here") == names


def test_one_user_leaves_connections_to_others(told: Told) -> None:
    with stuck_in(told, "slow"):
        assert (
            told.tell("held") <= SHARE + 8
        )  # lookups ask for two things each; and a few pages are fetched ahead
        assert read_file(told / "here/other") == b"here/other" * 100


def test_with_allow_root_nobody_else_sees_what_the_kernel_has_cached() -> None:
    with tempfile.TemporaryDirectory(prefix="s3mount-users-") as made:
        Path(made).chmod(0o755)
        with memory_mount(Path(made) / "mount", "--allow-root") as told:
            told.tell("put", "file", "secret")
            os.stat(told / "file")

            other = subprocess.run(
                ["stat", told / "file"],
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                capture_output=True,
                check=False,
            )

            assert other.returncode != 0
            assert b"Permission denied" in other.stderr
            assert read_file(told / "file") == b"secret"

"""Handles that outlive the kernel's dentries: name_to_handle_at and open_by_handle_at, as NFS."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.file_handles import (
    Handle,
    handle_of,
    list_handle,
    open_handle,
    read_handle,
    shrink_dentries,
)
from tests.mount.filesystem_access import failure_of
from tests.mount.memory_mount import ControlledMount, memory_mount
from tests.waiting import outlast, wait_until


def failure_of_handle(mount: ControlledMount, handle: Handle) -> str:
    return failure_of(lambda: os.close(open_handle(mount.path, handle)))


def drop_dentries(mount: ControlledMount) -> None:
    shrink_dentries(mount.path)
    wait_until(lambda: mount.command("inodes") == 0)


@pytest.fixture(params=["60", "0.3"], ids=["fresh", "expired"])
def ttl(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def mount(tmp_path: Path, ttl: str) -> Iterator[ControlledMount]:
    with memory_mount(tmp_path / "mnt", "--metadata-ttl", ttl) as mount:
        for key in ("top", "dir/file", "dir/sub/deep", "dir/sub/other"):
            mount.command("put", key, f"body of {key}")
        yield mount


def forgotten(mount: ControlledMount, ttl: str, *names: str) -> list[Handle]:
    """The handles of *names*, after the kernel has forgotten them, and their TTL has ended."""
    for directory, _, files in os.walk(mount.path):
        for name in files:
            os.stat(os.path.join(directory, name))
    handles = [handle_of(mount.path / name) for name in names]
    drop_dentries(mount)
    if ttl == "0.3":
        outlast(0.3)
    return handles


def test_files_are_opened_by_handles_that_the_kernel_has_forgotten(
    mount: ControlledMount, ttl: str
) -> None:
    top, file, deep = forgotten(mount, ttl, "top", "dir/file", "dir/sub/deep")

    assert read_handle(mount.path, deep) == b"body of dir/sub/deep"
    assert read_handle(mount.path, file) == b"body of dir/file"
    assert read_handle(mount.path, top) == b"body of top"


def test_directories_are_listed_by_handles_that_the_kernel_has_forgotten(
    mount: ControlledMount, ttl: str
) -> None:
    root, sub, top = forgotten(mount, ttl, "", "dir/sub", "dir")

    assert list_handle(mount.path, sub) == ["deep", "other"]
    assert list_handle(mount.path, root) == ["dir", "top"]
    assert list_handle(mount.path, top) == ["file", "sub"]
    drop_dentries(mount)
    assert list_handle(mount.path, sub) == ["deep", "other"]


def test_a_directory_of_a_handle_has_its_path(mount: ControlledMount, ttl: str) -> None:
    (sub,) = forgotten(mount, ttl, "dir/sub")

    descriptor = open_handle(mount.path, sub, os.O_RDONLY | os.O_DIRECTORY)

    assert os.readlink(f"/proc/self/fd/{descriptor}") == str(mount.path / "dir/sub")
    assert os.stat("..", dir_fd=descriptor).st_ino == (mount.path / "dir").stat().st_ino
    os.close(descriptor)


def test_a_handle_of_a_replaced_file_never_opens_the_new_one(
    mount: ControlledMount, ttl: str
) -> None:
    (top,) = forgotten(mount, ttl, "top")
    mount.command("put", "top", "another")
    if ttl == "60":
        os.kill(mount.mount.process.pid, 1)  # SIGHUP: nothing is fresh any more
        wait_until(lambda: (mount / "top").read_bytes() == b"another")
        drop_dentries(mount)

    assert failure_of_handle(mount, top) == "ESTALE"
    assert (mount / "top").read_bytes() == b"another"


@pytest.mark.parametrize("ttl", ["0.3"])  # within the TTL the name is shown, too
def test_a_handle_of_a_deleted_name_is_stale(mount: ControlledMount, ttl: str) -> None:
    top, deep, sub = forgotten(mount, ttl, "top", "dir/sub/deep", "dir/sub")
    for key in ("top", "dir/sub/deep", "dir/sub/other"):
        mount.command("delete", key)

    assert [failure_of_handle(mount, each) for each in (top, deep, sub)] == ["ESTALE"] * 3


def test_a_handle_that_is_not_known_is_stale(mount: ControlledMount, ttl: str) -> None:
    (top,) = forgotten(mount, ttl, "top")
    other = Handle.from_buffer_copy(top)
    other.f_handle[3] ^= 1
    generation = Handle.from_buffer_copy(top)
    generation.f_handle[8] ^= 1

    assert failure_of_handle(mount, other) == "ESTALE"
    assert failure_of_handle(mount, generation) == "ESTALE"
    assert read_handle(mount.path, top) == b"body of top"


def test_references_by_handle_are_forgotten(mount: ControlledMount, ttl: str) -> None:
    handles = forgotten(mount, ttl, "top", "dir/file", "dir/sub")

    for _ in range(20):
        for handle in handles:
            os.close(open_handle(mount.path, handle))

    drop_dentries(mount)  # waits until there are none

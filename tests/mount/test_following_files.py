"""Files read whole one after another: the beginning of the next one is on its way."""

import os
from pathlib import Path
from random import Random

from tests.mount.filesystem_access import read_file
from tests.mount.memory_mount import ControlledMount, memory_mount

BODY = "x" * (2 << 20)  # too large to be prefetched as a small file
NAMES = ("a", "b", "c", "d")


def requested_after_two_files(mount: ControlledMount) -> set[str]:
    """Read two files by name; return the keys of which bytes were requested."""
    for name in NAMES:
        mount.command("put", f"d/{name}", BODY)
    assert list(NAMES) == sorted(os.listdir(mount / "d"))
    mount.command("requests")
    for name in NAMES[:2]:
        assert read_file(mount / "d" / name) == BODY.encode()
    return {key for kind, key, *_ in mount.command("requests") if kind == "GET"}


def test_a_reader_of_whole_files_by_name_finds_the_next_one_requested(tmp_path: Path) -> None:
    with memory_mount(tmp_path / "mount", "--metadata-ttl", "3600") as mount:
        assert {"d/a", "d/b", "d/c"} <= requested_after_two_files(mount)


def test_no_prefetch_requests_no_next_file(tmp_path: Path) -> None:
    options = ("--metadata-ttl", "3600", "--no-prefetch", "siblings")
    with memory_mount(tmp_path / "mount", *options) as mount:
        assert {"d/a", "d/b"} == requested_after_two_files(mount)


def test_readers_in_two_orders_that_close_early_leave_the_mount_alive(tmp_path: Path) -> None:
    """What follows a file by name may lead back to it by inode number."""
    with memory_mount(tmp_path / "mount", "--metadata-ttl", "3600") as mount:
        for number in range(40):
            mount.command("put", f"d/{number:02}", BODY)
        names = sorted(os.listdir(mount / "d"))
        orders = names, sorted(names, key=lambda name: (mount / "d" / name).stat().st_ino)
        choices, opened = Random(5), []
        for name in names:
            os.close(_begun(mount / "d" / name))

        for _ in range(100):
            order, at = choices.choice(orders), choices.randrange(len(names) - 1)
            opened += [_begun(mount / "d" / name) for name in order[at : at + 2]]
            while len(opened) > 6:
                os.close(opened.pop(choices.randrange(len(opened))))

        assert len(opened) == 6
        for descriptor in opened:
            os.close(descriptor)


def _begun(path: Path) -> int:
    """Open a file, and read its first byte."""
    descriptor = os.open(path, os.O_RDONLY)
    assert os.read(descriptor, 1) == BODY[:1].encode()
    return descriptor

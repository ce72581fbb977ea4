"""Files read whole one after another: the beginning of the next one is on its way."""

import os
from pathlib import Path

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

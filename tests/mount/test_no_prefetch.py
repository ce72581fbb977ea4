"""A kind of prefetch that is turned off sends no request, counted behind a real mount.

Each test shows first that the same calls do send speculative requests with that kind turned on.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3mount.config import Prefetch
from tests.mount.filesystem_access import read_tree
from tests.mount.memory_mount import ControlledMount, memory_mount

KIB = 1 << 10
BLOCK = 128 * KIB

Request = list[Any]  # as `memory_mount` gives it


def requests_with_and_without(
    at: Path, kind: Prefetch, call: Callable[[ControlledMount], None], *options: str
) -> tuple[list[Request], list[Request]]:
    """The requests of *call*, with *kind* turned on and off, each in a mount of its own."""
    with memory_mount(at / "on", *options) as mount:
        call(mount)
        on = mount.command("requests")
    with memory_mount(at / "off", *options, "--no-prefetch", kind) as mount:
        call(mount)
        return on, mount.command("requests")


def of_kind(requests: list[Request], kind: str) -> list[Request]:
    return [request for request in requests if request[0] == kind]


def put(mount: ControlledMount, *keys: str, body: str = "x") -> None:
    for key in keys:
        mount.command("put", key, body)
    mount.command("requests")


def walk(mount: ControlledMount) -> None:
    put(mount, *(f"{directory:02}/{name:02}" for directory in range(20) for name in range(40)))
    mount.command("requests")
    for directory in sorted(os.listdir(mount.path)):
        os.listdir(mount / directory)


def test_a_walk_lists_each_directory_and_no_subtree(tmp_path: Path) -> None:
    on, off = requests_with_and_without(tmp_path, Prefetch.WALKS, walk)

    assert ["LIST", "", "", "00/"] in on
    assert sorted(of_kind(off, "LIST")) == [
        ["LIST", prefix, "/", None] for prefix in ("", *(f"{number:02}/" for number in range(20)))
    ]


def read_five_files(mount: ControlledMount) -> None:
    put(mount, *(f"d/{number:02}" for number in range(40)))
    for name in sorted(os.listdir(mount / "d"))[:5]:
        (mount / "d" / name).read_bytes()


def test_small_files_are_read_one_by_one(tmp_path: Path) -> None:
    on, off = requests_with_and_without(tmp_path, Prefetch.SIBLINGS, read_five_files)

    assert len(of_kind(on, "GET")) > 5
    assert of_kind(off, "GET") == [["GET", f"d/{number:02}", 0, 1] for number in range(5)]


NO_SIBLINGS = ("--no-prefetch", "siblings")  # a random order has files in order by chance


def read_forty_files_at_random(mount: ControlledMount) -> None:
    put(mount, *(f"d/{number:03}" for number in range(200)))
    names = sorted(os.listdir(mount / "d"))
    for number in range(40):
        (mount / "d" / names[number * 73 % 200]).read_bytes()


def test_small_files_read_at_random_are_read_one_by_one(tmp_path: Path) -> None:
    on, off = requests_with_and_without(
        tmp_path, Prefetch.RANDOM_ORDER, read_forty_files_at_random, *NO_SIBLINGS
    )

    files_on = [key for _, key, _, _ in of_kind(on, "GET")]
    assert 60 < len(files_on) == len({*files_on}) <= 2.5 * 40
    assert [key for _, key, _, _ in of_kind(off, "GET")] == [
        f"d/{number * 73 % 200:03}" for number in range(40)
    ]


def read_all_files_at_random(mount: ControlledMount) -> None:
    keys = [f"{directory}/{number:02}" for directory in range(5) for number in range(60)]
    put(mount, *keys)
    for directory in sorted(os.listdir(mount.path)):
        os.listdir(mount / directory)
    random.Random(0).shuffle(keys)
    for key in keys:
        assert (mount / key).read_bytes() == b"x"


def test_small_files_read_once_each_at_random_are_fetched_once_each(tmp_path: Path) -> None:
    on, off = requests_with_and_without(tmp_path, Prefetch.RANDOM_ORDER, read_all_files_at_random)

    assert len(of_kind(on, "GET")) == len(of_kind(off, "GET")) == 300
    assert sorted(of_kind(on, "GET")) == sorted(of_kind(off, "GET"))


@pytest.mark.parametrize("directory", ["", "d/"])
def test_300_lookups_in_one_directory_are_300_heads_and_no_listing_of_it(
    tmp_path: Path, directory: str
) -> None:
    names = [f"{number:03}" for number in range(300)]

    def stat_all(mount: ControlledMount) -> None:
        mount.command("pages", "10")
        put(mount, *(f"{directory}{name}" for name in names))
        for name in names:
            (mount / directory / name).stat()

    on, off = requests_with_and_without(tmp_path, Prefetch.LISTINGS, stat_all)

    # a first page of ten names comes with the lookup of d, and is too short to rely on its order
    looked_up = [*(["d"] if directory else []), *(f"{directory}{name}" for name in names)]
    assert len(of_kind(on, "HEAD")) < 30
    assert [key for _, key in of_kind(off, "HEAD")] == looked_up
    assert [prefix for _, prefix, _, _ in of_kind(off, "LIST")] == [f"{key}/" for key in looked_up]


def read_first_entries(mount: ControlledMount) -> None:
    mount.command("pages", "50")  # long enough to rely on its order, so that its entries are shown
    put(mount, *(f"{number:04}" for number in range(300)))
    with os.scandir(mount.path) as entries:
        next(entries)
        for _ in range(10):  # each is one round of the event loop at least, in which all tasks run
            mount.command("lookups")


def test_a_listing_is_not_read_ahead_of_its_reader(tmp_path: Path) -> None:
    on, off = requests_with_and_without(tmp_path, Prefetch.LISTINGS, read_first_entries)

    assert len(of_kind(on, "LIST")) > 1
    assert of_kind(off, "LIST") == [["LIST", "", "/", None]]


def list_huge_directory(mount: ControlledMount) -> None:
    mount.command("pages", "10")
    put(mount, *(f"{number:05}" for number in range(2000)))
    assert len(os.listdir(mount.path)) == 2000


def test_a_huge_directory_is_listed_page_after_page(tmp_path: Path) -> None:
    on, off = requests_with_and_without(tmp_path, Prefetch.PARALLEL_LISTING, list_huge_directory)

    assert any(start_after for _, _, _, start_after in of_kind(on, "LIST"))
    assert off == [["LIST", "", "/", None]] * 200


def read_sequentially(mount: ControlledMount) -> None:
    put(mount, "file", body="x" * (4096 * KIB))
    descriptor = os.open(mount / "file", os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # or the kernel itself reads ahead
    for offset in range(0, 8 * BLOCK, BLOCK):
        assert len(os.pread(descriptor, BLOCK, offset)) == BLOCK
    os.close(descriptor)


def test_a_sequential_reader_gets_the_blocks_that_it_reads_and_no_more(tmp_path: Path) -> None:
    on, off = requests_with_and_without(tmp_path, Prefetch.READAHEAD, read_sequentially)

    assert max(stop for _, _, _, stop in of_kind(on, "GET")) > 8 * BLOCK
    assert of_kind(off, "GET") == [
        ["GET", "file", offset, offset + BLOCK] for offset in range(0, 8 * BLOCK, BLOCK)
    ]


def test_with_all_of_it_off_the_mount_shows_the_same(tmp_path: Path) -> None:
    keys = [f"{a}/{b}/{c}" for a in "ab" for b in "cd" for c in range(30)]
    trees = []
    for place, options in (("on", ()), ("off", ("--no-prefetch", "all"))):
        with memory_mount(tmp_path / place, *options) as mount:
            mount.command("pages", "7")
            for key in keys:
                mount.command("put", key, key)
            trees.append(read_tree(mount.path))
            requests = mount.command("requests")

    assert trees[0] == trees[1]
    assert len(of_kind(requests, "GET")) == len(keys)
    assert all(delimiter and not start for _, _, delimiter, start in of_kind(requests, "LIST"))

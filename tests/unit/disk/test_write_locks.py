"""Locks on segments that are written: others see them, eviction heeds them, a kill ends them."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from s3mount.disk.data_files import DataFiles
from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.object_name import KIB, MIB
from s3mount.disk.segment import Location
from s3mount.disk.usage import DiskLimits
from s3mount.disk.write_locks import WriteLocks
from tests.cached_objects import generation_folder, keep, object_name, segments, size_on_disk

LIMITS = DiskLimits(64 * MIB)
LAST = (1 << 40, (1 << 20) - 1)


def test_others_see_a_lock_until_it_is_dropped(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    mine, others = WriteLocks(folder), WriteLocks(folder)

    mine.lock([(1, 0), (1, 1), LAST])

    assert [others.is_locked(each) for each in ((1, 0), (1, 1), LAST)] == [True] * 3
    assert [others.is_locked(each) for each in ((1, 2), (0, 0), (2, 0))] == [False] * 3
    assert not mine.is_locked((1, 0))
    others.lock([(1, 0)])  # two may write the same bytes
    mine.unlock_all()
    assert not others.is_locked((1, 1))
    assert mine.is_locked((1, 0))
    os.close(folder)


def test_a_killed_process_has_no_lock(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    program = (
        "import os, sys; from s3mount.disk.write_locks import WriteLocks;"
        "locks = WriteLocks(os.open(sys.argv[1], os.O_RDONLY)); locks.lock([(1, 0)]);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        locks = WriteLocks(folder)
        assert locks.is_locked((1, 0))

        process.kill()
        process.wait()

    assert not locks.is_locked((1, 0))
    os.close(folder)


@pytest.mark.parametrize("size", [27 * KIB, 3 * MIB])
def test_what_is_evicted_while_it_is_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    writer, other = (DiskCache(tmp_path, LIMITS) for _ in range(2))
    name = object_name(0, size=size)
    write = DataFiles.write_all

    def evict_and_write(files: DataFiles, runs: Iterable[tuple[Location, int, memoryview]]) -> None:
        other.clear()
        write(files, runs)

    monkeypatch.setattr(DataFiles, "write_all", evict_and_write)
    keep(writer, name)
    monkeypatch.undo()

    assert segments(writer, name) == []
    other.clear()
    assert other.usage().object_bytes == 0
    assert size_on_disk(generation_folder(tmp_path)) <= other.usage().index_bytes + MIB
    assert [path for path in generation_folder(tmp_path).rglob("*/*") if path.is_file()] == []
    for each in (writer, other):
        each.close()


def test_objects_that_came_one_after_another_take_one_lock(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    mine, others = WriteLocks(folder), WriteLocks(folder)
    calls: list[int] = []
    call = mine._call
    mine._call = lambda *arguments: calls.append(1) or call(*arguments)  # type: ignore[method-assign,func-returns-value]

    mine.lock([*((number, 0) for number in range(5, 500)), (600, 0), (500, 0)])

    assert len(calls) == 3
    locked = [each for each in range(1000) if others.is_locked((each, 0))]
    assert locked == [*range(5, 501), 600]
    os.close(folder)

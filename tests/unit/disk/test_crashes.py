"""Processes that share a disk cache, and are killed: right bytes, a bounded directory."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.object_name import MIB
from s3mount.disk.usage import DiskLimits
from tests.cached_objects import is_whole, keep, object_name, open_index, right_bytes, size_on_disk
from tests.unit.disk.load_process import NAMES

LIMITS = DiskLimits(16 * MIB)
KILLS = 60  # those of mounts are more: tests/mount/test_disk_faults.py
PROCESSES = 2
UNCOUNTED = MIB  # bytes on the disk that are not counted: folders, -shm, tags


def start(folder: Path, seed: int, rounds: int = 1_000_000) -> subprocess.Popen[str]:
    module = "tests.unit.disk.load_process"
    arguments = map(str, (folder, LIMITS.size, seed, rounds))
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True
    )


def kill_some(folder: Path, rng: random.Random, seed: int) -> None:
    """Kill processes at random moments of their work, one soon after another."""
    running = [start(folder, seed + number) for number in range(PROCESSES)]
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == "loaded\n"
    for each in running:
        time.sleep(rng.random() / 30)  # decides nothing: any moment is as good
        each.send_signal(signal.SIGKILL)
        each.wait()
        assert each.stdout is not None
        each.stdout.close()


def counted_bytes(folder: Path) -> tuple[int, int]:
    """The sum of the totals, and that of the segments."""
    index = open_index(folder)
    (totals,) = index.execute("SELECT sum(bytes) FROM totals").fetchone()
    (segments,) = index.execute("SELECT coalesce(sum(bytes), 0) FROM segments").fetchone()
    index.close()
    return totals, segments


def test_killed_processes_leave_right_bytes_and_a_bounded_directory(tmp_path: Path) -> None:
    rng = random.Random(1)

    for number in range(0, KILLS, PROCESSES):
        kill_some(tmp_path, rng, number)

        assert size_on_disk(tmp_path) <= LIMITS.size + UNCOUNTED
        cache = DiskCache(tmp_path, LIMITS)
        for name in NAMES:
            right_bytes(cache, name)
        cache.flush()
        assert cache.usage().used <= LIMITS.size
        assert cache.counts.bad_extents == 0
        cache.close()
        totals, segments = counted_bytes(tmp_path)
        assert totals == segments

    cache = DiskCache(tmp_path, LIMITS)
    cache.clear()
    assert cache.usage().object_bytes == 0
    assert size_on_disk(tmp_path) <= cache.usage().index_bytes + UNCOUNTED
    assert keep(cache, object_name(6))
    assert is_whole(cache, object_name(6))
    cache.close()


def test_processes_that_share_a_directory_keep_it_within_its_limit(tmp_path: Path) -> None:
    running = [start(tmp_path, seed, rounds=60) for seed in range(3)]

    while any(each.poll() is None for each in running):
        assert size_on_disk(tmp_path) <= LIMITS.size + UNCOUNTED

    assert [each.communicate()[0] for each in running] == ["loaded\n"] * 3
    assert [each.returncode for each in running] == [0, 0, 0]

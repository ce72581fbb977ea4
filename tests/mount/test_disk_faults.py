"""A disk cache on a disk that is small, late, read-only or failing, and under SIGKILL: reads go on.

Each mount has little memory, so that what is read again comes from the disk, or would.
"""

import errno
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.disks.faulty_disk import FaultyDisk, faulty_disk, small_disk
from tests.mount.buckets import fill
from tests.mount.mount_process import Mount, mount_of
from tests.servers import S3Server

MIB = 1 << 20
MEMORY = "--memory-limit=32MiB"
KILLS, AT_ONCE = 200, 4
LARGE, SMALL = 10, 40  # objects
SHARED_SECONDS = 10.0
READERS = 16
WARNING = '"WARNING"'


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects of a bucket, and their bodies by key."""

    server: S3Server
    bucket: str
    bodies: Mapping[str, bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.bodies.values()))


@pytest.fixture(scope="module")
def objects(seaweedfs: S3Server) -> Objects:
    bodies = {f"large/{n}": random.Random(n).randbytes(12 * MIB + n) for n in range(LARGE)}
    bodies |= {f"small/{n}": random.Random(n).randbytes(1000 + 997 * n) for n in range(SMALL)}
    return Objects(seaweedfs, fill(seaweedfs, bodies), bodies)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[FaultyDisk]:
    with faulty_disk(tmp_path) as made:
        (made.path / "cache").mkdir(mode=0o700)
        yield made


def drop_pages(path: Path) -> None:
    """Have the kernel forget what it has of a file, so that the next read is the mount's."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_all(root: Path, objects: Objects) -> None:
    for key, body in objects.bodies.items():
        drop_pages(root / key)
        assert (root / key).read_bytes() == body, key


def read_piece(
    root: Path, objects: Objects, choice: random.Random, *, may_be_cut: bool = False
) -> None:
    """Read a random piece of a random file, which must be right.

    It *may_be_cut* if the mount dies: the kernel then gives what it has got.
    """
    key = choice.choice(list(objects.bodies))
    body = objects.bodies[key]
    offset = choice.randrange(len(body))
    length = choice.choice((1, 4096, 100_000, MIB, len(body)))
    with (root / key).open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        piece = os.pread(file.fileno(), length, offset)
    wanted = body[offset : offset + length]
    assert piece == (wanted[: len(piece)] if may_be_cut else wanted), key


def size_on_disk(folder: Path) -> int:
    """The bytes that all below *folder* takes, however files come and go."""
    done = subprocess.run(
        ["du", "-s", "--block-size=1", folder], capture_output=True, text=True, check=False
    )
    return int(done.stdout.split()[0])


def test_a_full_disk_is_used_as_far_as_it_goes(objects: Objects, tmp_path: Path) -> None:
    """The directory's limit is larger than its file system, which has less than the objects."""
    with small_disk(tmp_path, 64 * MIB) as small:
        options = (
            f"--cache-dir={small}/cache",
            "--cache-size=1GiB",
            "--cache-free-space=0",
            MEMORY,
        )
        with mount_of(objects.server, objects.bucket, tmp_path / "m", *options) as mount:
            mount.allow("disk cache")
            for _ in range(2):
                read_all(mount.path, objects)
        assert _warnings(mount) <= 1


def test_a_cache_that_is_read_only_is_passed_over(
    objects: Objects, disk: FaultyDisk, tmp_path: Path
) -> None:
    options = (f"--cache-dir={disk.path}/cache", "--cache-size=1GiB", MEMORY)
    with mount_of(objects.server, objects.bucket, tmp_path / "m", *options) as mount:
        mount.allow("disk cache")
        read_piece(mount.path, objects, random.Random(1))
        disk.be_read_only()
        read_all(mount.path, objects)
        assert _warnings(mount) == 1


@pytest.mark.parametrize(
    "fault",
    [
        FaultyDisk.be_read_only,
        FaultyDisk.fail,
        partial(FaultyDisk.fail, number=errno.ENOSPC),
        partial(FaultyDisk.delay, seconds=2.0),
    ],
    ids=["read-only", "failing", "full", "late"],
)
def test_a_disk_that_is_unfit_at_the_start_is_passed_over(
    objects: Objects, disk: FaultyDisk, tmp_path: Path, fault: Callable[[FaultyDisk], None]
) -> None:
    options = (f"--cache-dir={disk.path}/cache", "--cache-size=1GiB", MEMORY)
    fault(disk)
    with mount_of(objects.server, objects.bucket, tmp_path / "m", *options) as mount:
        mount.allow("disk cache")
        for _ in range(2):
            read_all(mount.path, objects)
        assert _warnings(mount) == 1
        disk.behave()


def test_a_cache_whose_disk_fails_is_passed_over(
    objects: Objects, disk: FaultyDisk, tmp_path: Path
) -> None:
    options = (f"--cache-dir={disk.path}/cache", "--cache-size=1GiB", MEMORY)
    with mount_of(objects.server, objects.bucket, tmp_path / "m", *options) as mount:
        mount.allow("disk cache")
        read_all(mount.path, objects)
        before = _warnings(mount)  # a busy machine makes the disk late, too
        disk.fail()
        for _ in range(2):
            read_all(mount.path, objects)
        assert 1 <= _warnings(mount) <= before + 1


def test_a_cache_whose_disk_is_late_is_passed_over(
    objects: Objects, disk: FaultyDisk, tmp_path: Path
) -> None:
    """Two seconds for each access: the first reads wait for it, and no others."""
    options = (f"--cache-dir={disk.path}/cache", "--cache-size=1GiB", MEMORY)
    with mount_of(objects.server, objects.bucket, tmp_path / "m", *options) as mount:
        mount.allow("disk cache")
        read_all(mount.path, objects)
        before = _warnings(mount)  # a busy machine makes the disk late, too
        disk.delay(2.0)
        for _ in range(2):
            read_all(mount.path, objects)
        assert 1 <= _warnings(mount) <= before + 1
        disk.behave()


def test_two_mounts_share_a_cache_of_half_their_working_set(
    objects: Objects, tmp_path: Path
) -> None:
    """Its size holds at any moment, whoever reads."""
    cache, limit = tmp_path / "cache", max(64 * MIB, objects.size // 2)
    options = (f"--cache-dir={cache}", f"--cache-size={limit}", MEMORY)
    with (
        mount_of(objects.server, objects.bucket, tmp_path / "one", *options) as one,
        mount_of(objects.server, objects.bucket, tmp_path / "two", *options) as two,
        ThreadPoolExecutor(READERS) as pool,
    ):
        has_ended = threading.Event()

        def read(seed: int) -> int:
            choice, count = random.Random(seed), 0
            while not has_ended.is_set():
                read_piece((one, two)[seed % 2].path, objects, choice)
                count += 1
            return count

        readers = [pool.submit(read, seed) for seed in range(READERS)]
        most, end = 0, time.monotonic() + SHARED_SECONDS
        while time.monotonic() < end and not any(each.done() for each in readers):
            most = max(most, size_on_disk(cache))
        has_ended.set()
        assert all(each.result() for each in readers)
        assert limit // 2 < most <= limit + 8 * MIB


def test_mounts_that_are_killed_at_any_moment_leave_no_wrong_byte(
    objects: Objects, tmp_path: Path
) -> None:
    """Several at once, on one directory, under load; and the directory keeps its size."""
    cache, limit = tmp_path / "cache", max(64 * MIB, objects.size * 2 // 3)
    options = (f"--cache-dir={cache}", f"--cache-size={limit}", MEMORY)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        lives = [
            pool.submit(_live_and_die, objects, tmp_path / f"m{number}", options)
            for number in range(AT_ONCE)
        ]
        assert sum(each.result() for each in lives) > KILLS
    assert size_on_disk(cache) <= limit + 8 * MIB
    with mount_of(objects.server, objects.bucket, tmp_path / "last", *options) as mount:
        read_all(mount.path, objects)


def _live_and_die(objects: Objects, places: Path, options: tuple[str, ...]) -> int:
    """Mount and be killed at random moments, time and again; how many reads were right."""
    choice, reads = random.Random(places.name), 0
    for number in range(KILLS // AT_ONCE):
        with mount_of(objects.server, objects.bucket, places / str(number), *options) as mount:
            mount.is_left = True
            killer = threading.Timer(choice.uniform(0, 0.4), mount.process.kill)
            killer.start()
            with suppress(OSError):  # once it is dead
                while True:
                    read_piece(mount.path, objects, choice, may_be_cut=True)
                    reads += 1
            killer.join()
    return reads


def _warnings(mount: Mount) -> int:
    """How many lines say that the disk cache is passed over."""
    return sum("disk cache" in str(each) for each in mount.records() if each["level"] == "WARNING")

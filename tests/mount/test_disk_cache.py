"""The disk cache of real mounts: what stays over a remount, a crash, and a change in S3."""

import os
import random
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.mount.buckets import fill
from tests.mount.control_client import ask
from tests.mount.filesystem_access import read_file
from tests.mount.mount_process import Mount, mount_of
from tests.mount.relay import Traffic, relay
from tests.servers import S3Server
from tests.waiting import wait_until

MIB = 1 << 20
BIG = 21 * MIB + 12_345
NOISE = random.Random(15).randbytes(BIG)
BODIES = {
    "big": NOISE,
    "middle": NOISE[: 3 * MIB],
    **{f"small/{number:02}": NOISE[number : number * 700 + 1] for number in range(30)},
}


@dataclass
class Remounting:
    """A bucket behind a relay, and mounts of it, one after another, with one cache directory."""

    traffic: Traffic
    bucket: str
    home: Path
    mounts: list[Mount] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.home / "cache"

    @contextmanager
    def mount(self, *options: str) -> Iterator[Mount]:
        at = self.home / f"mnt{len(self.mounts)}"
        cache = ("--cache-dir", str(self.folder), "--cache-size", "256MiB")
        with mount_of(self.traffic.server, self.bucket, at, *cache, *options) as mount:
            self.mounts.append(mount)
            yield mount

    def gets(self) -> list[str]:
        """The paths of the GETs of objects since the last look."""
        return [each.path for each in self.traffic.take() if each.kind == "GET"]


@pytest.fixture
def remounting(server: S3Server, tmp_path: Path) -> Iterator[Remounting]:
    bucket = fill(server, BODIES)
    with relay(server) as traffic:
        made = Remounting(traffic, bucket, tmp_path)
        made.folder.mkdir(mode=0o700)
        yield made


def _check_all(mount: Mount, bodies: Mapping[str, bytes] = BODIES) -> None:
    for key, body in bodies.items():
        assert read_file(mount / key) == body


def test_a_remounted_tree_is_read_without_a_request_for_bytes(remounting: Remounting) -> None:
    with remounting.mount() as mount:
        _check_all(mount)
    assert remounting.gets()

    with remounting.mount() as mount:
        _check_all(mount)

    assert remounting.gets() == []


def test_random_reads_after_a_remount_are_no_requests(remounting: Remounting) -> None:
    chance = random.Random(7)
    with remounting.mount() as mount:
        _check_all(mount)
    remounting.gets()

    with remounting.mount() as mount:
        descriptor = os.open(mount / "big", os.O_RDONLY)
        try:
            for _ in range(300):
                offset, size = chance.randrange(BIG), chance.choice((1, 4096, 70_000, 300_000))
                assert os.pread(descriptor, size, offset) == NOISE[offset : offset + size]
        finally:
            os.close(descriptor)

    assert remounting.gets() == []


def test_a_killed_mount_leaves_a_cache_that_serves_the_right_bytes(
    remounting: Remounting,
) -> None:
    for _ in range(3):
        with remounting.mount() as mount:
            mount.is_left = True
            readers = [
                threading.Thread(target=_read_until_killed, args=(mount / key,)) for key in BODIES
            ]
            for reader in readers:
                reader.start()
            wait_until(lambda: bool(remounting.gets()))
            mount.process.send_signal(signal.SIGKILL)
            mount.process.wait()
            for reader in readers:
                reader.join()

    with remounting.mount() as mount:
        _check_all(mount)


def _read_until_killed(file: Path) -> None:
    try:
        file.read_bytes()
    except OSError:
        return


def test_a_file_that_has_changed_between_mounts_is_new_beyond_its_lifetime(
    remounting: Remounting, server: S3Server
) -> None:
    """Within it, the next mount shows what was listed, as the same mount would."""
    with remounting.mount() as mount:
        _check_all(mount)
    other = bytes(reversed(BODIES["middle"]))
    server.client().put_object(Bucket=remounting.bucket, Key="middle", Body=other)

    with remounting.mount("--metadata-ttl", "0") as mount:
        _check_all(mount, {**BODIES, "middle": other})


def test_two_mounts_share_what_one_has_read(remounting: Remounting) -> None:
    with remounting.mount() as one, remounting.mount() as other:
        _check_all(one)
        remounting.gets()
        written = remounting.folder
        wait_until(lambda: _size_of(written) >= sum(map(len, BODIES.values())))

        _check_all(other)

        assert remounting.gets() == []


def test_mounts_of_every_bucket_and_of_one_share_what_either_has_read(
    remounting: Remounting,
) -> None:
    """Paths of commands begin with the bucket, then."""
    server, options = remounting.traffic.server, ("--cache-dir", str(remounting.folder))
    with mount_of(server, "s3://", remounting.home / "all", *options) as mount:
        assert read_file(mount / remounting.bucket / "big") == NOISE
        wait_until(lambda: _size_of(remounting.folder) >= BIG)
        pinned = ask(mount.path, "cache-pin", path=f"{remounting.bucket}/big", pinned=True)
        assert pinned["objects"] == 1
    assert remounting.gets()

    with remounting.mount() as mount:
        assert read_file(mount / "big") == NOISE
        assert ask(mount.path, "cache-pin", path="big", pinned=False)["objects"] == 1

    assert remounting.gets() == []


def _size_of(folder: Path) -> int:
    return sum(each.stat().st_blocks * 512 for each in folder.rglob("*") if each.is_file())


@pytest.mark.usefixtures("server")
def test_without_the_option_nothing_of_the_cache_is_imported(remounting: Remounting) -> None:
    with mount_of(remounting.traffic.server, remounting.bucket, remounting.home / "plain") as mount:
        maps = Path(f"/proc/{mount.process.pid}/maps").read_text()
        read_file(mount / "middle")

    assert "_sqlite3" not in maps
    assert "xxhash" not in maps

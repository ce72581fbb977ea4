"""Reading: every byte is right in any order and concurrency, with few requests."""

import os
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3mount.s3.scheduling.hedge_policy import BURST, SHARE
from tests.mount.buckets import fill, fill_from
from tests.mount.filesystem_access import output_of, read_file, read_mapped
from tests.mount.mount_process import Mount, mount_of
from tests.mount.relay import Traffic, relay
from tests.servers import S3Server
from tests.waiting import wait_until

MIB = 1 << 20
SIZES = (
    0,
    1,
    511,
    4095,
    4096,
    4097,
    131_071,
    131_072,
    131_073,
    MIB - 1,
    MIB + 1,
    8 * MIB,
    8 * MIB + 1,
)
BIG = 21 * MIB + 12_345

each_transport = pytest.mark.parametrize("transport", ["native", "boto3"])


@dataclass(frozen=True)
class Reading:
    """Mount behind a relay, and the contents of its objects."""

    mount: Mount
    traffic: Traffic
    bodies: dict[str, bytes]

    def __truediv__(self, name: str) -> Path:
        return self.mount / name


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    noise = random.Random(20).randbytes(BIG)
    small = {f"small/{number:03}": noise[number : number * 700] for number in range(200)}
    return {"big": noise, **{f"sizes/{size}": noise[:size] for size in SIZES}, **small}


@pytest.fixture(scope="module")
def bucket(server: S3Server, bodies: dict[str, bytes]) -> str:
    return fill(server, bodies)


@pytest.fixture
def reading(
    server: S3Server,
    bucket: str,
    bodies: dict[str, bytes],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Reading]:
    """A fresh mount for each test."""
    options = ("--transport", getattr(request, "param", "native"))
    with (
        relay(server) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "mnt", *options) as mount,
    ):
        yield Reading(mount, traffic, bodies)


def test_a_file_of_any_size_is_read_whole(reading: Reading) -> None:
    for size in SIZES:
        assert read_file(reading / f"sizes/{size}") == reading.bodies[f"sizes/{size}"]


@pytest.mark.parametrize("reading", ["native", "boto3"], indirect=True)
def test_any_slice_is_exactly_the_slice_of_the_object(reading: Reading) -> None:
    body, chance = reading.bodies["big"], random.Random(1)
    descriptor = os.open(reading / "big", os.O_RDONLY)
    for _ in range(150):
        start, size = (
            chance.randrange(BIG + 100_000),
            chance.choice([1, 100, 4096, 70_000, 300_000]),
        )
        assert os.pread(descriptor, size, start) == body[start : start + size]
    for start in (BIG - 1, BIG, BIG + 1, 8 * MIB - 1, 8 * MIB, 16 * MIB - 5):
        assert os.pread(descriptor, 10, start) == body[start : start + 10]
    os.close(descriptor)


def test_many_threads_read_one_descriptor_at_once(reading: Reading) -> None:
    body, chance = reading.bodies["big"], random.Random(2)
    descriptor = os.open(reading / "big", os.O_RDONLY)
    spans = [(chance.randrange(BIG), chance.choice([1, 4096, 200_000])) for _ in range(300)]
    with ThreadPoolExecutor(16) as threads:
        slices = list(threads.map(lambda span: os.pread(descriptor, span[1], span[0]), spans))
    os.close(descriptor)

    assert slices == [body[start : start + size] for start, size in spans]


def test_a_mapped_file_is_the_object(reading: Reading) -> None:
    assert read_mapped(reading / "big") == reading.bodies["big"]


def test_several_sequences_in_one_file_are_each_right(reading: Reading) -> None:
    body = reading.bodies["big"]
    descriptor = os.open(reading / "big", os.O_RDONLY)
    starts = [0, 7 * MIB, 14 * MIB]
    for step in range(20):
        for start in starts:
            at = start + step * 100_000
            assert os.pread(descriptor, 100_000, at) == body[at : at + 100_000]
    os.close(descriptor)


@pytest.mark.parametrize("reading", ["native", "boto3"], indirect=True)
def test_ten_concurrent_readers_download_each_byte_once(reading: Reading) -> None:
    reading.traffic.take()
    with ThreadPoolExecutor(10) as readers:
        bodies = list(readers.map(read_file, [reading / "big"] * 10))

    assert all(body == reading.bodies["big"] for body in bodies)
    assert reading.traffic.bytes_down < BIG * 1.01 + 50_000


def test_reopening_a_file_within_the_lifetime_costs_no_request(reading: Reading) -> None:
    assert read_file(reading / "big") == reading.bodies["big"]
    reading.traffic.take()

    assert read_file(reading / "big") == reading.bodies["big"]
    assert reading.traffic.take() == []


def test_a_random_read_fetches_at_most_256_kib_in_one_request(reading: Reading) -> None:
    places = [place * 4096 for place in range(100, BIG // 4096, 420)]
    random.Random(3).shuffle(places)
    with open(reading / "big", "rb", buffering=0) as file:
        os.pread(file.fileno(), 4096, places.pop())
        reading.traffic.take()
        for place in places:
            assert (
                os.pread(file.fileno(), 4096, place) == reading.bodies["big"][place : place + 4096]
            )

    assert reading.traffic.bytes_down <= len(places) * (256 + 8) << 10
    assert len(reading.traffic.take()) <= len(places)


def test_small_files_in_order_cost_one_get_each_and_nothing_else(reading: Reading) -> None:
    names = sorted(os.listdir(reading / "small"))
    os.listdir(reading.mount.path)  # ends the listing that the lookup of "small" has begun
    reading.traffic.take()
    for name in names:
        assert read_file(reading / f"small/{name}") == reading.bodies[f"small/{name}"]

    requests = reading.traffic.take()
    wanted = [name for name in names if reading.bodies[f"small/{name}"]]
    late = BURST + SHARE * len(wanted)  # may have been requested a second time
    assert {request.kind for request in requests} == {"GET"}
    assert (
        len({request.path for request in requests})
        == len(wanted)
        <= len(requests)
        <= len(wanted) + late
    )


def test_small_files_are_prefetched_for_cp_which_opens_them_by_inode_number(
    reading: Reading, tmp_path: Path
) -> None:
    with os.scandir(reading / "small") as listed:
        names = [
            entry.name
            for entry in sorted(listed, key=os.DirEntry.inode)
            if reading.bodies[f"small/{entry.name}"]
        ]
    opened, fetched = names[:8], set[str]()
    for name in opened:
        assert read_file(reading / f"small/{name}") == reading.bodies[f"small/{name}"]

    def are_the_next_ones_asked_for() -> bool:
        fetched.update(request.path.rpartition("/")[2] for request in reading.traffic.take())
        return fetched >= set(names[:16])

    wait_until(are_the_next_ones_asked_for)
    subprocess.run(["cp", "-r", reading / "small", tmp_path / "copy"], check=True)
    for path in (tmp_path / "copy").iterdir():
        assert path.read_bytes() == reading.bodies[f"small/{path.name}"]


def test_a_killed_reader_leaves_no_fetch_behind(reading: Reading) -> None:
    reader = subprocess.Popen(["tail", "-f", "-c", "+1", reading / "big"], stdout=subprocess.PIPE)
    assert reader.stdout is not None
    assert reader.stdout.read(100_000) == reading.bodies["big"][:100_000]
    reader.kill()
    reader.wait()
    reader.stdout.close()

    assert read_file(reading / "big") == reading.bodies["big"]
    reading.traffic.take()
    assert read_file(reading / "sizes/1") == reading.bodies["sizes/1"]
    assert all(
        request.path.endswith("/1") or request.kind == "LIST" for request in reading.traffic.take()
    )


def test_fio_finds_its_pattern(server: S3Server, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    pattern = ("--bs=4k", "--size=24m", "--verify=crc32c", "--name=job")
    output_of(
        "fio",
        *pattern,
        "--rw=write",
        f"--filename={source / 'pattern'}",
        "--do_verify=0",
        cwd=tmp_path,
    )
    bucket = fill_from(server, source)
    with mount_of(server, bucket, tmp_path / "mnt") as mount:
        check = (*pattern, "--verify_only", "--readonly", f"--filename={mount / 'pattern'}")
        mixed = ("--rw=randread", "--percentage_random=50")
        for job in (
            ("--rw=read",),
            ("--rw=randread",),
            mixed,
            ("--rw=randread", "--numjobs=16", "--thread"),
        ):
            output_of("fio", *check, *job, cwd=tmp_path)

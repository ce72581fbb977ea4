"""The counts of requests in the statistics, against those of a relay before the store.

Each workload is that of a benchmark, or of a store that fails. What is prefetched may still be in
flight at its end, so the counts of both are compared until they agree.
"""

import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3mount.bill import bill_of
from s3mount.config import PriceConfig
from tests.mount.buckets import fill
from tests.mount.filesystem_access import read_file, read_tree
from tests.mount.mount_process import Mount, mount_of
from tests.mount.relay import Request, Traffic, relay
from tests.servers import S3Server
from tests.waiting import wait_until

MIB = 1 << 20
BIG = 24 * MIB
SMALL_FILES = 120
KINDS = ("GET", "HEAD", "LIST")

pytestmark = pytest.mark.parametrize("transport", ["native", "boto3"])


@dataclass
class Counted:
    """Mount behind a relay; *seen* are all requests of the mount, those of its start included."""

    mount: Mount
    traffic: Traffic
    seen: list[Request]

    def agree(self) -> Counter[str]:
        """Wait until mount and relay have counted the same; return the requests by kind."""
        wait_until(lambda: self._counted() == self._relayed())
        return self._relayed()

    def _relayed(self) -> Counter[str]:
        self.seen += self.traffic.take()
        return Counter(dict.fromkeys(KINDS, 0)) + Counter(each.kind for each in self.seen)

    def statistics(self) -> dict[str, float]:
        """Return what the mount says of itself now."""
        before = len(self._statistics())
        self.mount.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(self._statistics()) > before)
        return self._statistics()[-1]

    def _counted(self) -> Counter[str]:
        numbers = self.statistics()
        return +Counter({kind: int(numbers[f"{kind.lower()}_requests"]) for kind in KINDS})

    def _statistics(self) -> list[dict[str, float]]:
        return [each["statistics"] for each in self.mount.records() if "statistics" in each]


@pytest.fixture(scope="module")
def bucket(seaweedfs: S3Server) -> str:
    chance = random.Random(7)
    objects = {"big": chance.randbytes(BIG), "docs/read me": b"text"}
    objects |= {f"small/{number:03}": bytes(number) for number in range(SMALL_FILES)}
    objects |= {f"tree/{one}/{two}/leaf": b"leaf" for one in range(6) for two in range(6)}
    return fill(seaweedfs, objects)


@pytest.fixture
def counted(seaweedfs: S3Server, bucket: str, tmp_path: Path, transport: str) -> Iterator[Counted]:
    options = ("--transport", transport, "--timeout", "4", "--idle-timeout", "1")
    with (
        relay(seaweedfs) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "mnt", *options) as mount,
    ):
        # before that, the process ignores the signal
        wait_until(lambda: any("mounted s3://" in each["message"] for each in mount.records()))
        yield Counted(mount, traffic, [])


def test_the_requests_of_a_start_are_counted(counted: Counted) -> None:
    assert counted.agree()["LIST"] == 1


def test_the_requests_of_names_are_counted(counted: Counted) -> None:
    (counted.mount / "big").stat()
    (counted.mount / "docs/read me").stat()
    for name in ("missing", "docs/missing"):
        with pytest.raises(FileNotFoundError):
            (counted.mount / name).stat()
    with pytest.raises(NotADirectoryError):
        (counted.mount / "small/007/none").stat()

    assert counted.agree()["HEAD"] > 0


def test_the_requests_of_ls_and_find_are_counted(counted: Counted) -> None:
    subprocess.run(["ls", "-l", counted.mount.path], check=True, capture_output=True)
    subprocess.run(["find", counted.mount.path], check=True, capture_output=True)

    assert counted.agree()["LIST"] > 1


def test_the_requests_of_small_files_are_counted(counted: Counted) -> None:
    read_tree(counted.mount / "small")

    assert counted.agree()["GET"] >= SMALL_FILES - 1  # an empty one needs none


def test_the_requests_of_sequential_and_random_reads_are_counted(counted: Counted) -> None:
    chance = random.Random(3)
    descriptor = os.open(counted.mount / "big", os.O_RDONLY)
    for _ in range(60):
        os.pread(descriptor, 4096, chance.randrange(BIG))
    os.close(descriptor)
    read_file(counted.mount / "big")

    assert counted.agree()["GET"] > 1


def test_the_requests_of_reads_that_are_given_up_are_counted(counted: Counted) -> None:
    for start in range(0, BIG, 6 * MIB):
        descriptor = os.open(counted.mount / "big", os.O_RDONLY)
        for offset in range(0, 256 * 1024, 4096):
            os.pread(descriptor, 4096, start + offset)
        os.close(descriptor)

    counted.agree()


def test_the_statistics_have_what_the_status_and_the_bill_need(counted: Counted) -> None:
    for _ in range(2):
        read_tree(counted.mount / "docs")
    read_file(counted.mount / "big")
    requests = counted.agree()
    numbers = counted.statistics()
    made = bill_of(numbers, PriceConfig(get_per_1000=1, list_per_1000=0, transfer_per_gb=0))

    assert BIG <= numbers["bytes_served"] <= numbers["bytes_received"]
    assert numbers["lookup_misses"] > 0
    assert numbers["listing_hits"] + numbers["listing_misses"] == 2
    assert numbers["listing_pages_read"] == 2
    assert 0 < numbers["metadata_bytes"] < numbers["metadata_bytes_limit"]
    assert numbers["process_resident_bytes"] > 16 * MIB
    assert made.total == (requests["GET"] + requests["HEAD"]) / 1000


@pytest.mark.parametrize(
    ("fault", "failure"),
    [("is_down", "Input/output error"), ("is_silent", "Connection timed out")],
)
def test_the_requests_that_fail_and_those_that_follow_are_counted(
    counted: Counted, fault: str, failure: str
) -> None:
    counted.mount.allow("lookup: ", "read: ", "readdir")
    (counted.mount / "big").stat()
    setattr(counted.traffic, fault, True)
    for name in ("small/100", "tree/0"):
        with pytest.raises(OSError, match=failure):
            (counted.mount / name).stat()
    with pytest.raises(OSError, match=failure):
        read_file(counted.mount / "big")
    setattr(counted.traffic, fault, False)
    read_tree(counted.mount / "small")

    assert counted.agree()["GET"] >= SMALL_FILES - 1
    assert counted.statistics()["request_errors"] > 0

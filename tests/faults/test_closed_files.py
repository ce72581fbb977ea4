"""A file that is closed, by its reader or because that was killed: what was still on its way for it is cancelled at once.

Through the command line and the real kernel, over a store that begins answers and does not end them.
"""

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bucket import Bucket, Kind
from tests.faults.faulty_mount import CREDENTIALS
from tests.faults.hostile_store import Exchange, HangUp, HostileStore, Step, behave
from tests.mount.mount_process import Mount, mounted

KIB, MIB = 1 << 10, 1 << 20
BODY = random.Random(10).randbytes(24 * MIB)
MEMORY_LIMIT = 16 * MIB
READ = 512 * KIB  # how far readers read
CONNECTIONS = 4
SOON = 30.0  # seconds in which what is cancelled has ended, on a busy machine; without, it takes `--timeout`
TIMEOUT = 120

# Reads the beginning, bypassing the kernel's readahead, and stays; ours goes on.
READER = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
for place in range(0, int(sys.argv[2]), 128 << 10):
    os.pread(file, 128 << 10, place)
print("read", flush=True)
sys.stdin.read()
"""


class Unended:
    """A fault: of what lies beyond READ half an answer comes, and then a byte a second until the client hangs up.

    Never silent, so that only a client that wants no more ends it before its deadline.
    """

    def __init__(self) -> None:
        self.has_begun = threading.Semaphore(0)
        self.was_cut = threading.Semaphore(0)
        self.begun = 0

    def __call__(self, exchange: Exchange) -> None:
        if int(exchange.request.headers["range"].removeprefix("bytes=").split("-")[0]) < READ:
            behave(exchange)
            return
        response = exchange.stamp(exchange.response)
        self.begun += 1
        exchange.send(response.head + response.sent_body[: len(response.body) // 2])
        self.has_begun.release()
        with contextlib.suppress(OSError):
            while not select.select([exchange.connection], [], [], 1.0)[0]:
                exchange.send(bytes(1))
        self.was_cut.release()
        raise HangUp


@pytest.fixture
def store() -> Iterator[HostileStore]:
    bucket = Bucket("b")
    for key in ("big", "other"):
        bucket.put(key, BODY)
    with HostileStore(bucket) as running:
        yield running


@pytest.fixture(params=["lean", "boto3"])
def mount(store: HostileStore, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Mount]:
    options = {
        "--endpoint-url": store.url,
        "--region": "us-east-1",
        "--transport": request.param,
        "--max-connections": str(CONNECTIONS),
        "--memory-limit": str(MEMORY_LIMIT),
        "--timeout": str(TIMEOUT),
    }
    flat = [word for pair in options.items() for word in pair]
    with mounted("b", tmp_path / "mnt", "--path-style", *flat, env=CREDENTIALS) as running:
        yield running


@contextlib.contextmanager
def reader(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has read the beginning of the file at *path*."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER, str(path), str(READ)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "read\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("is_killed", [False, True], ids=["closed", "killed"])
def test_what_a_reader_leaves_behind_is_cancelled_at_once(
    store: HostileStore, mount: Mount, *, is_killed: bool
) -> None:
    unended = Unended()
    store.misbehave(Step(Kind.GET, unended, place="big"))

    with reader(mount / "big") as process:
        assert unended.has_begun.acquire(timeout=SOON)
        if is_killed:
            process.send_signal(signal.SIGKILL)
        else:
            process.communicate()
        process.wait()
        for _ in range(unended.begun):
            assert unended.was_cut.acquire(timeout=SOON)
    store.mend()

    assert (mount / "other").read_bytes() == BODY
    assert (mount / "big").read_bytes() == BODY


def test_resident_memory_stays_near_its_limit_over_many_readers(mount: Mount) -> None:
    for number in range(200):
        start = number * 5 * MIB // 2 % (len(BODY) - READ)
        file = os.open(mount / "big", os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        for place in range(start, start + READ, 128 * KIB):
            assert os.pread(file, 128 * KIB, place) == BODY[place : place + 128 * KIB]
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)

    assert _resident(mount.process.pid) <= MEMORY_LIMIT + 100 * MIB


def _resident(process: int) -> int:
    """Bytes of memory that *process* has now."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

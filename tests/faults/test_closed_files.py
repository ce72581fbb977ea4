"""Closing a file, or killing its reader, cancels its requests at once.

Through the command line and the real kernel, over a store whose responses do not end.
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
READ = 512 * KIB  # bytes that readers read
CONNECTIONS = 4
# seconds for a cancelled request to end on a busy machine; an uncancelled one takes `--timeout`
SOON = 30.0
TIMEOUT = 120

# Reads the start, bypassing the kernel's readahead, and stays open; s3mount's readahead goes on.
READER = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
for offset in range(0, int(sys.argv[2]), 128 << 10):
    os.pread(file, 128 << 10, offset)
print("read", flush=True)
sys.stdin.read()
"""


class UnendedResponse:
    """Fault: half a response beyond READ, then a byte a second until the client disconnects.

    It is never silent, so only a client that cancels ends it before the deadline.
    """

    def __init__(self) -> None:
        self.has_started = threading.Semaphore(0)
        self.was_cancelled = threading.Semaphore(0)
        self.started = 0

    def __call__(self, exchange: Exchange) -> None:
        if int(exchange.request.headers["range"].removeprefix("bytes=").split("-")[0]) < READ:
            behave(exchange)
            return
        response = exchange.stamp(exchange.response)
        self.started += 1
        with contextlib.suppress(OSError):  # the client may cancel as soon as the head is sent
            exchange.send(response.head + response.sent_body[: len(response.body) // 2])
            self.has_started.release()
            while not select.select([exchange.connection], [], [], 1.0)[0]:
                exchange.send(bytes(1))
        self.was_cancelled.release()
        raise HangUp


@pytest.fixture
def store() -> Iterator[HostileStore]:
    bucket = Bucket("b")
    for key in ("big", "other"):
        bucket.put(key, BODY)
    with HostileStore(bucket) as running:
        yield running


@pytest.fixture(params=["native", "boto3"])
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
    """Start a process that has read the start of the file at *path*."""
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
def test_the_requests_of_a_closed_or_killed_reader_are_cancelled_at_once(
    store: HostileStore, mount: Mount, *, is_killed: bool
) -> None:
    unended = UnendedResponse()
    store.misbehave(Step(Kind.GET, unended, prefix="big"))

    with reader(mount / "big") as process:
        assert unended.has_started.acquire(timeout=SOON)
        if is_killed:
            process.send_signal(signal.SIGKILL)
        else:
            process.communicate()
        process.wait()
        for _ in range(unended.started):
            assert unended.was_cancelled.acquire(timeout=SOON)
    store.end_faults()

    assert (mount / "other").read_bytes() == BODY
    assert (mount / "big").read_bytes() == BODY


def test_resident_memory_stays_near_its_limit_over_many_readers(mount: Mount) -> None:
    for number in range(200):
        start = number * 5 * MIB // 2 % (len(BODY) - READ)
        file = os.open(mount / "big", os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        for offset in range(start, start + READ, 128 * KIB):
            assert os.pread(file, 128 * KIB, offset) == BODY[offset : offset + 128 * KIB]
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)

    assert _resident(mount.process.pid) <= MEMORY_LIMIT + 100 * MIB


def _resident(process: int) -> int:
    """Return the resident memory of *process* in bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

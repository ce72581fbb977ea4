"""A host without more threads (RLIMIT_NPROC, like pids.max) leaves permits and blocks free."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]

# The limit does not hold for root: the process becomes another user, after all imports, which that
# user may not be allowed to read.
PROGRAM = """
import os, resource, threading, trio
from s3mount.cache.block_cache import BlockCache
from s3mount.config import BlockConfig
from s3mount.errors import StoreError
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.model import ObjectStat, ObjectVersion

class Transport:
    def head(self, key, *, deadline, reason):
        return ObjectStat(ObjectVersion("b", key, "e", 4096), 0)
    def has_ranges(self):
        return True

    def get_range(self, version, byte_range, *, version_id, deadline, is_conditional, reason):
        return Range(byte_range)
    def close(self):
        pass

class Range:
    def __init__(self, byte_range):
        self.byte_range = byte_range
    def send(self, into, cancel_token):
        into()[:] = bytes(len(self.byte_range))
    def send_nowait(self, into, cancel_token):
        return None

def limit_threads(soft=None):
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (hard if soft is None else soft, hard))

async def ends(call, *arguments):
    try:
        await call(*arguments)
    except StoreError as exc:
        return "no thread can be started" in str(exc)
    return False

async def main():
    pauses = lambda: iter([0.0] * 3)
    store = RemoteStore(Transport(), max_connections=2, timeout=10.0, pauses=pauses)
    async with trio.open_nursery() as loads:
        blocks = BlockCache(store, loads, BlockConfig(memory_limit=8 << 20))
        reader = blocks.open(ObjectVersion("b", "k", "e", 4096))
        limit_threads(1)
        for _ in range(4):
            assert await ends(store.head, "k")
            assert await ends(reader.read, 0, 4096)
        assert blocks.prefetch(ObjectVersion("b", "sibling", "e", 4096))
        await trio.testing.wait_all_tasks_blocked()
        assert store._limiter.held == 0
        assert read_metrics(blocks)["block_fetches_in_flight"] == 0
        limit_threads()
        assert len(await reader.read(0, 4096)) == 4096
        assert (await store.head("k")).version.size == 4096
        blocks.close()
        store.close()

import trio.testing
from tests.metrics import read_metrics
trio.run(trio.sleep, 0)  # what trio imports late
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65533)
    os.setuid(65533)
trio.run(main)
print("done")
"""


def test_without_threads_requests_fail_and_leave_nothing_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("done\n", "")

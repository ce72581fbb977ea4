"""Readers of one mount in parallel, and what the kernel sends of theirs at once."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mount.memory_mount import ControlledMount, memory_mount
from tests.waiting import wait_until

READERS = 20  # more than the kernel has in flight by its own default
STEP = 1 << 20  # bytes between them: each needs a fetch of its own
PAGE = 4096


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[ControlledMount]:
    with memory_mount(tmp_path / "mount", "--metadata-ttl", "3600") as mount:
        yield mount


def test_each_of_many_threads_has_its_read_in_flight(mount: ControlledMount) -> None:
    mount.command("put", "large", "x" * ((READERS + 1) * STEP))
    file = os.open(mount / "large", os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        mount.command("hold", "large")
        with ThreadPoolExecutor(READERS) as pool:
            # without the first bytes, which the open may have read
            offsets = range(STEP, (READERS + 1) * STEP, STEP)
            replies = [pool.submit(os.pread, file, PAGE, offset) for offset in offsets]
            try:
                wait_until(lambda: mount.command("held") >= READERS)
            finally:
                mount.command("release")

        assert [b"x" * PAGE] * READERS == [reply.result() for reply in replies]
    finally:
        os.close(file)

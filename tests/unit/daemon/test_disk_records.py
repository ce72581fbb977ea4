"""Records in a disk cache that fails, is late, or is well."""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping

import pytest
import trio

from s3mount.cache.disk_tier.health import FIRST_PAUSE, PAUSE, ReadWriteHealth, disk_health
from s3mount.daemon import disk_records
from s3mount.daemon.disk_records import DiskRecords
from s3mount.daemon.metadata_wiring import boot_id


class Disk:
    """Records in a dict; each call first does *before*, in its thread."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.before = before
        self.content: dict[bytes, bytes] = {}
        self.is_full = False

    def get_record(self, key: bytes) -> bytes | None:
        self.before()
        return self.content.get(key)

    def put_records(self, new: Mapping[bytes, bytes]) -> bool:
        self.before()
        if not self.is_full:
            self.content.update(new)
        return not self.is_full

    def drop_records(self, keys: Iterable[bytes]) -> None:
        self.before()
        for key in keys:
            self.content.pop(key, None)


def test_records_are_kept_and_dropped_in_order() -> None:
    async def main() -> None:
        records = DiskRecords(Disk(), well())
        await records.put({b"a": b"1", b"b": b"2"})
        await records.put({b"a": None, b"c": b"3"})

        assert await records.get([b"c", b"a", b"b"]) == [b"3", None, b"2"]

    trio.run(main)


def test_records_without_room_are_not_kept_and_those_that_are_dropped_need_none() -> None:
    async def main() -> None:
        disk = Disk()
        records = DiskRecords(disk, well())
        assert await records.put({b"a": b"1"})
        disk.is_full = True

        assert not await records.put({b"b": b"2"})
        assert await records.put({b"a": None})

        assert disk.content == {}

    trio.run(main)


@pytest.fixture
def bypass_is_logged(expected_warnings: list[str]) -> None:
    expected_warnings.append("the disk cache cannot be")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def well() -> ReadWriteHealth:
    return disk_health(Clock())


@pytest.mark.parametrize("failure", [OSError(28, "no space"), sqlite3.OperationalError("locked")])
@pytest.mark.usefixtures("bypass_is_logged")
def test_a_disk_that_fails_has_no_records_and_is_bypassed(failure: Exception) -> None:
    def fail() -> None:
        raise failure

    async def main() -> None:
        clock, disk = Clock(), Disk()
        health = disk_health(clock)
        records = DiskRecords(disk, health)
        await records.put({b"a": b"1"})
        disk.before = fail
        assert await records.get([b"a"]) == [None]
        clock.now += FIRST_PAUSE
        assert await records.get([b"a"]) == [None]  # a trial
        disk.before = lambda: None
        clock.now += FIRST_PAUSE
        assert await records.get([b"a"]) == [None]
        clock.now += FIRST_PAUSE

        assert await records.get([b"a", b"b"]) == [b"1", None]
        assert health.reading.failures == 2
        assert not health.writing.failures

    trio.run(main)


@pytest.mark.usefixtures("bypass_is_logged")
def test_records_and_blocks_bypass_a_disk_together() -> None:
    async def main() -> None:
        clock, disk = Clock(), Disk()
        disk.content[b"a"] = b"1"
        health = disk_health(clock)
        records = DiskRecords(disk, health)

        health.reading.record_failure(OSError(5, "a block"))
        while_bypassed = await records.get([b"a"])
        clock.now += PAUSE
        after_it = await records.get([b"a"])

        assert (while_bypassed, after_it) == ([None], [b"1"])
        assert health.reading.is_usable

    trio.run(main)


def test_a_trial_that_is_cancelled_lets_another_one_be_made() -> None:
    is_well = threading.Event()

    async def main() -> None:
        clock, disk = Clock(), Disk(is_well.wait)
        disk.content[b"a"] = b"1"
        health = disk_health(clock, is_failing=True)
        records = DiskRecords(disk, health)
        clock.now += FIRST_PAUSE
        try:
            with trio.move_on_after(0.01):
                await records.get([b"a"])
        finally:
            is_well.set()

        assert await records.get([b"a"]) == [b"1"]

    trio.run(main)


@pytest.mark.usefixtures("bypass_is_logged")
def test_nothing_waits_for_a_disk_that_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_records, "READ_WITHIN", 0.01)
    is_well = threading.Event()
    disk = Disk()
    disk.content[b"a"] = b"1"
    disk.before = is_well.wait

    async def main() -> None:
        health = well()
        records = DiskRecords(disk, health)
        try:
            assert await records.get([b"a"]) == [None]
            assert await records.get([b"a"]) == [None]
        finally:
            is_well.set()

        assert health.reading.failures == 1

    trio.run(main)


def test_a_bug_is_not_hidden() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await DiskRecords(Disk(fail), well()).get([b"a"])

    trio.run(main)


def test_the_boot_has_one_id() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 16

"""Records in a disk cache that fails, is late, or is well."""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping

import pytest
import trio

from s3mount.daemon import disk_records
from s3mount.daemon.disk_records import FIRST_BYPASS, DiskRecords
from s3mount.daemon.metadata_wiring import boot_id


class Disk:
    """Records in a dict; each call first does *before*, in its thread."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.before = before
        self.content: dict[bytes, bytes] = {}

    def get_record(self, key: bytes) -> bytes | None:
        self.before()
        return self.content.get(key)

    def put_records(self, new: Mapping[bytes, bytes]) -> None:
        self.before()
        self.content.update(new)

    def drop_records(self, keys: Iterable[bytes]) -> None:
        self.before()
        for key in keys:
            self.content.pop(key, None)


def test_records_are_kept_and_dropped_in_order() -> None:
    async def main() -> None:
        records = DiskRecords(Disk())
        await records.put({b"a": b"1", b"b": b"2"})
        await records.put({b"a": None, b"c": b"3"})

        assert await records.get([b"c", b"a", b"b"]) == [b"3", None, b"2"]

    trio.run(main)


@pytest.mark.parametrize("failure", [OSError(28, "no space"), sqlite3.OperationalError("locked")])
def test_a_disk_that_fails_has_no_records_and_is_bypassed(failure: Exception) -> None:
    def fail() -> None:
        raise failure

    async def main() -> None:
        now = 0.0
        disk = Disk()
        records = DiskRecords(disk, lambda: now)
        await records.put({b"a": b"1"})
        disk.before = fail
        assert await records.get([b"a"]) == [None]
        now += FIRST_BYPASS
        assert await records.get([b"a"]) == [None]
        disk.before = lambda: None
        now += FIRST_BYPASS
        assert await records.get([b"a"]) == [None]
        now += FIRST_BYPASS

        assert await records.get([b"a", b"b"]) == [b"1", None]
        assert records.failures == 2

    trio.run(main)


def test_nothing_waits_for_a_disk_that_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_records, "READ_WITHIN", 0.01)
    is_well = threading.Event()
    disk = Disk()
    disk.content[b"a"] = b"1"
    disk.before = is_well.wait

    async def main() -> None:
        records = DiskRecords(disk)
        try:
            assert await records.get([b"a"]) == [None]
            assert await records.get([b"a"]) == [None]
        finally:
            is_well.set()

        assert records.failures == 1

    trio.run(main)


def test_a_bug_is_not_hidden() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await DiskRecords(Disk(fail)).get([b"a"])

    trio.run(main)


def test_the_boot_has_one_id() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 16

"""Mounts one after another, which keep their metadata: what is requested, and what is shown."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from s3mount.config import StoreConfig, TreeConfig
from s3mount.filesystem.persistence import recorder
from s3mount.filesystem.persistence.record_store import MemoryRecords
from s3mount.filesystem.persistence.timestamps import BOOT_SIZE, BootClock
from tests.fakes.memory_store import BUCKET, MemoryStore
from tests.property.filesystem_factory import ORDERED_PAGE, make_filesystem
from tests.property.kernel import Clock, Kernel, truth, walk
from tests.property.running import run

TTL = 60.0
MIB = 1 << 20


@dataclass
class Machine:
    """A machine with one bucket, on which mounts come and go; *age* is the clock since its boot."""

    store: MemoryStore
    records: MemoryRecords = field(default_factory=lambda: MemoryRecords(64 * MIB))
    clock: Clock = field(default_factory=Clock)
    time_of_day: Clock = field(default_factory=lambda: Clock(1_700_000_000.0))
    boot: bytes = bytes(BOOT_SIZE)
    nursery: trio.Nursery | None = None  # of the background tasks of the mount

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        self.time_of_day.now += seconds

    def reboot(self, seconds: float) -> None:
        """Boot anew, *seconds* after the last moment."""
        self.time_of_day.now += seconds
        self.clock.now = 1.0
        self.boot = bytes([self.boot[0] + 1]) * BOOT_SIZE

    @asynccontextmanager
    async def mounted(self, *, is_proven: bool = True, **tree: float) -> AsyncIterator[Kernel]:
        """Mount the bucket; all requests of former mounts are forgotten."""
        self.sleep(0.001)  # the clock stands still otherwise, and no timestamp is ahead of it
        self.store.requests.clear()
        config = TreeConfig(uid=0, gid=0, **{"metadata_ttl": TTL, **tree})  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            filesystem = make_filesystem(
                self.store,
                nursery,
                config,
                StoreConfig(bucket=BUCKET),
                self.clock,
                records=self.records,
                boot=BootClock(self.clock, self.time_of_day, self.boot),
            )
            if is_proven:
                filesystem.tree.cache.order.note_page(ORDERED_PAGE)
            kernel = Kernel(filesystem)
            yield kernel
            kernel.forget_all()
            await filesystem.tree.flush()
            nursery.cancel_scope.cancel()

    def requested(self) -> list[tuple[str, str]]:
        """Return kinds and keys of the requests of the mount so far."""
        return [(request.kind, request.key) for request in self.store.requests]


TREE = {f"d{one}/e{two}/{name}": b"x" for one in range(3) for two in range(4) for name in "abc"}


def test_a_tree_that_was_walked_is_walked_again_by_the_next_mount_without_a_request() -> None:
    machine = Machine(MemoryStore(TREE))

    async def main() -> None:
        async with machine.mounted() as kernel:
            assert await walk(kernel) == truth(machine.store)
        machine.sleep(TTL - 1)
        async with machine.mounted() as kernel:
            assert await walk(kernel) == truth(machine.store)
            assert machine.requested() == []
            assert kernel.filesystem.tree.counts.kept_listings == 1 + 3 + 12

    run(main)


def test_a_kept_listing_is_listed_anew_beyond_its_lifetime() -> None:
    machine = Machine(MemoryStore({"d/a": b"1"}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
        machine.store.put("d/b")
        machine.sleep(TTL)
        async with machine.mounted() as kernel:
            assert await walk(kernel) == truth(machine.store)

    run(main)


def test_the_age_of_a_kept_listing_goes_on_over_mounts_and_boots() -> None:
    machine = Machine(MemoryStore({"a": b"1"}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
        machine.reboot(TTL / 2)
        async with machine.mounted() as kernel:
            await walk(kernel)
            assert machine.requested() == []
        machine.sleep(TTL / 2)
        async with machine.mounted() as kernel:
            await walk(kernel)
            assert machine.requested() == [("LIST", "")]

    run(main)


def test_what_seems_to_come_from_the_future_has_expired() -> None:
    machine = Machine(MemoryStore({"a": b"1"}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
        machine.reboot(-1.0)  # the time of day was set back
        async with machine.mounted() as kernel:
            await walk(kernel)
            assert machine.requested() == [("LIST", "")]

    run(main)


def test_a_name_that_was_looked_up_singly_is_known_to_the_next_mount() -> None:
    machine = Machine(MemoryStore({"d/a": b"1", "d/b": b"2"}))

    async def main() -> None:
        async with machine.mounted(is_proven=False) as kernel:
            first = await kernel.resolve(b"d/a")
        async with machine.mounted() as kernel:
            assert await kernel.resolve(b"d/a") == first
            assert await kernel.resolve(b"d/b") is not None  # in the listing that came with d
            assert machine.requested() == []

    run(main)


def test_a_kept_file_beyond_its_lifetime_takes_one_conditional_request() -> None:
    machine = Machine(MemoryStore({"d/a": b"1", "d/b": b"2"}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await kernel.resolve(b"d/a")
        machine.sleep(TTL + 1)
        async with machine.mounted() as kernel:
            directory = await kernel.resolve(b"d")
            machine.store.requests.clear()
            assert directory is not None
            assert await kernel.lookup(directory.inode, b"a") is not None
            kinds = [kind for kind, _ in machine.requested()]
            assert kinds.count("REVALIDATE") + kinds.count("HEAD") <= 1
            assert "HEAD" not in kinds

    run(main)


def test_a_304_makes_a_kept_file_good_for_another_lifetime_of_the_next_mount() -> None:
    machine = Machine(MemoryStore({"a": b"1"}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await kernel.resolve(b"a")
        machine.sleep(TTL + 1)
        async with machine.mounted() as kernel:
            await kernel.resolve(b"a")
        machine.sleep(TTL - 1)
        async with machine.mounted() as kernel:
            assert await kernel.resolve(b"a") is not None
            assert machine.requested() == []

    run(main)


def test_a_name_that_was_found_absent_is_not_shown_by_the_next_mount() -> None:
    machine = Machine(MemoryStore({f"d/{number}": b"" for number in range(3)}, page_size=1))

    async def main() -> None:
        async with machine.mounted(is_proven=False) as kernel:
            await kernel.resolve(b"d/2")
            machine.store.delete("d/2")
            machine.sleep(TTL + 1)
            assert await kernel.resolve(b"d/2") is None
        async with machine.mounted() as kernel:
            assert await kernel.resolve(b"d/2") is None

    run(main)


def test_a_refresh_forgets_what_is_kept() -> None:
    machine = Machine(MemoryStore({"d/a": b"1", "e/a": b"1"}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
            kernel.filesystem.tree.refresh([b"d"])
            machine.store.put("d/b")
            machine.store.put("e/b")
        async with machine.mounted() as kernel:
            shown = await walk(kernel)
            assert shown[b"d"] == truth(machine.store)[b"d"]
        async with machine.mounted() as kernel:
            kernel.filesystem.tree.invalidate_all()
        async with machine.mounted() as kernel:
            assert await walk(kernel) == truth(machine.store)

    run(main)


def test_a_mount_does_not_load_what_was_kept_before_its_own_refresh() -> None:
    machine = Machine(MemoryStore({"a": b"1"}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
            await kernel.filesystem.tree.flush()
            machine.store.put("b")
            kernel.filesystem.tree.invalidate_all()
            assert await walk(kernel) == truth(machine.store)

    run(main)


def test_a_replaced_file_is_requested_by_the_next_mount() -> None:
    machine = Machine(MemoryStore({"d/a": b"1", "d/b": b"1"}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
            stat = machine.store.stat("d/a")
            machine.store.put("d/a", b"2222")
            kernel.filesystem.tree.invalidate(stat.version)
        async with machine.mounted() as kernel:
            seen = await kernel.resolve(b"d/a")
            assert seen is not None
            assert seen.size == 4

    run(main)


def test_a_listing_of_many_pages_is_kept_whole() -> None:
    machine = Machine(MemoryStore({f"{number:05}": b"" for number in range(20_500)}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            assert len(await walk(kernel)) == 20_500
        async with machine.mounted() as kernel:
            assert await kernel.resolve(b"00007") is not None
            assert await kernel.resolve(b"20499") is not None
            assert await kernel.resolve(b"none") is None
            assert kernel.filesystem.tree.counts.kept_listings == 0  # its page is read only
            assert await walk(kernel) == truth(machine.store)
            assert machine.requested() == []

    run(main)


def test_a_listing_of_which_a_page_is_lost_is_listed_anew() -> None:
    machine = Machine(MemoryStore({f"{number:05}": b"" for number in range(3_500)}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
        largest = max(machine.records._records, key=lambda key: len(machine.records._records[key]))
        await machine.records.put({largest: None})
        async with machine.mounted() as kernel:
            assert await walk(kernel) == truth(machine.store)
            assert machine.requested()

    run(main)


def test_a_listing_too_large_for_the_memory_is_not_loaded() -> None:
    machine = Machine(MemoryStore({f"{number:05}": b"" for number in range(3_500)}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
        async with machine.mounted(metadata_limit=300_000) as kernel:
            assert await walk(kernel) == truth(machine.store)
            assert kernel.filesystem.tree.counts.kept_listings == 0

    run(main)


def test_a_refresh_holds_after_a_boot_at_which_the_clock_was_set_back() -> None:
    machine = Machine(MemoryStore({"d/e/a": b"1"}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
            await kernel.filesystem.tree.flush()
            machine.sleep(10)
            kernel.filesystem.tree.refresh([b"d"])
            machine.store.put("d/e/a", b"22")
        machine.reboot(-5.0)  # so the listing has an age, and the refresh is yet to come
        async with machine.mounted() as kernel:
            assert await size_of(kernel, b"d/e/a") == 2
            assert await walk(kernel) == truth(machine.store)
        machine.sleep(8)
        async with machine.mounted() as kernel:  # what was listed since is good
            assert await walk(kernel) == truth(machine.store)

    run(main)


class UnreliableRecords(MemoryRecords):
    """Records of a disk that may be full."""

    is_full = False

    async def put(self, records: Mapping[bytes, bytes | None]) -> bool:
        if self.is_full:
            await trio.lowlevel.checkpoint()
            return False
        return await super().put(records)


def test_a_refresh_is_recorded_once_a_full_disk_has_room_again() -> None:
    records = UnreliableRecords(MIB)
    machine = Machine(MemoryStore({"d/e/a": b"1"}), records)

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
            await kernel.filesystem.tree.flush()
            records.is_full = True
            kernel.filesystem.tree.refresh([b"d"])
            await kernel.filesystem.tree.recorder.flush()  # type: ignore[attr-defined]
            records.is_full = False
            machine.store.put("d/e/a", b"22")
        async with machine.mounted() as kernel:
            assert await size_of(kernel, b"d/e/a") == 2

    run(main)


def test_a_refresh_is_recorded_when_a_mount_is_cancelled_just_then() -> None:
    """As when files are open at the end, and the mount is detached."""
    machine = Machine(MemoryStore({"d/e/a": b"1"}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
            await kernel.filesystem.tree.flush()
            kernel.filesystem.tree.refresh([b"d"])
            machine.store.put("d/e/a", b"22")
            assert machine.nursery is not None
            machine.nursery.cancel_scope.cancel()
        async with machine.mounted() as kernel:
            assert await size_of(kernel, b"d/e/a") == 2

    run(main)


def test_a_refresh_that_is_not_recorded_is_told_at_the_end(
    expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings.append("a later mount may show what was refreshed")
    records = UnreliableRecords(MIB)
    machine = Machine(MemoryStore({"d/a": b"1"}), records)

    async def main() -> None:
        async with machine.mounted() as kernel:
            await walk(kernel)
            records.is_full = True
            kernel.filesystem.tree.refresh([b"d"])

    run(main)

    assert "a later mount may show what was refreshed as it was before" in caplog.text


def test_what_another_mount_requested_before_a_refresh_of_a_file_is_void_however_late_it_is() -> (
    None
):
    """One mount lists a directory, and is late to write it; another refreshes a file meanwhile."""
    machine = Machine(MemoryStore({"d/a": b"1", "d/b": b"1"}))

    async def main() -> None:
        async with machine.mounted() as late:
            await walk(late)
            await late.resolve(b"d/a")
            await late.filesystem.tree.flush()
            before = dict(machine.records._records)
        async with machine.mounted() as kernel:
            await walk(kernel)
            kernel.filesystem.tree.refresh([b"d", b"a"])
            machine.store.put("d/a", b"22")
        await machine.records.put(before)
        async with machine.mounted() as kernel:
            assert await size_of(kernel, b"d/a") == 2
            assert await walk(kernel) == truth(machine.store)

    run(main)


def test_what_waits_to_be_written_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "LISTINGS_MAX", 5)
    monkeypatch.setattr(recorder, "PENDING_MAX", 5)
    machine = Machine(MemoryStore({f"d{number}/e/a": b"1" for number in range(20)}))

    async def main() -> None:
        async with machine.mounted() as kernel:
            tree = kernel.filesystem.tree
            await walk(kernel)
            await tree.flush()
            for number in range(20):
                tree.refresh([b"d%d" % number, b"e"])
                tree.refresh([b"d%d" % number, b"e", b"a"])
            assert len(tree.recorder._pending) <= 5  # type: ignore[attr-defined]
            assert len(tree.recorder._times) <= 5  # type: ignore[attr-defined]
            for number in range(20):
                machine.store.put(f"d{number}/e/a", b"22")
        async with machine.mounted() as kernel:
            assert await walk(kernel) == truth(machine.store)

    run(main)


async def size_of(kernel: Kernel, path: bytes) -> int:
    seen = await kernel.resolve(path)
    assert seen is not None
    return seen.size

"""The kernel drops every dentry that it is to drop, whatever fails, in bounded memory."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyfuse3
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.namespace import time_slice
from s3mount.fuse import entry_invalidator
from s3mount.fuse.entry_invalidator import EntryInvalidator

ROOT = 1
DIRECTORY = 7


def page(prefix: str, *names: bytes) -> EntryPage:
    return EntryPage("bucket", prefix, [Entry(name) for name in names], 0.0)


@dataclass
class Kernel:
    """Its references, and what it dropped; the first *failures* calls of a thread fail."""

    referenced: list[tuple[int, EntryPage] | None] = field(default_factory=list)
    dropped: list[tuple[int, bytes]] = field(default_factory=list)
    failures: int = 0
    threads: int = 0

    def referenced_pages(self, _: float) -> list[tuple[int, EntryPage] | None]:
        return self.referenced

    def invalidate(self, parent: int, name: bytes) -> None:
        self.dropped.append((parent, name))
        raise FileNotFoundError  # the kernel has dropped it itself


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(pyfuse3, "invalidate_entry", made.invalidate)

    async def run_sync(call: Callable[..., object], *arguments: object, **_: object) -> object:
        """As a thread's, but trio's mock clock does not jump meanwhile."""
        await trio.lowlevel.checkpoint()
        if made.failures:
            made.failures -= 1
            raise RuntimeError("can't start new thread")
        made.threads += 1
        return call(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    return made


async def work_off(invalidator: EntryInvalidator, kernel: Kernel, count: int) -> None:
    """Run the invalidator until *count* names were dropped, and its thread has ended."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(invalidator.run, kernel.referenced_pages)
        while len(kernel.dropped) < count or invalidator.is_busy:  # noqa: ASYNC110  # no event
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()


async def test_one_can_wait_until_the_kernel_has_dropped_what_it_was_told_to(
    kernel: Kernel,
    expected_warnings: list[str],
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    expected_warnings.append("names were not dropped from the kernel")
    invalidator = EntryInvalidator(lambda: 0.0)
    kernel.failures = 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(invalidator.run, kernel.referenced_pages)
        assert await invalidator.wait_dropped(60)  # nothing
        invalidator.drop(DIRECTORY, page("d/", b"b"))
        invalidator.drop_name(ROOT, b"a")

        assert not await invalidator.wait_dropped(0.1)
        assert await invalidator.wait_dropped(60)
        assert kernel.dropped == [(ROOT, b"a"), (DIRECTORY, b"b")]
        assert await invalidator.wait_dropped(60)  # nothing any more
        nursery.cancel_scope.cancel()


async def test_names_are_dropped_in_order(kernel: Kernel) -> None:
    invalidator = EntryInvalidator(lambda: 0.0)
    invalidator.drop(ROOT, page("", b"a", b"b"))
    invalidator.drop(DIRECTORY, page("d/", b"c"))

    await work_off(invalidator, kernel, 3)

    assert kernel.dropped == [(ROOT, b"a"), (ROOT, b"b"), (DIRECTORY, b"c")]


async def test_too_many_names_are_replaced_by_their_directories(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_invalidator, "NAMES_MAX", 3)
    kernel.referenced = [(DIRECTORY, page("d/", b"a", b"b", b"z")), (8, page("e/", b"x"))]
    invalidator = EntryInvalidator(lambda: 0.0)
    for name in (b"a", b"b", b"c", b"d"):
        invalidator.drop(DIRECTORY, page("d/", name))
    assert not invalidator._pages

    await work_off(invalidator, kernel, 3)

    assert kernel.dropped == [(DIRECTORY, b"a"), (DIRECTORY, b"b"), (DIRECTORY, b"z")]


async def test_too_many_directories_are_replaced_by_all(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_invalidator, "NAMES_MAX", 1)
    monkeypatch.setattr(entry_invalidator, "DIRECTORIES_MAX", 1)
    kernel.referenced = [(9, page("f/", b"x")), (ROOT, page("", b"f"))]
    invalidator = EntryInvalidator(lambda: 0.0)
    for parent in (7, 8):
        invalidator.drop(parent, page("d/", b"a"))

    await work_off(invalidator, kernel, 3)

    assert kernel.dropped == [(ROOT, b"f"), (9, b"x"), (ROOT, b"f")]


async def test_a_refresh_drops_negative_dentries_as_well(kernel: Kernel) -> None:
    kernel.referenced = [(ROOT, page("", b"d"))]
    invalidator = EntryInvalidator(lambda: 0.0)
    assert invalidator.add_absent(DIRECTORY, b"absent", 60)
    invalidator.drop_all()

    await work_off(invalidator, kernel, 2)

    assert set(kernel.dropped) == {(DIRECTORY, b"absent"), (ROOT, b"d")}


async def test_a_refresh_of_a_name_drops_it_and_the_negative_dentries(kernel: Kernel) -> None:
    kernel.referenced = [(ROOT, page("", b"other"))]
    invalidator = EntryInvalidator(lambda: 0.0)
    assert invalidator.add_absent(DIRECTORY, b"absent", 60)
    invalidator.drop_name(ROOT, b"d")

    await work_off(invalidator, kernel, 2)

    assert set(kernel.dropped) == {(DIRECTORY, b"absent"), (ROOT, b"d")}


async def test_a_failure_delays_names_and_loses_none(
    kernel: Kernel,
    expected_warnings: list[str],
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    expected_warnings.append("names were not dropped from the kernel")
    kernel.referenced = [(ROOT, page("", b"d"))]
    kernel.failures = 5
    invalidator = EntryInvalidator(lambda: 0.0)
    invalidator.add_absent(ROOT, b"absent", 60)
    invalidator.drop_all()
    invalidator.drop(DIRECTORY, page("d/", b"a"))

    await work_off(invalidator, kernel, 3)

    assert set(kernel.dropped) == {(ROOT, b"absent"), (ROOT, b"d"), (DIRECTORY, b"a")}


def test_negative_dentries_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entry_invalidator, "ABSENT_MAX", 2)
    moments = itertools.chain([0.0, 0.0, 0.0, 0.0, 100.0])
    invalidator = EntryInvalidator(lambda: next(moments))

    kept = [invalidator.add_absent(ROOT, name, 60) for name in (b"a", b"b", b"a", b"c", b"c")]

    assert kept == [True, True, True, False, True]


async def test_other_tasks_run_while_pages_that_are_not_dropped_are_skipped(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_invalidator, "BATCH", 10)
    kernel.referenced = [(8, page("e/", b"x"))] * 100
    invalidator = EntryInvalidator(lambda: 0.0)
    invalidator.drop_all()
    turns_of_others = 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(invalidator.run, kernel.referenced_pages)
        while len(kernel.dropped) < 100 or invalidator.is_busy:
            await trio.lowlevel.checkpoint()
            turns_of_others += not kernel.threads
        nursery.cancel_scope.cancel()

    assert turns_of_others >= 10


async def test_other_tasks_run_while_pages_without_references_are_looked_at(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_slice, "SLICE", -1.0)
    kernel.referenced = [*[None] * 100, (8, page("e/", b"x"))]
    invalidator = EntryInvalidator(lambda: 0.0)
    invalidator.drop_all()
    turns_of_others = 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(invalidator.run, kernel.referenced_pages)
        while not kernel.dropped or invalidator.is_busy:
            await trio.lowlevel.checkpoint()
            turns_of_others += not kernel.threads
        nursery.cancel_scope.cancel()

    assert turns_of_others >= 200  # there are two rounds


@pytest.mark.usefixtures("autojump_clock")
@pytest.mark.parametrize("failures", [0, 1])
async def test_all_that_a_search_finds_is_dropped_in_slices(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, expected_warnings: list[str], failures: int
) -> None:
    monkeypatch.setattr(time_slice, "SLICE", -1.0)
    if failures:
        expected_warnings.append("names were not dropped from the kernel")
    kernel.failures = failures
    invalidator = EntryInvalidator(lambda: 0.0)
    looked_at: list[int] = []

    def search() -> Iterator[tuple[int, EntryPage] | None]:
        for number in range(50):
            looked_at.append(number)
            yield None
        yield from ((8, page("e/", b"x")), None, (9, page("f/", b"y", b"z")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(invalidator.run, kernel.referenced_pages)
        invalidator.drop_each(search())
        before = 0
        while len(looked_at) < 50:
            assert len(looked_at) <= before + 2  # one a turn
            before = len(looked_at)
            await trio.lowlevel.checkpoint()
        assert await invalidator.wait_dropped(60)
        nursery.cancel_scope.cancel()

    assert sorted(kernel.dropped) == [(8, b"x"), (9, b"y"), (9, b"z")]


async def test_too_many_searches_are_replaced_by_one_for_all_dentries(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_invalidator, "SEARCHES_MAX", 3)
    kernel.referenced = [(ROOT, page("", b"d")), (DIRECTORY, page("d/", b"a"))]
    invalidator = EntryInvalidator(lambda: 0.0)
    looked_at = 0

    def search() -> Iterator[tuple[int, EntryPage]]:
        nonlocal looked_at
        looked_at += 1
        yield DIRECTORY, page("d/", b"a")

    for _ in range(4):
        invalidator.drop_each(search())
    await work_off(invalidator, kernel, 2)

    assert set(kernel.dropped) == {(ROOT, b"d"), (DIRECTORY, b"a")}
    assert not looked_at


async def test_other_tasks_run_while_a_search_goes_on_after_the_end(kernel: Kernel) -> None:
    invalidator = EntryInvalidator(lambda: 0.0)
    found = 0

    def search() -> Iterator[tuple[int, EntryPage]]:
        nonlocal found
        names = [b"%d" % number for number in range(entry_invalidator.BATCH)]
        while found < 100:
            found += 1
            yield 8, page("e/", *names)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(invalidator.run, kernel.referenced_pages)
        invalidator.end()
        invalidator.drop_each(search())
        while not found:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    assert found < 10
    assert not kernel.dropped


async def test_small_pages_are_dropped_in_batches(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_slice, "SLICE", 1e9)
    invalidator = EntryInvalidator(lambda: 0.0)
    for inode in range(2, 2502):
        invalidator.drop(inode, page(f"{inode}/", b"a"))

    await work_off(invalidator, kernel, 2500)

    assert kernel.dropped == [(inode, b"a") for inode in range(2, 2502)]
    assert kernel.threads == 3


async def test_a_failure_keeps_every_page_of_its_batch(
    kernel: Kernel,
    expected_warnings: list[str],
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    expected_warnings.append("names were not dropped from the kernel")
    kernel.failures = 1
    invalidator = EntryInvalidator(lambda: 0.0)
    for name in (b"a", b"b"):
        invalidator.drop(DIRECTORY, page("d/", name))

    await work_off(invalidator, kernel, 2)

    assert kernel.dropped == [(DIRECTORY, b"a"), (DIRECTORY, b"b")]

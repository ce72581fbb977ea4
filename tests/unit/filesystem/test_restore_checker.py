"""Checks of files that may be archived: in order, some at once, and whatever the store does."""

import pytest
import trio

from s3mount.errors import StoreError
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.warming.restore_checker import File, RestoreChecker
from s3mount.filesystem.warming.warm_counts import FAILURES_MAX, OutageDetector, WarmCounts
from s3mount.s3.model import ObjectVersion

PAGE = EntryPage("b", "p/", [Entry(f"{n:02}".encode(), n + 1, 0, "e") for n in range(40)], 0.0)
FILES: list[File] = [(PAGE, index) for index in range(len(PAGE))]


class Store:
    """Store that has archived every third file; *most* is how many checks it has seen at once."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away = is_away
        self.asked = 0
        self.most = 0
        self._now = 0

    async def is_archived(self, version: ObjectVersion) -> bool:
        self.asked += 1
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._now -= 1
        if self.is_away:
            raise StoreError("away", key=version.key)
        return version.size % 3 == 0


@pytest.mark.parametrize("jobs", [1, 4, 64])
async def test_those_that_are_restored_are_returned_in_order(jobs: int) -> None:
    store, counts = Store(), WarmCounts()

    found = await RestoreChecker(store.is_archived, "p/", counts, OutageDetector()).readable(
        FILES, jobs
    )

    archived = [size for size in range(1, 41) if size % 3 == 0]
    assert found == [(PAGE, index) for index in range(40) if (index + 1) % 3]
    assert (counts.archived_files, counts.archived_octets) == (len(archived), sum(archived))
    assert (store.asked, store.most) == (40, min(jobs, 40))


async def test_a_store_that_is_away_is_not_asked_for_all() -> None:
    store, counts = Store(is_away=True), WarmCounts()

    found = await RestoreChecker(store.is_archived, "p/", counts, OutageDetector()).readable(
        FILES, 2
    )

    assert (found, counts.failed_count, counts.archived_files) == ([], 40, 0)
    assert store.asked <= FAILURES_MAX
    assert {failure.path for failure in counts.failed} <= {f"{n:02}" for n in range(40)}


async def test_no_files_are_no_requests() -> None:
    store = Store()

    checker = RestoreChecker(store.is_archived, "", WarmCounts(), OutageDetector())

    assert (await checker.readable([], 4), store.asked) == ([], 0)


async def test_a_check_that_is_cancelled_goes_on_with_nothing() -> None:
    store = Store()
    checker = RestoreChecker(store.is_archived, "p/", WarmCounts(), OutageDetector())
    with trio.CancelScope() as scope:
        scope.cancel()
        await checker.readable(FILES, 4)

    assert scope.cancelled_caught
    assert store.asked <= 4

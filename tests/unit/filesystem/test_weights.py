"""Each weight covers the memory that its object takes, and is not far above it."""

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from s3mount.filesystem import weights
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_merger import EntryMerger
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.directory_lru import DirectoryLru
from s3mount.filesystem.namespace.inode_table import InodeTable
from s3mount.s3.model import ListedObject, ListPage
from tests.unit.filesystem.evidence import never_expiring, proven

MANY = 2000
order = proven()
invalidations = never_expiring()


def _page(count: int, etag: str = "") -> EntryPage:
    entries = [Entry(b"%010d" % n, n, n, f"{n:032x}{etag}") for n in range(count)]
    return EntryPage("bucket", "d/", entries, 0.5)


def _scan(number: int) -> ListingScan:
    listing = DirectoryListing("bucket", "d/", float(number), order)
    listing.fill([], 0)
    return ListingScan(listing, None)


def _directories(count: int) -> object:
    directories = DirectoryLru(1 << 40, invalidations, lambda *_: None, lambda _: None)
    for number in range(count):
        directories.get_or_add(("bucket", f"{number:020}/"))
    return directories


def _dentries(count: int) -> object:
    directory = DirectoryState(("bucket", "d/"), invalidations)
    for number in range(count):
        directory.put(b"%06d" % number, CachedDentry(float(number), None))
    return directory


def _packed(count: int) -> object:
    inodes = InodeTable()
    for number in range(count):
        listing = DirectoryListing("bucket", f"{number:020}/", 0.0, order)
        listing.fill([Entry(b"a", 1, 1, f"{number:032x}")], 0)
        directory = DirectoryState(("bucket", listing.prefix), invalidations)
        directory.scan = ListingScan(listing, None)
        assert inodes.packed.add(directory, number)
    return inodes


def _references(count: int) -> object:
    table, page = InodeTable(), _page(count)
    for index in range(count):
        table.add_reference(page, index)
    return table, page


def _listing(count: int) -> object:
    listing = DirectoryListing("bucket", "d/", 0.0, order)
    for number in range(count):
        listing.add(ListPage([_listed(number)], [], f"token-{number:040}"), float(number))
    return listing


def _pending(count: int) -> object:
    merger = EntryMerger("d/", keys_needed=None)
    merger.add(ListPage([_listed(number) for number in range(count)], [], "token"))
    return merger


def _listed(number: int) -> ListedObject:
    return ListedObject(f"d/{number:06}", number, number, f"{number:032x}")


entry = weights.COLUMNS + weights.INODE


@pytest.mark.parametrize(
    ("weight", "make"),
    [
        (weights.PAGE, lambda count: [_page(0) for _ in range(count)]),
        (weights.COLUMNS + 16 + 10, _page),
        (weights.COLUMNS + weights.ETAG + 35 + 10, lambda count: _page(count, "-12")),
        (entry + 16 + 10, _references),
        (weights.SCAN, lambda count: [_scan(number) for number in range(count)]),
        (weights.PAGE + entry + 16 + 6 + weights.LISTING_PAGE, _listing),
        (weights.PENDING_ENTRY, _pending),
        (weights.DIRECTORY + 21, _directories),
        (weights.DENTRY, _dentries),
        (weights.PACKED + 40 + 21 + 39, _packed),
    ],
    ids=[
        "page",
        "entry",
        "etag",
        "inode",
        "scan",
        "listing",
        "pending",
        "directory",
        "dentry",
        "packed",
    ],
)
def test_a_weight_covers_the_memory_and_at_most_twice_of_it(
    weight: int, make: Callable[[int], object]
) -> None:
    memory = _traced(make) / MANY

    assert memory * 0.9 <= weight <= memory * 2


def _traced(make: Callable[[int], object]) -> int:
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = make(MANY)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return after - before

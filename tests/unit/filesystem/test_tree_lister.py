"""What a warm-up lists, and what it says of the rest."""

import trio

from s3mount.config import StoreConfig, TreeConfig
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.warming.tree_lister import TreeLister
from s3mount.filesystem.warming.warm_counts import OutageDetector, WarmCounts
from s3mount.s3.model import ListedObject, ListPage
from tests.fakes.memory_store import BUCKET, MemoryStore
from tests.property.filesystem_factory import make_filesystem
from tests.unit.filesystem.evidence import proven

PAGES = 6


def trimmed_scan() -> ListingScan:
    """A complete listing of which only the last pages are kept."""
    listing = DirectoryListing(BUCKET, "d/", 0.0, proven())
    for number in range(PAGES):
        objects = [ListedObject(f"d/{number}{name}", 1, 7, "e") for name in "ab"]
        listing.add(ListPage(objects, [], str(number) if number < PAGES - 1 else None), 0.0)
    assert listing.trim(2)
    return ListingScan(listing, None)


async def test_a_directory_whose_pages_were_dropped_meanwhile_counts_as_one_that_did_not_fit(
    nursery: trio.Nursery,
) -> None:
    seen: list[EntryPage] = []

    async def on_page(page: EntryPage) -> None:
        seen.append(page)

    counts = WarmCounts()
    filesystem = make_filesystem(
        MemoryStore(),
        nursery,
        TreeConfig(uid=0, gid=0),
        StoreConfig(bucket=BUCKET),
        trio.current_time,
    )
    lister = TreeLister(
        filesystem.tree.cache, "", (), counts=counts, outage=OutageDetector(), on_page=on_page
    )

    pages = await lister._read(trimmed_scan())

    assert (pages, seen, counts.unlisted) == ([], [], 1)

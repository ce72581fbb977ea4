"""A reader by inode number is told from readers by name, at random, and in rows that only rise."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry
from s3mount.filesystem.prefetch.inode_order import (
    PROOF,
    SKIPPED_MAX,
    InodeOrder,
    InodeOrderDetector,
)
from tests.unit.filesystem.evidence import proven

MANY = 2000


def _listing() -> DirectoryListing:
    listing = DirectoryListing("bucket", "d/", 0.0, proven())
    directories = [Entry(b"%04d" % number) for number in range(MANY)]
    listing.fill([*directories, Entry(b"file", 1, 0, "e")], 0)
    return listing


LISTING = _listing()
INODES = [
    page.inode(index)
    for page in LISTING.pages
    if page is not None
    for index in range(len(page))
    if page.is_directory(index)
]


def _reads_until_found(inodes: list[int]) -> int | None:
    detector = InodeOrderDetector()
    found = (at for at, inode in enumerate(inodes, 1) if detector.record_read(LISTING, inode))
    return next(found, None)


@given(start=st.integers(0, MANY - PROOF))
def test_neighbours_by_inode_number_are_the_order(start: int) -> None:
    assert _reads_until_found(sorted(INODES)[start:]) == PROOF


@given(seed=st.integers())
def test_readers_by_name_and_at_random_are_none(seed: int) -> None:
    shuffled = Random(seed).sample(INODES, 500)

    assert _reads_until_found(INODES) is None
    assert _reads_until_found(shuffled) is None
    assert _reads_until_found(sorted(shuffled)[::SKIPPED_MAX]) is None


def test_the_evidence_doubles_each_time_that_it_was_found() -> None:
    detector = InodeOrderDetector()
    found = [
        at
        for at, inode in enumerate(sorted(INODES), 1)
        if detector.record_read(LISTING, inode) is not None
    ]

    assert found[:3] == [PROOF, 3 * PROOF, 7 * PROOF]


def test_an_order_has_directories_only() -> None:
    order = InodeOrder(LISTING)

    assert len(order) == MANY
    assert sorted(INODES) == sorted(INODES, key=lambda inode: order.rank(inode) or 0)
    assert order.rank(7) is None

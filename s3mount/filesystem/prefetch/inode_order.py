"""Order of inode numbers, in which some readers visit the directories of a large parent.

`find`, `du` and `rm` sort more than 10,000 entries by inode number (fts, of gnulib), and `cp -r`
sorts any number. Inode numbers are hashes, so the order of names tells nothing of such a reader.
Pure.
"""

from array import array
from bisect import bisect_left

from s3mount.filesystem.listing.directory_listing import DirectoryListing

PROOF = 6  # reads in a row: by chance, one in 720 rows rises, and hardly one of neighbours
SKIPPED_MAX = 2 * PROOF  # directories that a reader in order may pass over at once
CHILDREN_MIN = 256  # directories of a parent; of fewer, scans by name soon have all
CHILDREN_MAX = 200_000  # to sort more would block the event loop for over 50 ms
_PARENTS_MAX = 16  # of which reads are remembered
_DOUBLINGS_MAX = 4  # of the proof, each time that it was found


class InodeOrder:
    """The directories of *listing*, by inode number."""

    def __init__(self, listing: DirectoryListing) -> None:
        self._inodes = array("Q", sorted(_inodes_of_directories(listing)))

    def __len__(self) -> int:
        return len(self._inodes)

    def rank(self, inode: int) -> int | None:
        """The position of the directory *inode*."""
        rank = bisect_left(self._inodes, inode)
        is_there = rank < len(self._inodes) and self._inodes[rank] == inode
        return rank if is_there else None


class InodeOrderDetector:
    """Detector of readers that visit the directories of a parent by inode number."""

    def __init__(self) -> None:
        # by the parent's prefix: inode numbers that have risen, read by read, and how often the
        # order was found; the least recently used parent first
        self._reads: dict[str, tuple[list[int], int]] = {}

    def record_read(self, parent: DirectoryListing, inode: int) -> InodeOrder | None:
        """Record that *inode*, a directory of *parent*, is read. The order, once it is evident."""
        rising, found = self._reads.pop(parent.prefix, ([], 0))
        rising = [*rising, inode] if rising and rising[-1] < inode else [inode]
        order = None
        if len(rising) >= PROOF << min(found, _DOUBLINGS_MAX):
            order = _order_of(parent, rising[-PROOF:])
            rising, found = [], found + (order is not None)
        self._reads[parent.prefix] = rising, found
        if len(self._reads) > _PARENTS_MAX:
            del self._reads[next(iter(self._reads))]
        return order


def _order_of(listing: DirectoryListing, rising: list[int]) -> InodeOrder | None:
    """The order of *listing*, if the directories with the inodes *rising* are neighbours in it."""
    order = InodeOrder(listing)
    first, last = order.rank(rising[0]), order.rank(rising[-1])
    if first is None or last is None or last - first > SKIPPED_MAX:
        return None
    return order


def _inodes_of_directories(listing: DirectoryListing) -> list[int]:
    return [
        inode
        for page in listing.pages
        if page is not None
        for inode, size in zip(page.inodes, page.sizes, strict=True)
        if size < 0
    ]

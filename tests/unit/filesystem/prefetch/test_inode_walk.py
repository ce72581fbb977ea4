"""What a walk by inode number evicts when the metadata cache is full."""

from s3mount.filesystem import weights
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.namespace.directory_lru import DirectoryLru
from s3mount.filesystem.prefetch.inode_order import InodeOrder
from s3mount.filesystem.prefetch.inode_walk import FULL, KEPT_MIN, InodeWalk
from s3mount.filesystem.prefetch.subtree_builder import SubtreeBuilder
from tests.unit.filesystem.evidence import never_expiring, proven

PARENT = "bucket", "d/"
CHILDREN = [("bucket", f"d/{number:03}/") for number in range(KEPT_MIN + 2)]
LISTING = DirectoryListing(*PARENT, 0.0, proven())
LISTING.fill([], 0)


def _full_lru() -> DirectoryLru:
    weight = weights.SCAN + (1 + len(CHILDREN)) * weights.DIRECTORY  # without prefixes
    return DirectoryLru(int(weight / FULL), never_expiring(), lambda *_: None, lambda _: None)


def _walk(directories: DirectoryLru) -> InodeWalk:
    parent = directories.put_scan(PARENT, ListingScan(LISTING, None))

    def start(_: SubtreeBuilder) -> object:
        raise AssertionError("there is nothing to scan")

    return InodeWalk(parent, InodeOrder(LISTING), directories, SubtreeBuilder, start)  # type: ignore[arg-type]


def _visit(walk: InodeWalk, directory: DirectoryState) -> None:
    walk.record_read(directory, is_known=True)


def test_the_directory_visited_first_goes() -> None:
    directories = _full_lru()
    walk = _walk(directories)
    states = [directories.get_or_add(key) for key in CHILDREN]

    for state in states:
        _visit(walk, state)

    assert [key for key in CHILDREN if not directories.has(key)] == [CHILDREN[0]]


def test_the_parent_stays_though_its_state_is_a_new_one() -> None:
    directories = _full_lru()
    walk = _walk(directories)
    directories.clear()
    _visit(walk, directories.put_scan(PARENT, ListingScan(LISTING, None)))

    for key in CHILDREN:
        _visit(walk, directories.get_or_add(key))

    assert directories.has(PARENT)

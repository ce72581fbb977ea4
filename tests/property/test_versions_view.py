"""Versions beside their objects equal the reference model, after any history."""

import trio
from hypothesis import given, settings

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import NotFound
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.names import ViewNames
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.views.versions_view import VersionsView
from tests.fakes.memory_store import BUCKET
from tests.property.filesystem_factory import make_filesystem
from tests.property.running import run
from tests.property.strategies import page_sizes
from tests.property.test_moment_view import made, names_of, walked
from tests.reference import Directory, directories_of, encode, tree_of
from tests.version_history import Step, VersionHistory, histories

NAME = b".versions"


@settings(max_examples=150)
@given(steps=histories(), page_size=page_sizes)
def test_each_directory_has_the_versions_of_its_objects(steps: list[Step], page_size: int) -> None:
    store, history = made(steps, page_size)
    tree = tree_of(history.bodies_at(history.moment))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            filesystem = make_filesystem(
                VersionsView(store, BUCKET),
                nursery,
                TreeConfig(uid=0, gid=0),
                StoreConfig(bucket=BUCKET),
                trio.current_time,
                names=ViewNames(frozenset((NAME,))),
            )
            assert await walked(filesystem, ROOT, looks_up_first=False) == tree
            for path in (b"", *directories_of(tree)):
                found = await versions_in(filesystem, path)
                assert found == expected_versions(history, path)
            nursery.cancel_scope.cancel()

    run(main)


def expected_versions(history: VersionHistory, path: bytes) -> dict[bytes, bytes]:
    """Return the bytes of all versions of objects in the directory *path*, by their names."""
    prefix = path + b"/" if path else b""
    found: dict[bytes, bytes] = {}
    for key, events in history.events.items():
        name = encode(key).removeprefix(prefix)
        if not encode(key).startswith(prefix) or b"/" in name:
            continue
        for event in events:
            if event.body is not None:
                found[name + b"@" + event.version_id.encode()] = event.body
    return found


async def versions_in(filesystem: FileSystem, path: bytes) -> Directory[bytes]:
    """Read what is in the directory of versions of *path*; nothing if there is none."""
    inode = ROOT
    try:
        for name in (*(path.split(b"/") if path else ()), NAME):
            inode = (await filesystem.tree.lookup(inode, name)).inode
    except NotFound:
        return Directory()
    assert NAME not in await names_of(filesystem, inode)
    return await walked(filesystem, inode, looks_up_first=False)

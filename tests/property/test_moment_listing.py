"""A huge directory of the past, listed by several requests at a time."""

from random import Random

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.config import StoreConfig, TreeConfig
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import VersionPage, VersionQuery
from s3mount.s3.object_store import RequestPriority
from s3mount.s3.views.moment_view import MomentView
from tests.fakes.memory_store import BUCKET, EPOCH_NS
from tests.fakes.versioned_store import VersionedStore
from tests.property.filesystem_factory import make_filesystem
from tests.property.running import run
from tests.property.test_moment_view import Fake, names_of
from tests.version_history import Step, VersionHistory

KEYS = [f"d/{number:05}" for number in range(3000)]


class SlowStore(VersionedStore):
    """A store whose responses take a moment; it counts the listings that begin at a guess."""

    guesses = 0

    async def list_versions(
        self, query: VersionQuery, priority: RequestPriority | None = None
    ) -> VersionPage:
        await trio.sleep(0.1)
        if query.marker is not None and query.marker.version_id is None:
            self.guesses += 1
        return await VersionedStore.list_versions(self, query, priority)


@settings(max_examples=8)
@given(seed=st.integers(0, 1 << 32), page_size=st.integers(50, 150))
def test_a_huge_directory_is_listed_in_parallel_as_it_was(seed: int, page_size: int) -> None:
    random, store = Random(seed), SlowStore(version_page_size=page_size)
    history = VersionHistory(Fake(store))
    history.take([Step("put", key) for key in KEYS])
    history.take([Step("delete", key) for key in KEYS if not random.randrange(5)])
    history.take([Step("wait"), *(Step("put", f"{key}-later") for key in KEYS[::3])])

    async def main() -> list[bytes]:
        async with trio.open_nursery() as nursery:
            filesystem = make_filesystem(
                MomentView(store, BUCKET, EPOCH_NS),
                nursery,
                TreeConfig(uid=0, gid=0),
                StoreConfig(bucket=BUCKET),
                trio.current_time,
            )
            directory = await filesystem.tree.lookup(ROOT, b"d")
            names = await names_of(filesystem, directory.inode)
            nursery.cancel_scope.cancel()
        return names

    names = run(main)

    assert {f"d/{name.decode()}" for name in names} == {*history.bodies_at(0)}
    assert store.guesses > 0

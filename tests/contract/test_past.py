"""The past of a bucket on real servers equals the reference model, after any history.

Times are those of the model, since servers have whole seconds only: the store under test is given
the moment of each version id. All else is the server's: rows, ids, order, delete markers, bytes.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3mount.config import StoreConfig, TreeConfig
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import VersionPage, VersionQuery
from s3mount.s3.object_store import RequestPriority
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.views.moment_view import MomentView
from tests.contract.conftest import TRANSPORTS, BucketFactory, ServerBucket
from tests.property.filesystem_factory import make_filesystem
from tests.property.test_moment_view import walked
from tests.reference import Directory, tree_of
from tests.servers import S3Server
from tests.version_history import Step, VersionHistory, histories

EXAMPLES = 40
KEYS = st.sampled_from(["a", "a/b", "a/c/b", "a-b", "b", "b/-/a", "b/a"])
SECOND = 10**9


@dataclass
class Timed:
    """`BucketStore` whose versions have the moments of the model."""

    store: RemoteStore
    times_ns: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def list_versions(
        self, query: VersionQuery, priority: RequestPriority | None = None
    ) -> VersionPage:
        page = await self.store.list_versions(query, priority)
        rows = [row._replace(mtime_ns=self.times_ns[row.version_id]) for row in page.versions]
        return VersionPage(rows, page.prefixes, page.next_marker)


@dataclass
class Server:
    """`Writer` of the keys below *prefix* in a real bucket."""

    bucket: ServerBucket
    timed: Timed
    prefix: str

    def put(self, key: str, body: bytes, moment: int) -> str:
        done = self.bucket.client.put_object(
            Bucket=self.bucket.bucket, Key=self.prefix + key, Body=body
        )
        return str(self._noted(done, moment))

    def delete(self, key: str, moment: int) -> str | None:
        done = self.bucket.client.delete_object(Bucket=self.bucket.bucket, Key=self.prefix + key)
        return self._noted(done, moment)

    def delete_version(self, key: str, version_id: str) -> None:
        self.bucket.client.delete_object(
            Bucket=self.bucket.bucket, Key=self.prefix + key, VersionId=version_id
        )

    def _noted(self, done: Any, moment: int) -> str | None:
        version_id = done.get("VersionId")
        if version_id is None:
            return None
        # one after another within a moment, since moto lists delete markers last
        self.timed.times_ns[version_id] = moment * SECOND + len(self.timed.times_ns)
        return str(version_id)


@pytest.fixture(scope="module", params=["seaweedfs", "moto"])
def bucket(
    request: pytest.FixtureRequest, factories: Callable[[S3Server], BucketFactory]
) -> Iterator[ServerBucket]:
    """A bucket with versions, in which each example has a prefix of its own."""
    factory = factories(request.getfixturevalue(request.param))
    opened: list[ServerBucket] = []

    async def open_in_event_loop() -> None:
        opened.append(factory.open(TRANSPORTS["native"], versioned=True))

    trio.run(open_in_event_loop)
    yield opened[0]
    opened[0].store.close()


NUMBERS = itertools.count()


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
@given(steps=histories(KEYS, max_size=15), looks_up_first=st.booleans())
def test_a_tree_is_what_it_was(
    bucket: ServerBucket, steps: list[Step], *, looks_up_first: bool
) -> None:
    timed = Timed(bucket.store)
    writer = Server(bucket, timed, f"{next(NUMBERS)}/")
    history = VersionHistory(writer)
    history.take(steps)

    async def main() -> list[Directory[bytes]]:
        timed.store = RemoteStore(bucket.store._operations, max_connections=32, timeout=60)
        return [await _tree_at(moment) for moment in range(history.moment + 1)]

    async def _tree_at(moment: int) -> Directory[bytes]:
        async with trio.open_nursery() as nursery:
            filesystem = make_filesystem(
                MomentView(timed, bucket.bucket, (moment + 1) * SECOND - 1),
                nursery,
                TreeConfig(uid=0, gid=0),
                StoreConfig(bucket=bucket.bucket, prefix=writer.prefix),
                trio.current_time,
            )
            found = await walked(filesystem, ROOT, looks_up_first=looks_up_first)
            nursery.cancel_scope.cancel()
        return found

    expected = [tree_of(history.bodies_at(moment)) for moment in range(history.moment + 1)]
    assert trio.run(main) == expected

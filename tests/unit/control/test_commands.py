"""Commands of the control socket beside what may hang: a name service, and the kernel."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from s3mount.config import StoreConfig
from s3mount.control.activity import activity_command
from s3mount.control.command_set import refresh_command
from s3mount.control.protocol import Greeting, Object, ProtocolError
from s3mount.control.sources import Sources, StoreState
from s3mount.control.status import status_command
from s3mount.control.versions import versions_command
from s3mount.errors import NotFound, StoreError
from s3mount.s3.model import ListedVersion, VersionMarker, VersionPage, VersionQuery
from s3mount.s3.request_log import RequestLog
from tests.fakes.control_sources import make_sources

GREETING = Greeting(s3mount="1", pid=1, connection=52, source="s3://b", mountpoint="/m", since=1.0)


@pytest.fixture
def sources() -> Sources:
    return make_sources(RequestLog(), StoreState(StoreConfig(bucket="b"), None, None))


async def drop(items: Sequence[Object]) -> None:
    """Send an item nowhere."""


async def test_status_asks_no_name_service(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = status_command(sources, GREETING)
    before = await status({}, drop)
    monkeypatch.setattr("pwd.getpwuid", pytest.fail)  # it may hang, and the event loop with it

    after = await status({}, drop)

    assert after["identity"]["user"] == before["identity"]["user"]


async def test_a_refresh_that_the_kernel_cannot_follow_says_so(sources: Sources) -> None:
    async def wait_dropped(_most: float) -> bool:
        return False

    refresh = refresh_command(sources.tree, wait_dropped)

    with pytest.raises(ProtocolError, match="not yet all in the kernel"):
        await refresh({"path": "a"}, drop)


async def test_what_a_client_asks_each_second_counts_no_directories(sources: Sources) -> None:
    """With 100,000 of them that would take a tenth of a second from the event loop."""
    for name in ("cached_entries", "hidden_keys"):
        sources.metrics.gauge(name, "things", "", lambda: pytest.fail("counted"))

    for command in (activity_command(sources), status_command(sources, GREETING)):
        await command({}, drop)


class CircularVersions:
    """A bucket whose markers lead back."""

    def __init__(self) -> None:
        self._asked = 0

    async def list_versions(self, query: VersionQuery) -> VersionPage:
        self._asked += 1
        assert self._asked < 20
        row = ListedVersion(query.prefix, "v1", True, False, 0, 7, "etag")
        return VersionPage([row], [], VersionMarker(query.prefix, f"v{self._asked % 3}"))


async def test_versions_whose_markers_lead_back_are_an_error(sources: Sources) -> None:
    versions = versions_command(replace(sources, versions=CircularVersions()))

    with pytest.raises(StoreError, match="repeats a marker"):
        await versions({"path": "a"}, drop)


class NoBucket:
    """Many buckets, of which none has the name that is asked for."""

    async def list_versions(self, query: VersionQuery) -> VersionPage:
        raise NotFound("no such bucket", key=query.prefix)

    def store_key(self, key: str, version_id: str | None = None) -> str:
        raise AssertionError(f"a store is made for {key}, and kept: {version_id}")


async def test_versions_in_a_bucket_that_is_not_there_make_no_store(sources: Sources) -> None:
    versions = versions_command(replace(sources, versions=NoBucket(), keys=NoBucket()))

    with pytest.raises(NotFound, match="no such bucket"):
        await versions({"path": "absent/a"}, drop)


@pytest.mark.parametrize(("status", "text"), [(501, "does not list versions"), (500, "^LIST$")])
async def test_a_store_that_knows_no_versions_is_told_from_one_that_fails(
    sources: Sources, status: int, text: str
) -> None:
    class Refusing:
        async def list_versions(self, _query: VersionQuery) -> VersionPage:
            raise StoreError("LIST", status=status)

    versions = versions_command(replace(sources, versions=Refusing()))

    with pytest.raises(StoreError, match=text):
        await versions({"path": "a"}, drop)

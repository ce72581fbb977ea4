"""What the contract is held against: the store in memory, and each transport on each real server."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from s3mount.config import StoreConfig
from s3mount.s3.boto import BotoTransport
from s3mount.s3.probe import probe
from s3mount.s3.remote import RemoteStore
from s3mount.s3.session import ResolvedStore
from s3mount.s3.store import ObjectStore
from s3mount.s3.transport import Transport
from tests.fakes.memory_store import MemoryStore
from tests.servers import Quirk, S3Server

TRANSPORTS: dict[str, Callable[[StoreConfig, ResolvedStore], Transport]] = {
    "boto3": BotoTransport,
}
SERVERS = ("seaweedfs", "seaweedfs_https", "moto", "rclone")


class Shelf(Protocol):
    """A bucket from behind: where tests put what the store is asked for."""

    @property
    def store(self) -> ObjectStore: ...

    @property
    def quirks(self) -> frozenset[Quirk]: ...

    def put(self, key: str, body: bytes = b"", **options: Any) -> None: ...

    def delete(self, key: str) -> None: ...

    def can_hold(self, key: str) -> bool: ...


@dataclass(frozen=True)
class MemoryShelf:
    store: MemoryStore
    quirks: frozenset[Quirk]

    def put(self, key: str, body: bytes = b"", **options: Any) -> None:
        self.store.put(key, body, storage_class=options.get("StorageClass", "STANDARD"))

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def can_hold(self, key: str) -> bool:  # noqa: ARG002 - any
        return True


@dataclass(frozen=True)
class ServerShelf:
    store: RemoteStore
    server: S3Server
    bucket: str
    client: Any

    @property
    def quirks(self) -> frozenset[Quirk]:
        return self.server.quirks

    def put(self, key: str, body: bytes = b"", **options: Any) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **options)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def can_hold(self, key: str) -> bool:
        return self.server.can_hold(key)


OpenShelf = Callable[..., Shelf]
CHOICES = ["memory", *(f"{server}-{transport}" for server in SERVERS for transport in TRANSPORTS)]


@pytest.fixture(params=CHOICES)
def open_shelf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenShelf]:
    """Opens a new bucket of the store in question; `versioned=True` for one that keeps versions."""
    opened: list[ServerShelf] = []

    def open_memory(*, versioned: bool = False) -> Shelf:
        return MemoryShelf(MemoryStore(keeps_versions=versioned), frozenset())

    def open_server(*, versioned: bool = False) -> Shelf:
        opened.append(_open(server, TRANSPORTS[transport], versioned=versioned))
        return opened[-1]

    if request.param == "memory":
        yield open_memory
        return
    name, transport = request.param.split("-")
    server = request.getfixturevalue(name)
    for variable, value in server.environment().items():
        monkeypatch.setenv(variable, value)
    yield open_server
    for shelf in opened:
        shelf.store.close()
        shelf.client.close()


@pytest.fixture
def shelf(open_shelf: OpenShelf) -> Shelf:
    """A new bucket."""
    return open_shelf()


def _open(
    server: S3Server, transport: Callable[[StoreConfig, ResolvedStore], Transport], *, versioned: bool
) -> ServerShelf:
    bucket = server.make_bucket(versioned=versioned)
    config = StoreConfig(bucket=bucket, endpoint_url=server.endpoint_url, ca_bundle=server.ca_bundle)
    store = RemoteStore(
        transport(config, probe(config)), max_connections=config.max_connections, timeout=config.timeout
    )
    return ServerShelf(store, server, bucket, server.client())

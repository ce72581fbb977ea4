"""What the contract is held against: the store in memory, and each transport on each real server."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from s3mount.config import StoreConfig
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.boto_session import Session, open_session
from s3mount.s3.endpoint.credential_chain import CredentialChain
from s3mount.s3.endpoint.credential_source import credential_chain
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.object_store import ObjectStore
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.transport import Transport
from tests.fakes.memory_store import MemoryStore
from tests.servers import Quirk, S3Server

# boto3's session comes with it because it is slow to make
TRANSPORTS: dict[str, Callable[[StoreConfig, Endpoint, Session], Transport]] = {
    "boto3": BotoTransport,
    "lean": lambda _config, store, _session: NativeTransport(store),
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


@dataclass(frozen=True)
class Counter:
    """Where shelves of one server are had: what is the same for each, made once."""

    server: S3Server
    client: Any
    session: Session
    credentials: CredentialChain

    def open(
        self,
        make_transport: Callable[[StoreConfig, Endpoint, Session], Transport],
        *,
        versioned: bool,
    ) -> ServerShelf:
        bucket = self.server.make_bucket(self.client, versioned=versioned)
        config = self.server.store_config(bucket)
        store = resolve_endpoint(
            config,
            self.session,
            region=self.server.region,
            credentials=self.credentials,
        )
        remote = RemoteStore(
            make_transport(config, store, self.session), max_connections=32, timeout=60
        )
        return ServerShelf(remote, self.server, bucket, self.client)


@pytest.fixture(scope="session")
def counters() -> Iterator[Callable[[S3Server], Counter]]:
    """The counter of a server, made at first need."""
    made: dict[str, Counter] = {}

    def counter(server: S3Server) -> Counter:
        if server.name not in made:
            with pytest.MonkeyPatch.context() as patch:
                for variable, value in server.environment().items():
                    patch.setenv(variable, value)
                config = server.store_config("any")
                chain = credential_chain(config)
                chain.frozen(time.monotonic() + 30)
                made[server.name] = Counter(server, server.client(), open_session(config), chain)
        return made[server.name]

    yield counter
    for each in made.values():
        each.client.close()


OpenShelf = Callable[..., Shelf]
CHOICES = ["memory", *(f"{server}-{transport}" for server in SERVERS for transport in TRANSPORTS)]


@pytest.fixture(params=CHOICES)
def open_shelf(request: pytest.FixtureRequest) -> Iterator[OpenShelf]:
    """Opens a new bucket of the store in question; `versioned=True` for one that keeps versions."""
    opened: list[ServerShelf] = []

    def open_memory(*, versioned: bool = False) -> Shelf:
        return MemoryShelf(MemoryStore(keeps_versions=versioned), frozenset())

    def open_server(*, versioned: bool = False) -> Shelf:
        opened.append(counter.open(TRANSPORTS[transport], versioned=versioned))
        return opened[-1]

    if request.param == "memory":
        yield open_memory
        return
    name, transport = request.param.split("-")
    counter: Counter = request.getfixturevalue("counters")(request.getfixturevalue(name))
    yield open_server
    for shelf in opened:
        shelf.store.close()


@pytest.fixture
def shelf(open_shelf: OpenShelf) -> Shelf:
    """A new bucket."""
    return open_shelf()

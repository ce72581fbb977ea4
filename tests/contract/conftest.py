"""Stores to test the contract on: one in memory, and each transport on each real server."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from s3mount.config import StoreConfig
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.boto_session import Session, open_session
from s3mount.s3.endpoint.credential_chain import CredentialChain
from s3mount.s3.endpoint.plain_source import credential_chain
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.object_store import ObjectStore, Restorer
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.list_dialect import ListDialect, ListObjects
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.transport import Transport
from tests.fakes.memory_store import MemoryStore
from tests.fakes.versioned_store import VersionedStore
from tests.servers import Quirk, S3Server

# boto3's session comes with it because it is slow to make
TRANSPORTS: dict[str, Callable[[StoreConfig, Endpoint, Session], Transport]] = {
    "boto": BotoTransport,
    "native": lambda _config, store, _session: NativeTransport(store),
}
SERVERS = ("seaweedfs", "seaweedfs_https", "moto", "rclone", "versitygw", "gofakes3")


class Bucket(Protocol):
    """A bucket to test: the store that reads it, and how tests write to it."""

    @property
    def store(self) -> ObjectStore: ...

    @property
    def restorer(self) -> Restorer: ...

    @property
    def quirks(self) -> frozenset[Quirk]: ...

    def put(self, key: str, body: bytes = b"", **options: Any) -> None: ...

    def delete(self, key: str) -> None: ...

    def can_hold(self, key: str) -> bool: ...


@dataclass(frozen=True)
class MemoryBucket:
    store: MemoryStore
    quirks: frozenset[Quirk]

    @property
    def restorer(self) -> Restorer:
        return self.store

    def put(self, key: str, body: bytes = b"", **options: Any) -> None:
        self.store.put(key, body, storage_class=options.get("StorageClass", "STANDARD"))

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def can_hold(self, key: str) -> bool:  # noqa: ARG002 - any
        return True


@dataclass(frozen=True)
class ServerBucket:
    store: RemoteStore
    server: S3Server
    bucket: str
    client: Any

    @property
    def restorer(self) -> Restorer:
        return self.store

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
class BucketFactory:
    """Makes buckets of one server; holds what they share."""

    server: S3Server
    client: Any
    session: Session
    credentials: CredentialChain

    def open(
        self,
        make_transport: Callable[[StoreConfig, Endpoint, Session], Transport],
        *,
        versioned: bool,
        dialect: ListDialect | None = None,
    ) -> ServerBucket:
        name = self.server.make_bucket(self.client, versioned=versioned)
        config = self.server.store_config(name)
        store = resolve_endpoint(
            config,
            self.session,
            region=self.server.region,
            credentials=self.credentials,
        )
        remote = RemoteStore(
            BucketOperations(make_transport(config, store, self.session), name, dialect=dialect),
            max_connections=32,
            timeout=60,
        )
        return ServerBucket(remote, self.server, name, self.client)


@pytest.fixture(scope="session")
def factories() -> Iterator[Callable[[S3Server], BucketFactory]]:
    """Returns the factory of a server, which is made at first use."""
    made: dict[str, BucketFactory] = {}

    def factory(server: S3Server) -> BucketFactory:
        if server.name not in made:
            with pytest.MonkeyPatch.context() as patch:
                for variable, value in server.environment().items():
                    patch.setenv(variable, value)
                config = server.store_config("any")
                chain = credential_chain(config)
                chain.frozen(time.monotonic() + 30)
                made[server.name] = BucketFactory(
                    server, server.client(), open_session(config), chain
                )
        return made[server.name]

    yield factory
    for each in made.values():
        each.client.close()


OpenBucket = Callable[..., Bucket]
CHOICES = ["memory", *(f"{server}-{transport}" for server in SERVERS for transport in TRANSPORTS)]
# by version 1 of the API too; moto encodes no common prefixes then, and its NextMarker is no key
LISTED = [*CHOICES, *(f"{choice}-1" for choice in CHOICES if not choice.startswith(("me", "mo")))]


@contextmanager
def _opening(request: pytest.FixtureRequest) -> Iterator[OpenBucket]:
    opened: list[ServerBucket] = []

    def open_memory(*, versioned: bool = False) -> Bucket:
        return MemoryBucket(VersionedStore() if versioned else MemoryStore(), frozenset())

    def open_server(*, versioned: bool = False) -> Bucket:
        make_transport = TRANSPORTS[transport]
        dialect = ListObjects("1" if version else "auto")
        opened.append(factory.open(make_transport, versioned=versioned, dialect=dialect))
        return opened[-1]

    if request.param == "memory":
        yield open_memory
        return
    name, transport, *version = request.param.split("-")
    factory: BucketFactory = request.getfixturevalue("factories")(request.getfixturevalue(name))
    yield open_server
    for bucket in opened:
        bucket.store.close()


@pytest.fixture(params=CHOICES)
def open_bucket(request: pytest.FixtureRequest) -> Iterator[OpenBucket]:
    """Makes a new bucket of the store under test; `versioned=True`: one that keeps versions."""
    with _opening(request) as open_bucket:
        yield open_bucket


@pytest.fixture
def bucket(open_bucket: OpenBucket) -> Bucket:
    """A new bucket."""
    return open_bucket()


@pytest.fixture(params=LISTED)
def listed_bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    """A new bucket, which is listed by each version of the API."""
    with _opening(request) as open_bucket:
        yield open_bucket()

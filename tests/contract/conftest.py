"""Fixtures: a bucket in the memory store, and one in each real server over each transport."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from s3mount.config import StoreConfig
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.credentials import CredentialChain
from s3mount.s3.endpoint.resolve import (
    Endpoint,
    Session,
    credential_chain,
    open_session,
    resolved_store,
)
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


class Bucket(Protocol):
    """Writable bucket, and the ObjectStore under test that reads it."""

    @property
    def store(self) -> ObjectStore: ...

    @property
    def quirks(self) -> frozenset[Quirk]: ...

    def put(self, key: str, body: bytes = b"", **options: Any) -> None: ...

    def delete(self, key: str) -> None: ...

    def can_hold(self, key: str) -> bool: ...


@dataclass(frozen=True)
class MemoryBucket:
    store: MemoryStore
    quirks: frozenset[Quirk]

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
    """Maker of buckets in one server; holds what its buckets share."""

    server: S3Server
    client: Any
    session: Session
    credentials: CredentialChain

    def make(
        self,
        make_transport: Callable[[StoreConfig, Endpoint, Session], Transport],
        *,
        versioned: bool,
    ) -> ServerBucket:
        bucket = self.server.make_bucket(self.client, versioned=versioned)
        config = self.server.store_config(bucket)
        store = resolved_store(
            config,
            self.session,
            region=self.server.region,
            credentials=self.credentials,
        )
        remote = RemoteStore(
            make_transport(config, store, self.session), max_connections=32, timeout=60
        )
        return ServerBucket(remote, self.server, bucket, self.client)


@pytest.fixture(scope="session")
def bucket_factory() -> Iterator[Callable[[S3Server], BucketFactory]]:
    """Return the bucket factory of a server, made at its first use."""
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


MakeBucket = Callable[..., Bucket]
CHOICES = ["memory", *(f"{server}-{transport}" for server in SERVERS for transport in TRANSPORTS)]


@pytest.fixture(params=CHOICES)
def make_bucket(request: pytest.FixtureRequest) -> Iterator[MakeBucket]:
    """Return a function that makes a new bucket; with `versioned=True` it keeps versions."""
    made: list[ServerBucket] = []

    def make_memory_bucket(*, versioned: bool = False) -> Bucket:
        return MemoryBucket(MemoryStore(keeps_versions=versioned), frozenset())

    def make_server_bucket(*, versioned: bool = False) -> Bucket:
        made.append(factory.make(TRANSPORTS[transport], versioned=versioned))
        return made[-1]

    if request.param == "memory":
        yield make_memory_bucket
        return
    name, transport = request.param.split("-")
    factory: BucketFactory = request.getfixturevalue("bucket_factory")(
        request.getfixturevalue(name)
    )
    yield make_server_bucket
    for each in made:
        each.store.close()


@pytest.fixture
def bucket(make_bucket: MakeBucket) -> Bucket:
    """A new bucket."""
    return make_bucket()

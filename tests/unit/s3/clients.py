"""Operations over each transport, with a scripted server behind them."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from s3mount.config import StoreConfig
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.boto_session import Session, open_session
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import resolve_endpoint
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import Transport
from tests.unit.s3.scripted_server import (
    FixedCredentials,
    Line,
    ScriptedServer,
    receive,
    scripted,
    store_at,
)

BUCKET = "bucket"


@functools.cache
def session() -> Session:
    """A session, which is slow to open."""
    return open_session(StoreConfig(bucket=BUCKET))


def native_transport(port: int, **changes: object) -> NativeTransport:
    return NativeTransport(store_at(port, **changes))


def boto_transport(port: int, **changes: object) -> BotoTransport:
    config = StoreConfig(bucket=BUCKET, endpoint_url=f"http://127.0.0.1:{port}")
    keys = FixedCredentials(FrozenCredentials("AKID", "secret"))
    store = resolve_endpoint(config, session(), region="us-east-1", credentials=keys)
    changed = dataclasses.replace(store, **changes)  # type: ignore[arg-type]  # the tests' own spelling
    return BotoTransport(config, changed, session())


TRANSPORTS: dict[str, Callable[..., Transport]] = {
    "native": native_transport,
    "boto": boto_transport,
}


@contextmanager
def operations_over(transport: Transport) -> Iterator[BucketOperations]:
    try:
        yield BucketOperations(transport, BUCKET)
    finally:
        transport.close()


@contextmanager
def client(
    name: str, *script: Line, **changes: object
) -> Iterator[tuple[BucketOperations, ScriptedServer]]:
    """Operations over the transport *name*, and the server that they reach."""
    with (
        scripted(*script) as server,
        operations_over(TRANSPORTS[name](server.port, **changes)) as operations,
    ):
        yield operations, server


AT_ONCE = 5.0  # seconds, for a busy machine: what else could end a request takes ten or more


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


def read(
    operations: BucketOperations,
    version: ObjectVersion,
    byte_range: ByteRange,
    *,
    deadline: float | None = None,
    cancel_token: CancelToken | None = None,
) -> bytes:
    """Read by one attempt, and wait for the response."""
    buffer = bytearray(len(byte_range))
    sender = operations.get_range(
        version, byte_range, version_id=None, deadline=soon() if deadline is None else deadline
    )
    sender.send(lambda: memoryview(buffer), cancel_token or CancelToken())
    return bytes(buffer)


def read_nowait(
    operations: BucketOperations,
    version: ObjectVersion,
    byte_range: ByteRange,
    *,
    deadline: float | None = None,
) -> bytes:
    """As `read`, but send without waiting, over a connection that is opened before."""
    deadline = soon() if deadline is None else deadline
    buffer = bytearray(len(byte_range))
    sender = operations.get_range(version, byte_range, version_id=None, deadline=deadline)
    pending = sender.send_nowait(lambda: memoryview(buffer), CancelToken())
    if pending is None:
        operations.preconnect(deadline=deadline)
        pending = sender.send_nowait(lambda: memoryview(buffer), CancelToken())
    if pending is None:
        return read(operations, version, byte_range, deadline=deadline)
    receive(pending, deadline)
    pending.finish()
    return bytes(buffer)

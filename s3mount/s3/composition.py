"""Composition of a store: its transport, the operations over it, and the store over those.

A mount and `s3mountctl doctor` make theirs here, so what is checked is what serves. Nothing here
decides anything.
"""

from collections.abc import Callable
from functools import partial

from s3mount.config import StoreConfig
from s3mount.s3.endpoint.resolve import Endpoint, supports_native
from s3mount.s3.model import ObjectVersion, PosixAttributes, StoreIdentity
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.list_dialect import ListObjects
from s3mount.s3.operations.store_traits import StoreTraits, is_directory_bucket
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.request_log import RequestLog
from s3mount.s3.transport import Transport


def connect(
    config: StoreConfig, requests: RequestLog, endpoint: Endpoint
) -> Callable[[], RemoteStore]:
    """Choose a transport; return what makes the store over it, in the event loop."""
    transport = make_transport(config, endpoint, requests)
    if not config.posix_metadata:
        return partial(make_store, config, endpoint, make_operations(config, endpoint, transport))
    from s3mount.s3.operations.posix_recorder import PosixRecorder  # noqa: PLC0415

    recorder = PosixRecorder(transport, config.bucket)
    operations = make_operations(config, endpoint, recorder)
    return partial(
        make_store, config, endpoint, operations, posix_attributes=recorder.posix_attributes
    )


def make_transport(config: StoreConfig, endpoint: Endpoint, requests: RequestLog) -> Transport:
    """Return the transport of *config* to *endpoint*, which tells *requests* of each request."""
    transport: Transport
    if is_native(config, endpoint):
        transport = NativeTransport(endpoint, requests, connections=config.max_connections)
    else:
        # botocore and urllib3: half of a start's time, for what few mounts need
        from s3mount.s3.boto.transport import BotoTransport  # noqa: PLC0415

        transport = BotoTransport(config, endpoint, log=requests)
    if config.follow_redirects:
        from s3mount.s3.native.redirects import RedirectFollower  # noqa: PLC0415

        transport = RedirectFollower(
            transport, endpoint, requests, connections=config.max_connections
        )
    return transport


def is_native(config: StoreConfig, endpoint: Endpoint) -> bool:
    """Whether s3mount itself sends the requests, and not boto3."""
    return config.transport == "native" and supports_native(endpoint)


def make_operations(
    config: StoreConfig, endpoint: Endpoint, transport: Transport
) -> BucketOperations:
    return BucketOperations(
        transport,
        config.bucket,
        dialect=ListObjects(config.list_version),
        traits=StoreTraits(
            verifies=config.verify_checksums,
            checksums=endpoint.requests_checksums,
            has_md5_etags=False if is_directory_bucket(config.bucket) else None,
        ),
        prefix=config.prefix,
    )


def make_store(
    config: StoreConfig,
    endpoint: Endpoint,
    operations: BucketOperations,
    *,
    posix_attributes: Callable[[ObjectVersion], PosixAttributes | None] | None = None,
) -> RemoteStore:
    """Return the store over *operations*; to be called in the event loop."""
    name = "native" if is_native(config, endpoint) else "boto3"
    return RemoteStore(
        operations,
        max_connections=config.max_connections,
        timeout=config.timeout,
        bucket=config.bucket,
        identity=StoreIdentity(endpoint.origin, endpoint.region, name),
        posix_attributes=posix_attributes,
    )

"""Composition of a store: its transport, operations over it, the store over those, and its views.

A mount and `s3mountctl doctor` make theirs here, so what is checked is what serves. Nothing here
decides anything.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from s3mount.config import StoreConfig
from s3mount.errors import SetupError
from s3mount.s3.endpoint.resolve import Endpoint, supports_native
from s3mount.s3.model import ObjectVersion, PosixAttributes, StoreIdentity
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.object_store import BucketStore
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.list_dialect import ListObjects
from s3mount.s3.operations.store_traits import StoreTraits, is_directory_bucket
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.request_log import RequestLog
from s3mount.s3.silent_connections import SilentConnections
from s3mount.s3.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from s3mount.s3.endpoint.customer_key import CustomerKey
    from s3mount.s3.native.idle_limit import IdleLimit
    from s3mount.s3.views.versioning_check import VersionedBucket


def connect(
    config: StoreConfig, requests: RequestLog, endpoint: Endpoint
) -> Callable[[], RemoteStore]:
    """Choose a transport; return what makes the store over it, in the event loop."""
    silent_connections = SilentConnections()
    transport = make_transport(config, endpoint, requests, silent_connections)
    if not config.posix_metadata:
        operations = make_operations(config, endpoint, transport)
        return partial(
            make_store, config, endpoint, operations, silent_connections=silent_connections
        )
    from s3mount.s3.operations.posix_recorder import PosixRecorder, PosixTable  # noqa: PLC0415

    table = PosixTable(has_links=bool(config.symlinks))
    operations = make_operations(config, endpoint, PosixRecorder(transport, config.bucket, table))
    return partial(
        make_store,
        config,
        endpoint,
        operations,
        posix_attributes=table.posix_attributes,
        silent_connections=silent_connections,
    )


def make_transport(
    config: StoreConfig,
    endpoint: Endpoint,
    requests: RequestLog,
    silent_connections: SilentConnections | None = None,
) -> Transport:
    """Return the transport of *config* to *endpoint*, which tells *requests* of each request.

    It tells *silent_connections* of its connections. Reads the files of customer keys. Raises
    SetupError if they, or the endpoint, are not safe.
    """
    transport: Transport
    if is_native(config, endpoint):
        transport = NativeTransport(
            endpoint,
            requests,
            connections=config.max_connections,
            silent_connections=silent_connections,
        )
    else:
        # botocore and urllib3: half of a start's time, for what few mounts need
        from s3mount.s3.boto.transport import BotoTransport  # noqa: PLC0415

        transport = BotoTransport(config, endpoint, log=requests)
    return with_options(config, endpoint, requests, transport)


def read_keys(config: StoreConfig) -> "tuple[CustomerKey, ...]":
    """Return the customer keys of *config*, from its files. Raises SetupError."""
    from s3mount.s3.endpoint.customer_key_files import read_customer_keys  # noqa: PLC0415

    return read_customer_keys(config.sse_c_key_files)


def with_options(
    config: StoreConfig,
    endpoint: Endpoint,
    requests: RequestLog,
    transport: Transport,
    *,
    keys: "Callable[[StoreConfig], tuple[CustomerKey, ...]]" = read_keys,
    idle_limit: "IdleLimit | None" = None,
) -> Transport:
    """Return *transport* with what few mounts want of it, each imported only then.

    Closes it and raises SetupError if the *keys* of *config* cannot be used. *idle_limit* is of the
    connections to other hosts of several transports.
    """
    if config.follow_redirects:
        from s3mount.s3.native.redirects import RedirectFollower  # noqa: PLC0415

        transport = RedirectFollower(
            transport,
            endpoint,
            requests,
            connections=config.max_connections,
            idle_limit=idle_limit,
        )
    if not config.sse_c_key_files:
        return transport
    return _with_customer_keys(endpoint, transport, partial(keys, config))


def _with_customer_keys(
    endpoint: Endpoint, transport: Transport, keys: "Callable[[], tuple[CustomerKey, ...]]"
) -> Transport:
    from s3mount.s3.endpoint.key_protection import check_protects_keys  # noqa: PLC0415
    from s3mount.s3.operations.customer_keys import CustomerKeys  # noqa: PLC0415
    from s3mount.s3.operations.keyed_transport import KeyedTransport  # noqa: PLC0415

    try:
        check_protects_keys(endpoint, endpoint.bucket)
        return KeyedTransport(transport, CustomerKeys(keys()))
    except SetupError:
        transport.close()
        raise


def is_native(config: StoreConfig, endpoint: Endpoint) -> bool:
    """Whether s3mount itself sends the requests, and not boto3."""
    return config.transport == "native" and supports_native(endpoint)


def make_operations(
    config: StoreConfig, endpoint: Endpoint, transport: Transport
) -> BucketOperations:
    return BucketOperations(
        transport,
        config.bucket,
        dialect=ListObjects(config.list_version, fetch_owner=config.fetch_owner),
        traits=StoreTraits(
            verifies=config.verify_checksums,
            checksums=endpoint.requests_checksums,
            has_md5_etags=False if is_directory_bucket(config.bucket) else None,
        ),
        prefix=config.prefix,
        page_size=config.list_page_size,
    )


def make_store(
    config: StoreConfig,
    endpoint: Endpoint,
    operations: BucketOperations,
    *,
    posix_attributes: Callable[[ObjectVersion], PosixAttributes | None] | None = None,
    silent_connections: SilentConnections | None = None,
) -> RemoteStore:
    """Return the store over *operations*; to be called in the event loop."""
    name = "native" if is_native(config, endpoint) else "boto3"
    return RemoteStore(
        operations,
        max_connections=config.max_connections,
        timeout=config.timeout,
        bucket=config.bucket,
        identity=StoreIdentity(endpoint.service_url, endpoint.region, name),
        posix_attributes=posix_attributes,
        silent_connections=silent_connections,
    )


def view_of(
    config: StoreConfig, store: BucketStore, *, unchecked: "VersionedBucket | None" = None
) -> BucketStore:
    """Return what a mount of *config* shows of *store*: each view stands on the one before.

    Views that few mounts have are imported only for them. *unchecked* is *store* if `check_views`
    was not called: then its past is shown once it has proved to have one.
    """
    if config.at_ns is not None:
        from s3mount.s3.views.moment_view import MomentView  # noqa: PLC0415

        check = None if unchecked is None else _past_check(config, unchecked)
        store = MomentView(store, config.bucket, config.at_ns, check_past=check)
    if config.versions:
        from s3mount.s3.views.versions_view import VersionsView  # noqa: PLC0415

        store = VersionsView(store, config.bucket)
    if config.show_hidden:
        from s3mount.s3.views.escaped_view import EscapedView  # noqa: PLC0415

        store = EscapedView(store, config.bucket, config.prefix)
    return store


def _past_check(config: StoreConfig, bucket: "VersionedBucket") -> "Callable[[], Awaitable[None]]":
    from s3mount.s3.views.versioning_check import PastCheck  # noqa: PLC0415 - of few mounts

    return PastCheck(config, bucket).check


async def check_views(config: StoreConfig, remote_store: RemoteStore) -> None:
    """Check that the bucket has what the views of *config* show. Raises SetupError."""
    if config.at_ns is not None or config.versions:
        from s3mount.s3.views.versioning_check import check_versioning  # noqa: PLC0415

        await check_versioning(config, remote_store)


def unlisted_names(config: StoreConfig) -> frozenset[bytes]:
    """Return the names of directories that the view of *config* has, and lists nowhere."""
    if not config.versions:
        return frozenset()
    from s3mount.s3.views import VERSIONS_DIRECTORY  # noqa: PLC0415

    return frozenset((VERSIONS_DIRECTORY.encode(),))

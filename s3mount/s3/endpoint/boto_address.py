"""The address of a bucket by botocore's rules: from a request that it prepares and does not send.

Knows access points, directory buckets, partitions, dual stack, FIPS and old signatures.
"""

import threading
from typing import Any

import botocore
from botocore import exceptions, xform_name

from s3mount.config import StoreConfig
from s3mount.errors import SetupError
from s3mount.s3.endpoint.address import Address
from s3mount.s3.endpoint.boto_session import (
    Session,
    common_parameters,
    not_addressable,
    open_client,
    open_session,
    unknown_failures_named,
)
from s3mount.s3.endpoint.configuration import Configuration
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.variants import check_variants


def botocore_address(config: StoreConfig, configuration: Configuration, region: str) -> Address:
    """Return the address of the bucket; raises SetupError as `open_client` does."""
    check_variants(config, configuration)
    session = _session(config, configuration)
    client = open_client(config, session, region=region, credentials=_unused_credentials)
    return prepared_address(config, session, client)


class BotocoreAddresses:
    """Addresses of many buckets, by one client for each region: one takes a quarter of a second.

    Thread-safe; for configurations that differ in the bucket only.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # under the lock
        self._session: Session | None = None
        self._clients: dict[str, Any] = {}

    def address(self, config: StoreConfig, configuration: Configuration, region: str) -> Address:
        """As `botocore_address`."""
        check_variants(config, configuration)
        with self._lock:
            session = self._session or _session(config, configuration)
            self._session = session
            if region not in self._clients:
                self._clients[region] = open_client(
                    config, session, region=region, credentials=_unused_credentials
                )
            return prepared_address(config, session, self._clients[region])


class _PreparedError(Exception):
    """End of the preparation of a request before it is signed and sent."""

    def __init__(self, address: Address) -> None:
        super().__init__()
        self.address = address


def _session(config: StoreConfig, configuration: Configuration) -> Session:
    return configuration if isinstance(configuration, Session) else open_session(config)


def _unused_credentials() -> FrozenCredentials:
    raise AssertionError("the request must not be signed")


def prepared_address(config: StoreConfig, session: Session, client: Any) -> Address:
    operation = "ListBuckets" if config.is_account else "ListObjectsV2"
    event = f"before-sign.s3.{operation}"
    client.meta.events.register(event, _stop_before_signing, unique_id=event)
    with unknown_failures_named():
        try:
            getattr(client, xform_name(operation))(**common_parameters(config))
        except _PreparedError as prepared:
            return prepared.address
        except exceptions.MissingDependencyException as exc:
            message = (
                f"bucket {config.bucket!r} needs a signature that takes another package: "
                "pip install 'botocore[crt]'"
            )
            raise SetupError(message, bucket=config.bucket) from exc
        except (ValueError, exceptions.BotoCoreError) as exc:
            raise not_addressable(config, session, client.meta.region_name, exc) from exc
    raise AssertionError("the request must not be sent")


def _stop_before_signing(
    *, request: Any, region_name: str, signing_name: str, signature_version: Any, **_: Any
) -> None:
    context = request.context.get("signing", {})
    names = {"s3v4": "v4", botocore.UNSIGNED: "none"}
    raise _PreparedError(
        Address(
            url=request.url,
            region=context.get("region", region_name),
            service=context.get("signing_name", signing_name),
            signature=names.get(signature_version, signature_version),
        )
    )

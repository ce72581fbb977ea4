"""Check of the bucket before the mount: one LIST, as the mount will send it, in the right region.

Every failure is a SetupError of one line: what is wrong, and what to do. Nothing outside of the
mount's prefix is listed, since that may be all that the credentials allow.
"""

import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TypeVar

from s3mount.config import StoreConfig
from s3mount.errors import DeadlineExceeded, S3MountError, SetupError
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.boto_session import Session, open_session
from s3mount.s3.endpoint.credentials import Credentials
from s3mount.s3.endpoint.messages import VIRTUAL_ONLY_CODES, no_response, setup_error
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint
from s3mount.s3.endpoint.tls import tls_context
from s3mount.s3.model import ListQuery
from s3mount.s3.native.redirects import RedirectFollower
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.transport import ErrorResponseError, Retryable, Transport

T = TypeVar("T")

CREDENTIALS_LIMIT = 30.0  # seconds; a credential process may be slow, metadata gives up after 2
STORE_LIMIT = 12.0  # seconds; with the machine's own look-ups it is less than 15
DEFAULT_REGION = "us-east-1"  # tried first for an unknown region; private stores sign with it
REGIONS_MAX = 3
PAUSES = (0.2, 1.0, None)  # seconds after each attempt
_REGION = re.compile(r"[A-Za-z0-9-]{1,63}", re.ASCII)  # it becomes a label of a host name


def check_bucket(config: StoreConfig, credentials: Credentials) -> Endpoint:
    """Return the endpoint at which the bucket can be listed. Blocks for some seconds at most.

    Raises SetupError if it cannot be listed.
    """
    session = open_session(config)
    if config.verify_ssl and config.ca_bundle is not None:
        tls_context(ca_bundle=str(config.ca_bundle), verify_ssl=True)
    _look_up(config, credentials)
    try:
        return _find(config, session, credentials)
    except SetupError as exc:
        if config.style != "auto" or exc.code not in VIRTUAL_ONLY_CODES:
            raise
        virtual = replace(config, addressing_style="virtual")
        try:
            return _find(virtual, session, credentials)
        except SetupError:
            raise exc from None  # the path was the store's own remark


def _find(config: StoreConfig, session: Session, credentials: Credentials) -> Endpoint:
    """Return the endpoint in the region of the bucket."""
    region = config.region or session.setting("region") or DEFAULT_REGION
    for _ in range(REGIONS_MAX):
        endpoint = resolve_endpoint(config, session, region=region, credentials=credentials)
        other_region = _with_timeout(
            STORE_LIMIT,
            partial(_list_once, config, endpoint, session),
            message=no_response(endpoint, STORE_LIMIT),
        )
        if other_region is None:
            return endpoint
        region = other_region
    raise SetupError(
        f"bucket {config.bucket!r} is redirected from region to region: name it with --region"
    )


def _look_up(config: StoreConfig, credentials: Credentials) -> None:
    limit = min(CREDENTIALS_LIMIT, config.timeout)
    try:
        credentials.frozen(time.monotonic() + limit)
    except DeadlineExceeded as exc:
        raise SetupError(
            f"no credentials within {limit:g} s: {exc}; try it by hand, or allow more (--timeout)"
        ) from exc
    except (S3MountError, Retryable) as exc:
        raise SetupError(str(exc)) from exc


def _list_once(config: StoreConfig, endpoint: Endpoint, session: Session) -> str | None:
    """List the bucket. Return None, or the name of the region in which the bucket is."""
    deadline = time.monotonic() + STORE_LIMIT - 1
    transport: Transport = BotoTransport(config, endpoint, session)
    if config.follow_redirects:
        transport = RedirectFollower(transport, endpoint)
    with closing(transport):
        operations = BucketOperations(transport, config.bucket)
        for pause in PAUSES:
            try:
                operations.list_page(ListQuery(config.prefix, max_keys=1), deadline=deadline)
            except (S3MountError, Retryable) as exc:
                if pause is None or not _is_busy(exc):
                    return _other_region(config, endpoint, exc)
                time.sleep(pause)
            else:
                break
    return None


def _is_busy(failure: S3MountError | Retryable) -> bool:
    """Whether the store responded, and asks for a retry."""
    if not isinstance(failure, Retryable) or failure.is_stale_credentials:
        return False
    return isinstance(failure.__cause__, ErrorResponseError) and failure.failure.code is not None


def _other_region(
    config: StoreConfig, endpoint: Endpoint, failure: S3MountError | Retryable
) -> str:
    """Return the region of the bucket from a redirect.

    Raises SetupError for another failure, and if the region was configured.
    """
    region = _redirect_region(failure.__cause__)
    if region is None or region == endpoint.region:
        raise setup_error(config, endpoint, failure) from failure
    if config.region is not None:
        message = (
            f"bucket {config.bucket!r} is in region {region!r}, not {endpoint.region!r}: "
            f"use --region {region}, or none"
        )
        raise SetupError(message, bucket=config.bucket) from failure
    return region


# codes for a wrong region; a status if the response has no code
_REDIRECTS = {
    *("PermanentRedirect", "TemporaryRedirect", "Redirect", "301", "302", "307"),
    *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "BadRequest", "400"),
}


def _redirect_region(cause: BaseException | None) -> str | None:
    if not isinstance(cause, ErrorResponseError):
        return None
    response = cause.response
    region = response.region
    if (response.code or str(response.status)) not in _REDIRECTS or region is None:
        return None
    return region if _REGION.fullmatch(region) else None


def _with_timeout(limit: float, call: Callable[[], T], *, message: str) -> T:
    """Return the result of *call*; raise SetupError(*message*) after *limit* seconds.

    In a thread, because name resolution cannot be cancelled.
    """
    results: list[T] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as exc:  # noqa: BLE001 - raised again by the caller
            failures.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    if failures:
        raise failures[0]
    if not results:
        raise SetupError(message)
    return results[0]

"""Whether the mount can begin: asks the store once, as the mount will ask it, before anything goes to the background.

Every failure is a SetupError of one line: what is wrong, and what to do. Asks for nothing outside of the mount's prefix,
since that may be all that is allowed.
"""

import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TypeVar

from s3mount.config import StoreConfig
from s3mount.errors import DeadlineExceeded, S3MountError, SetupError
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.credentials import Credentials
from s3mount.s3.endpoint.messages import no_answer, setup_error
from s3mount.s3.endpoint.resolve import FIRST_GUESS, Endpoint, Session, open_session, resolved_store
from s3mount.s3.endpoint.tls import tls_context
from s3mount.s3.model import ListQuery
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.transport import ErrorResponseError, Retryable

T = TypeVar("T")

CREDENTIALS_LIMIT = (
    30.0  # seconds; a credential process may be slow, instance metadata gives up after 2
)
STORE_LIMIT = 12.0  # seconds, so that with a machine's own look-ups it is less than 15
REGIONS_TRIED = 3
PAUSES = (0.2, 1.0, None)  # seconds, after each try
_REGION = re.compile(r"[A-Za-z0-9-]{1,63}", re.ASCII)  # it becomes a label of a host name


def check_bucket(config: StoreConfig, credentials: Credentials) -> Endpoint:
    """Find out where, and whether, the bucket answers. Blocks for seconds at most; SetupError where it does not."""
    session = open_session(config)
    if config.verify_ssl and config.ca_bundle is not None:
        tls_context(ca_bundle=str(config.ca_bundle), verify_ssl=True)
    _look_up(config, credentials)
    region = config.region or session.setting("region") or FIRST_GUESS
    for _ in range(REGIONS_TRIED):
        store = resolved_store(config, session, region=region, credentials=credentials)
        found = _within(
            STORE_LIMIT,
            partial(_list_once, config, store, session),
            silent=no_answer(store, STORE_LIMIT),
        )
        if found is None:
            return store
        region = found
    raise SetupError(
        f"bucket {config.bucket!r} is said to be in one region after another: name it with --region"
    )


def _look_up(config: StoreConfig, credentials: Credentials) -> None:
    limit = min(CREDENTIALS_LIMIT, config.timeout)
    try:
        credentials.frozen(time.monotonic() + limit)
    except DeadlineExceeded as exc:
        raise SetupError(
            f"no credentials within {limit:g} s: {exc}; try it by hand, or allow more (--timeout)"
        ) from exc
    except (S3MountError, Retryable) as fault:
        raise SetupError(str(fault)) from fault


def _list_once(config: StoreConfig, store: Endpoint, session: Session) -> str | None:
    """List, as the mount will. None if that went well; another region's name if the bucket is there."""
    deadline = time.monotonic() + STORE_LIMIT - 1
    with closing(BotoTransport(config, store, session)) as transport:
        operations = BucketOperations(transport, config.bucket)
        for pause in PAUSES:
            try:
                operations.list_page(ListQuery(config.prefix, max_keys=1), deadline=deadline)
            except (S3MountError, Retryable) as fault:
                if pause is None or not _is_busy(fault):
                    return _elsewhere(config, store, fault)
                time.sleep(pause)
            else:
                break
    return None


def _is_busy(fault: S3MountError | Retryable) -> bool:
    """Whether the store is there, and asks to be asked again."""
    if not isinstance(fault, Retryable) or fault.is_stale_credentials:
        return False
    return isinstance(fault.__cause__, ErrorResponseError) and fault.failure.code is not None


def _elsewhere(config: StoreConfig, store: Endpoint, fault: S3MountError | Retryable) -> str:
    """The region where the bucket is, if that is what *fault* says; SetupError for everything else, and if one was named."""
    region = _region_told(fault.__cause__)
    if region is None or region == store.region:
        raise setup_error(config, store, fault) from fault
    if config.region is not None:
        message = f"bucket {config.bucket!r} is in region {region!r}, not {store.region!r}: use --region {region}, or none"
        raise SetupError(message, bucket=config.bucket) from fault
    return region


# how a store says that it is the wrong one; a status where it named no code
_REDIRECTS = {
    *("PermanentRedirect", "TemporaryRedirect", "Redirect", "301", "302", "307"),
    *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "BadRequest", "400"),
}


def _region_told(cause: BaseException | None) -> str | None:
    if not isinstance(cause, ErrorResponseError):
        return None
    response = cause.response
    region = response.region
    if (response.code or str(response.status)) not in _REDIRECTS or region is None:
        return None
    return region if _REGION.fullmatch(region) else None


def _within(limit: float, ask: Callable[[], T], *, silent: str) -> T:
    """What *ask* returns or raises; SetupError(*silent*) after *limit* seconds.

    In a thread, because name resolution cannot be told to stop.
    """
    outcome: list[T] = []
    failure: list[Exception] = []

    def run() -> None:
        try:
            outcome.append(ask())
        except Exception as exc:  # noqa: BLE001 - it is raised again by whoever waits
            failure.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    if failure:
        raise failure[0]
    if not outcome:
        raise SetupError(silent)
    return outcome[0]

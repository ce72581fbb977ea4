"""Opening of the store that will serve: its first LIST, in the right region, as all later ones.

Starting is serving: the transport, the operations and the query are those of the mount, and each
attempt has its `--timeout`. Only the pauses differ: a failure that may pass is retried until
`--start-timeout` has passed. Then a caller that has what it needs may start without a response.
Every other failure is a SetupError of one line: what is wrong, and what to do. Nothing outside of
the mount's prefix is listed, since that may be all that the credentials allow.
"""

import gc
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

import trio

from s3mount.config import StoreConfig
from s3mount.errors import DeadlineExceeded, S3MountError, SetupError, Unreachable
from s3mount.s3.endpoint.aws_files import file_problems
from s3mount.s3.endpoint.configuration import Configuration, configured_ca_bundle
from s3mount.s3.endpoint.credentials import Credentials
from s3mount.s3.endpoint.messages import (
    VIRTUAL_ONLY_CODES,
    causes_of,
    no_credentials,
    no_response,
    setup_error,
)
from s3mount.s3.endpoint.plain_configuration import open_configuration
from s3mount.s3.endpoint.proxy import ProxyError
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint
from s3mount.s3.endpoint.tls import tls_context
from s3mount.s3.model import ListPage, ListQuery, Reason
from s3mount.s3.region_redirect import (
    REDIRECT,
    REDIRECTS,
    REGIONS_MAX,
    region_of_redirect,
    unwrapped,
)
from s3mount.s3.scheduling.pauses import INVALID_ATTEMPTS
from s3mount.s3.transport import Retryable

T = TypeVar("T")

DEFAULT_REGION = "us-east-1"  # tried first for an unknown region; private stores sign with it
FIRST_PAUSE = 0.2  # seconds after a failed attempt
LONGEST_PAUSE = 1.0
_SERVER_ERROR = 500
RESERVE = 1.0  # seconds of the start for imports before, and for the mount itself

log = logging.getLogger(__name__)


class OpenedStore(Protocol):
    """A store that may serve."""

    async def list_once(self, query: ListQuery) -> ListPage:
        """Return the page by one attempt. Raises S3MountError, from a Retryable if it is one."""
        ...

    def close(self) -> None: ...


S = TypeVar("S", bound=OpenedStore)

Connect = Callable[[Endpoint], Callable[[], S]]
"""Called in a thread, where boto3 may read files; the result makes the store in the event loop."""


MayBeAway = Callable[[str, str], Awaitable[bool]]
"""Whether a mount of the endpoint of that URL may start without a response, for that reason."""


async def open_store(
    config: StoreConfig,
    credentials: Credentials,
    connect: Connect[S],
    may_be_away: MayBeAway | None = None,
) -> S:
    """Return the store that *connect* makes, once its bucket has been listed.

    Raises SetupError if it cannot be listed, or be reached and *may_be_away* does not allow for it.
    """
    start = _Start(config, may_be_away)
    configuration = await _in_thread(partial(_open_configuration, config))
    await _look_up(start, credentials)
    try:
        return await _open_in_region(start, configuration, credentials, connect)
    except SetupError as exc:
        if config.style != "auto" or exc.code not in VIRTUAL_ONLY_CODES:
            raise
        start.config = replace(config, addressing_style="virtual")
        try:
            return await _open_in_region(start, configuration, credentials, connect)
        except SetupError:
            raise exc from None  # the path was the store's own remark


async def _open_in_region(
    start: "_Start", configuration: Configuration, credentials: Credentials, connect: Connect[S]
) -> S:
    """Return the store in the region of the bucket. Raises SetupError."""
    config = start.config
    region = config.region or configuration.setting("region") or DEFAULT_REGION
    for _ in range(REGIONS_MAX):
        endpoint = await _in_thread(
            partial(_endpoint, config, configuration, region=region, credentials=credentials)
        )
        store = (await _in_thread(partial(connect, endpoint)))()
        try:
            other_region = await _list(start, endpoint, store)
        except BaseException:  # raised again
            store.close()
            raise
        if other_region is None:
            return store
        store.close()
        region = other_region
    raise SetupError(
        f"bucket {config.bucket!r} is redirected from region to region: name it with --region",
        bucket=config.bucket,
        code=REDIRECT,
    )


class _Start:
    """The time in which failures are retried; says once what is waited for."""

    def __init__(self, config: StoreConfig, may_be_away: MayBeAway | None = None) -> None:
        self.config = config
        self._may_be_away = may_be_away
        self._ends_at = trio.current_time() + config.start_timeout - RESERVE
        self._pause = FIRST_PAUSE
        self._has_waited = False

    async def wait(self, failure: SetupError) -> None:
        """Wait until the next attempt; raise *failure* if there is no time for one."""
        if trio.current_time() + self._pause > self._ends_at:
            raise self._given_up(failure)
        if not self._has_waited:
            self._has_waited = True
            gc.enable()  # off for a quick start; each attempt may leave cycles of a session
            log.warning(
                "not mounted yet, trying for %g s (--start-timeout): %s",
                self.config.start_timeout,
                failure,
            )
        await trio.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    async def can_do_without(self, endpoint: Endpoint, reason: str) -> bool:
        """Whether the mount may start although the store at *endpoint* does not respond."""
        return self._may_be_away is not None and await self._may_be_away(
            endpoint.service_url, reason
        )

    def _given_up(self, failure: SetupError) -> SetupError:
        if not self._has_waited:
            return failure
        tried = f"{failure} (tried for {self.config.start_timeout:g} s, see --start-timeout)"
        return SetupError(tried, bucket=failure.bucket, status=failure.status, code=failure.code)


def configured_address(config: StoreConfig, credentials: Credentials) -> Endpoint:
    """Return the endpoint that is listed first; blocks as files do. Raises SetupError."""
    configuration = _open_configuration(config)
    region = config.region or configuration.setting("region") or DEFAULT_REGION
    return _endpoint(config, configuration, region=region, credentials=credentials)


def is_about_region(error: SetupError) -> bool:
    """Whether *error* of `open_store` says that the bucket is in another region."""
    return (error.code or str(error.status)) in REDIRECTS - {"BadRequest", "400"}


def _open_configuration(config: StoreConfig) -> Configuration:
    configuration = open_configuration(config)
    for problem in file_problems():
        log.warning("%s", problem)
    if config.ca_bundle is not None:
        _check_ca_bundle(config, configuration)
    return configuration


def _endpoint(
    config: StoreConfig, configuration: Configuration, *, region: str, credentials: Credentials
) -> Endpoint:
    endpoint = resolve_endpoint(config, configuration, region=region, credentials=credentials)
    if endpoint.scheme == "https":
        _check_ca_bundle(config, configuration)
    return endpoint


def _check_ca_bundle(config: StoreConfig, configuration: Configuration) -> None:
    """Raise SetupError, with the name of its option or variable, if the bundle cannot be used."""
    bundle = configured_ca_bundle(config, configuration)
    if not config.verify_ssl or bundle is None:
        return
    try:
        tls_context(ca_bundle=str(bundle.value), verify_ssl=True)
    except SetupError as exc:
        raise SetupError(f"{bundle.where}: {exc}") from exc


async def _look_up(start: _Start, credentials: Credentials) -> None:
    """Look credentials up, as each request would."""
    timeout = start.config.timeout
    while True:
        try:
            await _in_thread(lambda: credentials.frozen(time.monotonic() + timeout))
        except DeadlineExceeded as exc:
            raise no_credentials(exc, timeout) from exc
        except S3MountError as exc:
            raise SetupError(str(exc)) from exc
        except Retryable as exc:
            await start.wait(SetupError(str(exc)))
        else:
            return


async def _list(start: _Start, endpoint: Endpoint, store: OpenedStore) -> str | None:
    """List the bucket. Return None, or the name of the region in which the bucket is."""
    config, query, invalid = start.config, ListQuery(start.config.prefix, reason=Reason.CHECK), 0
    while True:
        try:
            page = await store.list_once(query)
        except S3MountError as exc:
            failure = unwrapped(exc)
            region = _other_region(config, endpoint, failure)
            if region is not None:
                return region
            invalid += isinstance(failure, Retryable) and failure.is_invalid
            error = _setup_error(config, endpoint, failure)
            if invalid >= INVALID_ATTEMPTS or not _may_pass(failure):
                raise error from exc
            try:
                await start.wait(error)
            except SetupError:
                if not _is_away(exc) or not await start.can_do_without(endpoint, str(error)):
                    raise
                return None
        else:
            _note_empty_prefix(config, page)
            return None


def _note_empty_prefix(config: StoreConfig, page: ListPage) -> None:
    """Log that the prefix has no keys: it may be misspelt, or be filled later."""
    if config.prefix and not (page.objects or page.prefixes or page.next_token or page.odd_rows):
        log.info("no key is below %r in %r now: check its spelling", config.prefix, config.bucket)


def _setup_error(
    config: StoreConfig, endpoint: Endpoint, failure: S3MountError | Retryable
) -> SetupError:
    if isinstance(failure, DeadlineExceeded):
        return SetupError(no_response(endpoint, config.timeout), bucket=config.bucket)
    return setup_error(config, endpoint, failure)


def _may_pass(failure: S3MountError | Retryable) -> bool:
    """Whether another attempt may succeed, although nobody changes the configuration."""
    if not isinstance(failure, Retryable):
        # a clock that is being set while the machine boots
        is_clock = isinstance(failure, S3MountError) and failure.code == "RequestTimeTooSkewed"
        return is_clock or isinstance(failure, DeadlineExceeded)
    return not failure.is_stale_credentials and not any(map(_is_definite, causes_of(failure)))


def _is_away(failure: S3MountError) -> bool:
    """Whether *failure* of an attempt is no response, or that of a store that fails."""
    has_failed = failure.status is not None and failure.status >= _SERVER_ERROR
    return isinstance(failure, DeadlineExceeded | Unreachable) or has_failed


def _is_definite(cause: BaseException) -> bool:
    match cause:
        case ssl.SSLCertVerificationError():
            return True
        case ssl.SSLError():
            return cause.reason == "WRONG_VERSION_NUMBER"  # the peer does not speak TLS
        case ProxyError():
            return cause.status in (401, 403, 407)
    return False


def _other_region(
    config: StoreConfig, endpoint: Endpoint, failure: S3MountError | Retryable
) -> str | None:
    """Return the region of the bucket from a redirect; None if *failure* names no other region.

    Raises SetupError if the region was configured.
    """
    region = region_of_redirect(failure)
    if region is None or region == endpoint.region:
        return None
    if config.region is not None:
        message = (
            f"bucket {config.bucket!r} is in region {region!r}, not {endpoint.region!r}: "
            f"use --region {region}, or none"
        )
        error = failure.failure if isinstance(failure, Retryable) else failure
        raise SetupError(
            message, bucket=config.bucket, status=error.status, code=error.code or REDIRECT
        ) from failure
    return region


async def _in_thread(call: Callable[[], T]) -> T:
    """Call *call* in a thread that a cancellation leaves behind."""
    return await trio.to_thread.run_sync(call, abandon_on_cancel=True)

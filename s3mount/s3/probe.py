"""Whether the mount can begin: asks the store once, as the mount will ask it, before anything goes to the background.

Every failure is a SetupError of one line: what is wrong, and what to do. Asks for nothing outside of the mount's prefix,
since that may be all that is allowed.
"""

import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import urllib3.exceptions
from botocore.exceptions import ClientError

from s3mount.config import StoreConfig
from s3mount.errors import S3MountError, SetupError
from s3mount.s3.boto import BotoTransport
from s3mount.s3.credentials import CredentialChain
from s3mount.s3.session import FIRST_GUESS, ResolvedStore, open_session, resolved_store
from s3mount.s3.transport import Retryable
from s3mount.s3.trust import tls_context
from s3mount.s3.values import ListQuery

T = TypeVar("T")

CREDENTIALS_LIMIT = 30.0  # seconds; a credential process may be slow, instance metadata gives up after 2
STORE_LIMIT = 12.0  # seconds, so that with a machine's own look-ups it is less than 15
REGIONS_TRIED = 3
TRIES = 3


def probe(config: StoreConfig) -> ResolvedStore:
    """Find out where, and whether, the bucket answers. Blocks for seconds at most; SetupError where it does not."""
    session = open_session(config)
    if config.verify_ssl and config.ca_bundle is not None:
        tls_context(ca_bundle=str(config.ca_bundle), verify_ssl=True)
    chain = CredentialChain(lambda: open_session(config), sign=config.sign_requests)
    _look_up(chain)
    region = config.region or session.get_config_variable("region") or FIRST_GUESS
    for _ in range(REGIONS_TRIED):
        store = resolved_store(config, open_session(config), region=region, credentials=chain.frozen, renew=chain.renew)
        found = _within(STORE_LIMIT, lambda store=store: _knock(config, store), silent=_no_answer(store))
        if found is None:
            return store
        region = found
    raise SetupError(f"bucket {config.bucket!r} is said to be in one region after another: name it with --region")


def _look_up(chain: CredentialChain) -> None:
    try:
        _within(CREDENTIALS_LIMIT, chain.frozen, silent=f"no credentials within {CREDENTIALS_LIMIT:.0f} s")
    except Retryable as fault:
        raise SetupError(str(fault)) from fault
    except S3MountError as exc:
        raise SetupError(str(exc)) from exc


def _knock(config: StoreConfig, store: ResolvedStore) -> str | None:
    """List, as the mount will. None if that went well; another region's name if the bucket is there."""
    deadline = time.monotonic() + STORE_LIMIT - 1
    transport = BotoTransport(config, store)
    try:
        for attempt in itertools.count(1):
            try:
                transport.list_page(ListQuery(config.prefix, max_keys=1), deadline=deadline)
            except (S3MountError, Retryable) as fault:
                if not _is_worth_another(fault, attempt, deadline):
                    return _elsewhere(config, store, fault)
                time.sleep(0.5)
            else:
                return None
    finally:
        transport.close()
    raise AssertionError("unreachable")


def _is_worth_another(fault: S3MountError | Retryable, attempt: int, deadline: float) -> bool:
    """A store that is busy is asked again; one that is not there is not."""
    is_busy = (
        isinstance(fault, Retryable) and isinstance(fault.__cause__, ClientError) and fault.failure.code is not None
    )
    return is_busy and attempt < TRIES and time.monotonic() < deadline - 1


def _elsewhere(config: StoreConfig, store: ResolvedStore, fault: S3MountError | Retryable) -> str:
    """The region where the bucket is, if that is what *fault* says; SetupError for everything else, and if one was named."""
    region = _region_told(fault.__cause__)
    if region is None or region == store.region:
        raise _setup_error(config, store, fault) from fault
    if config.region is not None:
        message = (
            f"bucket {config.bucket!r} is in region {region!r}, not {store.region!r}: use --region {region}, or none"
        )
        raise SetupError(message, bucket=config.bucket) from fault
    return region


# how a store says that it is the wrong one
_REDIRECTS = {
    *("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    *("", "301", "307", "BadRequest"),
}


def _region_told(cause: BaseException | None) -> str | None:
    if not isinstance(cause, ClientError):
        return None
    error = cause.response.get("Error", {})
    headers = cause.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    code = str(error.get("Code", ""))
    if code not in _REDIRECTS:
        return None
    region = error.get("Region") or headers.get("x-amz-bucket-region")
    return region if isinstance(region, str) and region.replace("-", "").isalnum() else None


def _setup_error(config: StoreConfig, store: ResolvedStore, fault: S3MountError | Retryable) -> SetupError:
    failure = fault.failure if isinstance(fault, Retryable) else fault
    if isinstance(fault.__cause__, ClientError):
        message = _refused(config, store, failure)
    elif fault.__cause__ is not None and not isinstance(fault, S3MountError):
        message = _unreachable(store, fault.__cause__)
    else:
        message = str(failure)
    return SetupError(message, bucket=config.bucket, status=failure.status, code=failure.code)


def _refused(config: StoreConfig, store: ResolvedStore, failure: S3MountError) -> str:
    bucket = f"bucket {config.bucket!r}"
    match failure.code, failure.status:
        case "NoSuchBucket", _:
            return f"{bucket} does not exist at {store.origin}: check its name (and --endpoint-url)"
        case (("InvalidBucketName" | "InvalidBucket"), _):
            return f"{bucket}: no bucket can have this name"
        case "InvalidAccessKeyId", _:
            return (
                f"{store.origin} does not know this access key: check the credentials (and --profile, --endpoint-url)"
            )
        case "SignatureDoesNotMatch", _:
            return "the secret key does not fit the access key: check the credentials (and --profile)"
        case (("ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired"), _):
            return "the credentials have expired: renew them (for SSO: aws sso login)"
        case "InvalidToken", _:
            return "the session token is not valid: renew the credentials"
        case "RequestTimeTooSkewed", _:
            return "the clock of this machine is wrong, so that its requests are refused: set it (timedatectl set-ntp true)"
        case _, (401 | 403):
            return _denied(config)
        case None, _:
            return _not_s3(store, f"HTTP {failure.status}")
        case code, status:
            return f"{store.origin} refuses to list {bucket}: {code} (HTTP {status})"


def _denied(config: StoreConfig) -> str:
    hints = ["it takes s3:ListBucket (for this prefix) and s3:GetObject"]
    if not config.sign_requests:
        hints = ["it is not public: leave --no-sign-request away"]
    elif not config.requester_pays:
        hints.append("or --requester-pays, where the bucket asks for it")
    if config.expected_bucket_owner is not None:
        hints.append(f"and {config.expected_bucket_owner} must be its owner (--expected-bucket-owner)")
    where = f"{config.bucket}/{config.prefix}" if config.prefix else config.bucket
    return f"access to {where!r} is denied: {', '.join(hints)}"


def _unreachable(store: ResolvedStore, cause: BaseException) -> str:
    reasons = list(_chain(cause))

    def find(kind: type[Any]) -> Any:
        return next((reason for reason in reasons if isinstance(reason, kind)), None)

    if find(ssl.SSLCertVerificationError):
        return (
            f"the certificate of {store.origin} is not trusted: name the authority that signed it"
            " with --ca-bundle FILE (or AWS_CA_BUNDLE)"
        )
    if find(ssl.SSLError):
        return f"{store.origin} does not speak TLS: is it http:// there? Check --endpoint-url"
    if find(urllib3.exceptions.ProxyError):
        return "the proxy (HTTPS_PROXY, HTTP_PROXY) does not let through: check it, or set NO_PROXY"
    if find(socket.gaierror) or find(urllib3.exceptions.NameResolutionError):
        return f"the host {store.host!r} is not known: check --endpoint-url and the network (DNS)"
    if find(ConnectionRefusedError):
        return f"{store.origin} refuses connections: is the server running, and --endpoint-url right?"
    if find(urllib3.exceptions.TimeoutError) or find(TimeoutError):
        return _no_answer(store)
    if find(urllib3.exceptions.NewConnectionError):
        return f"{store.origin} cannot be reached: check --endpoint-url and the network"
    return _not_s3(store, "it breaks off")


def _chain(cause: BaseException | None) -> Iterator[BaseException]:
    """*cause*, and all that it wraps: urllib3 keeps some of it in `reason` only."""
    while cause is not None:
        yield cause
        inner = getattr(cause, "reason", None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__


def _no_answer(store: ResolvedStore) -> str:
    return (
        f"no answer from {store.origin} within {STORE_LIMIT:.0f} s: check --endpoint-url, the network and its firewalls"
    )


def _not_s3(store: ResolvedStore, how: str) -> str:
    return f"{store.origin} does not answer like S3 ({how}): check --endpoint-url"


def _within(limit: float, ask: Callable[[], T], *, silent: str) -> T:
    """What *ask* returns or raises; SetupError(*silent*) after *limit* seconds.

    In a thread, because neither name resolution nor a credential process can be told to stop.
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

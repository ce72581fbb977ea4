"""Checks of what the credentials allow: their source, region, LIST, HEAD, GET, versions."""

import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from s3mount.doctor.check import Check, NotTriedError
from s3mount.doctor.facts import OpenedBucket, StoreFacts, version_of
from s3mount.doctor.report import Finding, failure, ok, warning
from s3mount.errors import (
    AccessDenied,
    DeadlineExceeded,
    NotFound,
    S3MountError,
    SetupError,
    StaleVersion,
)
from s3mount.s3.bucket_check import is_about_region
from s3mount.s3.endpoint.messages import no_credentials
from s3mount.s3.limits import ERROR_LIMIT
from s3mount.s3.model import ByteRange
from s3mount.s3.operations.error_mapping import KEY_REFUSALS, Operation
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import Retryable, StoreRequest

T = TypeVar("T")

OPENING_LIMIT: Final = 60.0  # seconds: a start with its last request, and some regions
ATTEMPTS: Final = 3  # at once: a store that refuses a header gets the next request without it
EXPIRY_WARNING: Final = 900.0  # seconds
_NEEDS_GET: Final = "the credentials need s3:GetObject, and kms:Decrypt for objects under KMS"
_NEEDS_KEY: Final = "name the file of its key: --sse-c-key-file FILE, see docs/sse-c.md"
_NEEDS_VERSIONS: Final = "a mount does without it; to see versions, allow s3:ListBucketVersions"


def access_checks(facts: StoreFacts) -> Iterator[Check]:
    yield Check("credentials", lambda: check_credentials(facts))
    yield Check("region", lambda: check_region(facts), OPENING_LIMIT)
    yield Check("list", lambda: check_list(facts), OPENING_LIMIT)
    yield Check("head", lambda: check_head(facts))
    yield Check("get", lambda: check_get(facts))
    yield Check("versions", lambda: check_versions(facts))


def check_credentials(facts: StoreFacts) -> Finding:
    """Look credentials up. Raises S3MountError or Retryable, which name the source and why."""
    if not facts.store.sign_requests:
        return ok("none: requests are not signed (--no-sign-request)")
    try:
        facts.credentials.get()
    except DeadlineExceeded as exc:
        raise no_credentials(exc, facts.store.timeout) from exc
    state = facts.chain.state()
    text = f"from {state.source}"
    if state.expires_at is None:
        return ok(f"{text}, without an end that is known")
    left = state.expires_at - time.time()
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(state.expires_at))
    text = f"{text}, until {when} ({left / 60:,.0f} minutes)"
    if left < EXPIRY_WARNING:
        return warning(text, "renew them, unless their source does (it is asked again before)")
    return ok(text)


def check_region(facts: StoreFacts) -> Finding:
    """Compare the bucket's region with the configured one. Raises SetupError if it is another."""
    try:
        bucket = facts.bucket.get()
    except SetupError as exc:
        if is_about_region(exc):
            raise
        raise NotTriedError("it depends on list, see there") from exc
    found, tried = bucket.endpoint.region, facts.endpoint.need().region
    if facts.store.region is not None or found == tried:
        return ok(found)
    return warning(
        f"{found}, and not {tried}, which the environment or the profile says or is the default",
        f"name it, so that a start needs no redirect: --region {found}",
    )


def check_list(facts: StoreFacts) -> Finding:
    """List as a mount does before it serves. Raises SetupError."""
    try:
        bucket = facts.bucket.get()
    except SetupError as exc:
        if is_about_region(exc):
            raise NotTriedError("it depends on region, see there") from exc
        raise
    page, store = bucket.page, facts.store
    where = f"s3://{store.bucket}/{store.prefix}"
    names = len(page.objects) + len(page.prefixes)
    if not names:
        return warning(f"allowed, and {where} is empty", "check the spelling of bucket and prefix")
    more = " and more" if page.next_token is not None else ""
    return ok(f"allowed: {names:,} names{more} in {where}")


def check_head(facts: StoreFacts) -> Finding:
    listed, bucket = facts.sample.need(), facts.bucket.need()
    try:
        deadline = facts.deadline
        stat = attempt(lambda: bucket.operations.head(listed.key, deadline=deadline))
    except NotFound:
        return warning(
            "an object that is listed is not found", "it was deleted just now, or the store errs"
        )
    except S3MountError as exc:
        return _refused("HEAD of an object", exc)
    has_versions = ", in a bucket with versions" if stat.version_id not in (None, "null") else ""
    return ok(f"allowed: an object of {stat.version.size:,} bytes{has_versions}")


def check_get(facts: StoreFacts) -> Finding:
    """Read one byte, as a mount reads a range."""
    listed, bucket = facts.sample.need(), facts.bucket.need()
    version = version_of(facts.store.bucket, listed)
    byte = memoryview(bytearray(1))
    # one for all attempts: it knows what the store has refused
    sender = bucket.operations.get_range(
        version, ByteRange(0, 1), version_id=None, deadline=facts.deadline
    )
    try:
        attempt(lambda: sender.send(lambda: byte, CancelToken()))
    except StaleVersion as exc:
        return warning(f"an object is not as it is listed: {exc}", "it was replaced just now")
    except S3MountError as exc:
        return _refused("GET of a byte", exc)
    if not bucket.operations.has_ranges():
        return warning("allowed, but the store sends whole objects", "reads of parts will be slow")
    return ok("allowed: one byte of an object")


def check_versions(facts: StoreFacts) -> Finding:
    """List one version. No mount needs that, so a refusal is no failure."""
    bucket = facts.bucket.need()
    try:
        body = attempt(_list_versions(bucket, facts))
    except S3MountError as exc:
        if exc.status in (400, 404, 405, 501):
            return ok("the store lists no versions, and a mount does without")
        return warning(f"ListObjectVersions is refused ({_code(exc)})", _NEEDS_VERSIONS)
    is_versioned = b"<VersionId>" in body and b"<VersionId>null<" not in body
    return ok(f"ListObjectVersions is allowed; {'' if is_versioned else 'no '}versions are kept")


def attempt(call: Callable[[], T]) -> T:
    """Return what *call* returns, at the third attempt at last. Raises S3MountError."""
    for _ in range(ATTEMPTS - 1):
        try:
            return call()
        except Retryable:
            continue
    try:
        return call()
    except Retryable as exc:
        raise exc.failure from exc


def _list_versions(bucket: OpenedBucket, facts: StoreFacts) -> Callable[[], bytes]:
    """Return the call that lists one version, or fails by the deadline of now."""
    query = (("max-keys", "1"), ("prefix", facts.store.prefix), ("versions", ""))
    request, deadline = StoreRequest("ListObjectVersions", None, query), facts.deadline

    def call() -> bytes:
        with bucket.transport.send(request, deadline=deadline) as response:
            if response.status != 200:
                raise read_error(response)
            return response.read_all(ERROR_LIMIT)

    runner = OperationRunner(bucket.transport, facts.store.bucket)
    return lambda: runner.run(Operation.LIST, facts.store.prefix, call)


def _refused(what: str, exc: S3MountError) -> Finding:
    if isinstance(exc, AccessDenied) and exc.status == 400 and exc.code in KEY_REFUSALS:
        return failure(f"{what} is refused: it is encrypted with a customer key", _NEEDS_KEY)
    if isinstance(exc, AccessDenied) and exc.code != "InvalidObjectState":
        return failure(f"{what} is refused ({_code(exc)})", _NEEDS_GET)
    return failure(f"{what} fails: {exc}", "try again; look at the state of the store")


def _code(exc: S3MountError) -> str:
    return exc.code or f"HTTP {exc.status}"

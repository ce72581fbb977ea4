"""Check of a bucket with versions: whether it has any; at the start, or with the first request.

A listing of versions tells it, unless all are of objects that were put while none were kept. Then
the bucket's configuration is asked (GetBucketVersioning), which not everybody may read.
"""

import logging
from typing import Final, Protocol

import trio

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, NoPast, NotFound, S3MountError, SetupError
from s3mount.s3.model import NULL_VERSION, Reason, VersionPage, VersionQuery
from s3mount.s3.views.moment import show_moment

log = logging.getLogger(__name__)

ROWS: Final = 100  # of the versions that are looked at
_UNTOLD: Final = "bucket %r may keep no versions: none was seen, and the store does not tell"
_UNKNOWN: Final = (400, 404, 405, 501)  # statuses by which a store refuses what it does not know


class VersionedBucket(Protocol):
    """A bucket that can be asked for its versions."""

    async def list_versions(self, query: VersionQuery) -> VersionPage: ...
    async def has_versioning(self) -> bool: ...


async def check_versioning(config: StoreConfig, bucket: VersionedBucket) -> None:
    """Check that *bucket* has what `--at` or `--versions` shows, and log what is shown.

    Raises SetupError if its versions cannot be listed, or if it keeps none for `--at`.
    """
    option = "--versions" if config.at_ns is None else "--at"
    try:
        has_any = await _has_any(config, bucket)
    except S3MountError as exc:
        raise SetupError(_refusal(option, exc), bucket=config.bucket, code=exc.code) from exc
    if not has_any:
        _report_none(config, has_versioning=await _has_versioning(bucket))
    if config.at_ns is not None:
        log.info("showing the bucket as it was at %s", show_moment(config.at_ns))


class PastCheck:
    """Check of one of many buckets, whose mount has started: whether *bucket* has a past.

    A past is looked for until there is one; callers at the same time share the requests, and what
    they fail with: each would wait for the timeouts of all before it.
    """

    def __init__(self, config: StoreConfig, bucket: VersionedBucket) -> None:
        self._config = config
        self._bucket = bucket
        self._has_past = False
        self._checking = trio.Lock()  # held by the caller that looks
        self._failures = 0
        self._failure: S3MountError | None = None  # the last of them

    async def check(self) -> None:
        """Return if the bucket has a past. Raises NoPast, or what the store refuses with."""
        if self._has_past:
            return
        failures = self._failures
        async with self._checking:
            if self._has_past:
                return
            if self._failure is not None and self._failures != failures:
                raise self._failure.detached()
            try:
                await self._look()
            except S3MountError as exc:
                self._failures += 1
                self._failure = exc.detached()
                raise
            self._has_past = True

    async def _look(self) -> None:
        name = self._config.bucket
        try:
            if await _has_any(self._config, self._bucket):
                return
        except S3MountError as exc:
            if not _is_unknown(exc):
                raise
            text = f"--at: the store does not list the versions of bucket {name!r} ({exc})"
            raise NoPast(text, bucket=name, status=exc.status, code=exc.code) from exc
        try:
            has_past = await self._bucket.has_versioning()
        except S3MountError as exc:  # any other failure may hide that it keeps none
            if not (isinstance(exc, AccessDenied) or _is_unknown(exc)):
                raise
            log.warning(_UNTOLD, name)
            return
        if not has_past:
            raise NoPast(f"--at: bucket {name!r} keeps no versions, so it has no past", bucket=name)


def _is_unknown(exc: S3MountError) -> bool:
    """Whether the store refuses a request that it does not know."""
    return exc.status in _UNKNOWN and not isinstance(exc, NotFound)


async def _has_any(config: StoreConfig, bucket: VersionedBucket) -> bool:
    """Whether a version was seen that was put while versions were kept."""
    query = VersionQuery(config.prefix, max_keys=ROWS, reason=Reason.CHECK)
    page = await bucket.list_versions(query)
    return any(row.version_id != NULL_VERSION for row in page.versions)


async def _has_versioning(bucket: VersionedBucket) -> bool | None:
    """Return whether the bucket keeps versions, or did; None if the store does not tell."""
    try:
        return await bucket.has_versioning()
    except S3MountError as exc:
        log.debug("the store does not tell whether the bucket keeps versions: %s", exc)
        return None


def _report_none(config: StoreConfig, *, has_versioning: bool | None) -> None:
    """Report that no version was seen: log it, or raise SetupError."""
    if has_versioning:
        return
    name = f"bucket {config.bucket!r}"
    if has_versioning is None:
        log.warning(_UNTOLD, config.bucket)
    elif config.at_ns is None:
        log.warning("%s keeps no versions: --versions shows none but the current ones", name)
    else:
        raise SetupError(
            f"{name} keeps no versions, so its past cannot be shown: mount it without --at, and "
            "turn versioning on for the future",
            bucket=config.bucket,
        )


def _refusal(option: str, exc: S3MountError) -> str:
    if exc.status in _UNKNOWN:
        return f"{option}: the store does not list versions ({exc}): mount without {option}"
    if isinstance(exc, AccessDenied):
        return f"{option}: listing versions is denied ({exc}): allow s3:ListBucketVersions"
    return f"{option}: versions cannot be listed: {exc}"

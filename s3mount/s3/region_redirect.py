"""Redirect of a bucket's requests to the region that the bucket is in.

S3 answers a request that comes to another region, or is signed for one, with the region of the
bucket. The response to a HEAD has it in a header, or not at all.
"""

import re
from typing import Final

from s3mount.errors import S3MountError
from s3mount.s3.transport import ErrorResponse, ErrorResponseError, Retryable

REGIONS_MAX: Final = 3  # that a bucket is looked for in
REDIRECT: Final = "PermanentRedirect"  # of a response without a code, and of no end of redirects
# codes for a wrong region; a status if the response has no code
REDIRECTS: Final = {
    *("PermanentRedirect", "TemporaryRedirect", "Redirect", "301", "302", "307"),
    *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "BadRequest", "400"),
}
_REGION_CODES: Final = ("PermanentRedirect", "AuthorizationHeaderMalformed")  # of nothing else
_REDIRECT_STATUSES: Final = (301, 302, 307)
_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,63}", re.ASCII)  # it becomes a label of a host name


def unwrapped(exc: S3MountError) -> S3MountError | Retryable:
    """Return the failure of the attempt, whose `__cause__` is the exception of a library."""
    return exc.__cause__ if isinstance(exc.__cause__, Retryable) else exc


def region_of_redirect(failure: S3MountError | Retryable) -> str | None:
    """Return the region that *failure* names; None if it is no redirect, or names none."""
    response = _redirect(failure)
    if response is None or response.region is None:
        return None
    return response.region if _REGION.fullmatch(response.region) else None


def is_redirect(failure: S3MountError | Retryable) -> bool:
    """Whether *failure* may be about the region, which it need not name."""
    return _redirect(failure) is not None


def leads_elsewhere(error: BaseException) -> bool:
    """Whether *error* is a response that another region has the bucket, named or not."""
    if not isinstance(error, S3MountError):
        return False
    failure = unwrapped(error)
    is_named = region_of_redirect(failure) is not None
    return is_named or (is_redirect(failure) and error.status in _REDIRECT_STATUSES)


def leads_to_other(region: str, error: BaseException) -> bool:
    """Whether *error*, of a request in *region*, names another one that has the bucket."""
    if not isinstance(error, S3MountError):
        return False
    other = region_of_redirect(unwrapped(error))
    return other is not None and other != region


def redirect_reason(response: ErrorResponse) -> str | None:
    """Return in words where *response* says that the bucket is; None if it may mean all else."""
    if response.code not in _REGION_CODES:
        return None
    if response.region is None or not _REGION.fullmatch(response.region):
        return f"the bucket is elsewhere, check --region and --endpoint-url: {response.code}"
    region = response.region
    return (
        f"the bucket is in region {region!r} now, check --region or mount it anew: {response.code}"
    )


def _redirect(failure: S3MountError | Retryable) -> ErrorResponse | None:
    cause = failure.__cause__
    if not isinstance(cause, ErrorResponseError):
        return None
    response = cause.response
    return response if (response.code or str(response.status)) in REDIRECTS else None

"""Request forms: what a GET or HEAD carries that a store may not understand.

Pure. A form is given up for another only if the store refuses it, or if the body was packed or
unpacked on its way. Each form is tried once.
"""

from typing import Final, NamedTuple

from s3mount.errors import AccessDenied
from s3mount.s3.operations import error_mapping
from s3mount.s3.operations.content_coding import TransformedBodyError, UnlocatedPartError
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.transport import GZIP, IDENTITY, ErrorResponse, ErrorResponseError, Retryable

_OF_CHECKSUMS: Final = frozenset((400, 403, 501))
_OF_RANGES: Final = frozenset((400, 405, 416, 501))
_UNKNOWN: Final = frozenset((405, 501))
_VAGUE: Final = frozenset(("", "BadRequest", "SignatureDoesNotMatch"))


class RequestForm(NamedTuple):
    """Optional parts of a GET, beside its key and its condition.

    *checksums*: whole objects are requested with `x-amz-checksum-mode`. *ranges*: parts are
    requested with Range, else the whole object is, and read as far as is needed.
    """

    checksums: bool = True
    ranges: bool = True
    accept_encoding: str = GZIP


def other_form(form: RequestForm, exc: Exception, *, is_whole: bool | None) -> RequestForm | None:
    """Return the form to try after *exc*; None if *exc* has another cause.

    *is_whole*: the whole object was requested, so without Range; None for a HEAD.
    """
    if isinstance(exc, UnlocatedPartError):
        return form._replace(ranges=False) if form.ranges and is_whole is False else None
    if isinstance(exc, TransformedBodyError):
        other = IDENTITY if form.accept_encoding == GZIP else GZIP
        return form._replace(accept_encoding=other)
    if not isinstance(exc, ErrorResponseError) or is_whole is None:
        return None
    if is_whole and form.checksums and _may_refuse(exc.response, _OF_CHECKSUMS):
        return form._replace(checksums=False)
    if not is_whole and form.ranges and _may_refuse(exc.response, _OF_RANGES):
        return form._replace(ranges=False)
    return None


def says_unknown(exc: Exception) -> bool:
    """Whether *exc* says by itself that the store does not know what was requested.

    A balancer may say 400 without a word now and then, and keys may have been replaced.
    """
    if not isinstance(exc, ErrorResponseError):
        return False
    response = exc.response
    return response.status in _UNKNOWN or response.code not in _VAGUE


def is_final(exc: Exception) -> bool:
    """Whether *exc* is a refusal that no repeat of the request would mend."""
    if not isinstance(exc, ErrorResponseError):
        return False
    meaning = error_mapping.from_error_response(exc.response, Operation.GET, bucket="", key="")
    return not isinstance(meaning, Retryable)


def _may_refuse(error: ErrorResponse, statuses: frozenset[int]) -> bool:
    """Whether *error* may be about a header, since nothing else explains it."""
    if error.code == "SignatureDoesNotMatch":  # the store has not signed a header that we have
        return 403 in statuses
    meaning = error_mapping.from_error_response(error, Operation.GET, bucket="", key="")
    return error.status in statuses and not isinstance(meaning, Retryable | AccessDenied)

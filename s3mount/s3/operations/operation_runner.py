"""Calls that send a request, with every failure of them mapped to one of ours."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from s3mount.errors import S3MountError
from s3mount.s3.limits import ERROR_LIMIT
from s3mount.s3.location import refused_redirect
from s3mount.s3.operations import error_mapping
from s3mount.s3.operations.error_mapping import Operation, RequestFailure
from s3mount.s3.operations.xml_document import read_error_document
from s3mount.s3.transport import (
    CutShortError,
    ErrorResponse,
    ErrorResponseError,
    InvalidResponseError,
    Response,
    Retryable,
    Transport,
)

T = TypeVar("T")
Arguments = ParamSpec("Arguments")


class OperationRunner:
    """Runner of operations on *bucket* over *transport*."""

    def __init__(self, transport: Transport, bucket: str) -> None:
        self.transport = transport
        self.bucket = bucket

    def run(
        self,
        operation: Operation,
        key: str,
        call: Callable[Arguments, T],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> T:
        """Return what *call* returns; its failures are those of *operation* on *key*."""
        try:
            return call(*args, **kwargs)
        except (ErrorResponseError, InvalidResponseError, OSError) as exc:
            raise self.failure(exc, operation, key) from exc

    def failure(self, exc: Exception, operation: Operation, key: str) -> RequestFailure:
        """Return what *exc*, of *operation* on *key*, means."""
        where = {"bucket": self.bucket, "key": key}
        match exc:
            case ErrorResponseError(response=response):
                failure = error_mapping.from_error_response(response, operation, **where)
                if isinstance(failure, S3MountError) and self._was_clock_wrong(response):
                    return Retryable(failure)
                return failure
            case OSError():
                return error_mapping.from_network_error(exc, operation, **where)
            case _:
                is_cut = isinstance(exc, CutShortError)
                return error_mapping.from_invalid_response(
                    str(exc), operation, is_cut=is_cut, **where
                )

    def _was_clock_wrong(self, response: ErrorResponse) -> bool:
        """Whether the store refused our clock, which now follows the store's.

        A HEAD is refused without a code.
        """
        is_suspect = response.status == 403 and response.code in ("RequestTimeTooSkewed", "")
        return is_suspect and self.transport.adjust_clock(response.date)


def read_error(response: Response) -> ErrorResponseError:
    """Read the error document of *response*, and return it as an exception.

    The status of a server error is enough, however little of the document arrives. Everything else
    must arrive in full: a cut 404 is no absence.
    """
    headers = response.headers
    code, request_id, region = "", None, None
    try:
        code, request_id, region = read_error_document(response.read_all(ERROR_LIMIT))
    except (OSError, InvalidResponseError):
        if response.status < 500:
            raise
    return ErrorResponseError(
        ErrorResponse(
            status=response.status,
            code=code or headers.get("x-minio-error-code", ""),  # MinIO sends it with a HEAD too
            request_id=headers.get("x-amz-request-id") or request_id,
            is_html=_is_html(response),
            region=region or headers.get("x-amz-bucket-region"),
            date=headers.get("date"),
            redirect=refused_redirect(response.status, headers),
        )
    )


def _is_html(response: Response) -> bool:
    """Whether the body is HTML or JSON. moto says text/html of an empty body."""
    content_type = response.headers.get("content-type", "").lower()
    is_html_or_json = content_type.startswith(("text/html", "application/json"))
    return is_html_or_json and response.headers.get("content-length") != "0"

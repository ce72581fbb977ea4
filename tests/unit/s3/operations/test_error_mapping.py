import pytest

from s3mount.errors import AccessDenied, NotFound, S3MountError, StaleVersion, StoreError
from s3mount.s3.operations.error_mapping import (
    ErrorResponse,
    Operation,
    from_error_response,
    from_invalid_response,
)
from s3mount.s3.transport import Retryable

LASTING = [
    (403, "AccessDenied", Operation.VERSION, AccessDenied),
    (403, "", Operation.OBJECT, AccessDenied),
    (403, "InvalidObjectState", Operation.VERSION, AccessDenied),
    (400, "KMS.DisabledException", Operation.VERSION, AccessDenied),
    (401, "", Operation.LISTING, AccessDenied),
    (403, "RequestTimeTooSkewed", Operation.LISTING, AccessDenied),
    (404, "NoSuchKey", Operation.VERSION, StaleVersion),
    (404, "NoSuchVersion", Operation.VERSION, StaleVersion),
    (404, "NoSuchBucket", Operation.VERSION, NotFound),
    (404, "NoSuchKey", Operation.CHANGE, NotFound),
    (404, "", Operation.OBJECT, NotFound),
    (404, "NoSuchBucket", Operation.LISTING, NotFound),
    (412, "PreconditionFailed", Operation.VERSION, StaleVersion),
    (416, "InvalidRange", Operation.VERSION, StaleVersion),
    (405, "MethodNotAllowed", Operation.VERSION, StaleVersion),
    (416, "InvalidRange", Operation.CHANGE, StoreError),
    (304, "", Operation.CHANGE, StoreError),
    (501, "NotImplemented", Operation.LISTING, StoreError),
    (400, "InvalidArgument", Operation.LISTING, StoreError),
    (301, "PermanentRedirect", Operation.OBJECT, StoreError),
]
PASSING = [
    (500, "InternalError", Operation.OBJECT),
    (502, "", Operation.VERSION),
    (504, "", Operation.LISTING),
    (400, "RequestTimeout", Operation.VERSION),
    (409, "OperationAborted", Operation.VERSION),
    (200, "InternalError", Operation.LISTING),
    (404, "", Operation.LISTING),
    (307, "TemporaryRedirect", Operation.LISTING),
]


@pytest.mark.parametrize(("status", "code", "asked", "kind"), LASTING)
def test_what_no_retry_would_mend(
    status: int, code: str, asked: Operation, kind: type[S3MountError]
) -> None:
    outcome = from_error_response(
        ErrorResponse(status=status, code=code, request_id="r"), asked, bucket="b", key="k"
    )

    assert type(outcome) is kind
    assert (
        outcome.bucket,
        outcome.key,
        outcome.status,
        outcome.code or "",
        outcome.request_id,
    ) == (
        "b",
        "k",
        status,
        code,
        "r",
    )


@pytest.mark.parametrize(("status", "code", "asked"), PASSING)
def test_what_may_pass(status: int, code: str, asked: Operation) -> None:
    outcome = from_error_response(
        ErrorResponse(status=status, code=code), asked, bucket="b", key="k"
    )

    assert isinstance(outcome, Retryable)
    assert type(outcome.failure) is StoreError
    assert not outcome.is_throttle
    assert not outcome.is_stale_credentials


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (503, ""), (429, ""), (400, "Throttling"), (200, "SlowDown")],
)
def test_what_asks_for_fewer_requests(status: int, code: str) -> None:
    outcome = from_error_response(
        ErrorResponse(status=status, code=code), Operation.OBJECT, bucket="b", key="k"
    )

    assert isinstance(outcome, Retryable)
    assert outcome.is_throttle


@pytest.mark.parametrize(
    ("status", "code"), [(400, "ExpiredToken"), (403, "InvalidAccessKeyId"), (400, "")]
)
def test_what_newer_credentials_may_mend(status: int, code: str) -> None:
    outcome = from_error_response(
        ErrorResponse(status=status, code=code), Operation.OBJECT, bucket="b", key="k"
    )

    assert isinstance(outcome, Retryable)
    assert outcome.is_stale_credentials


@pytest.mark.parametrize("asked", [Operation.VERSION, Operation.CHANGE, Operation.LISTING])
def test_a_web_page_is_never_an_absence(asked: Operation) -> None:
    assert isinstance(
        from_error_response(ErrorResponse(status=404, is_page=True), asked, bucket="b", key="k"),
        Retryable,
    )


@pytest.mark.parametrize("asked", Operation)
@pytest.mark.parametrize("status", range(400, 600))
def test_only_a_404_is_an_absence(status: int, asked: Operation) -> None:
    outcome = from_error_response(ErrorResponse(status=status), asked, bucket="b", key="k")

    failure = outcome.failure if isinstance(outcome, Retryable) else outcome
    assert isinstance(failure, NotFound) <= (status == 404)


def test_what_a_store_says_is_escaped_and_cut_in_messages() -> None:
    forged = ErrorResponse(
        status=403, code="x (HTTP 403)\n2026-11-26 02:00:00 CRITICAL root: forged" + "A" * 60_000
    )

    refused = str(from_error_response(forged, Operation.VERSION, bucket="b", key="k"))
    wrong = str(
        from_invalid_response(
            "a document <\x1b[2J\u2028" + "A" * 60_000, Operation.LISTING, bucket="b", key="k"
        )
    )

    for message in (refused, wrong):
        assert message.isprintable()
        assert len(message.encode()) < 300

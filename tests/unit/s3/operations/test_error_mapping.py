import pytest

from s3mount.errors import (
    AccessDenied,
    Archived,
    CredentialsRefused,
    NotFound,
    S3MountError,
    StaleVersion,
    StoreError,
)
from s3mount.s3.operations.error_mapping import (
    Operation,
    from_error_response,
    from_invalid_response,
)
from s3mount.s3.transport import ErrorResponse, Retryable

PERMANENT = [
    (403, "AccessDenied", Operation.GET, CredentialsRefused),
    (403, "", Operation.HEAD, CredentialsRefused),
    (403, "InvalidAccessKeyId", Operation.HEAD, CredentialsRefused),
    (403, "InvalidTokenId", Operation.HEAD, CredentialsRefused),
    (403, "SomethingElse", Operation.LIST, CredentialsRefused),
    (400, "InvalidToken", Operation.LIST, CredentialsRefused),
    (400, "InvalidRequest", Operation.GET, AccessDenied),
    (400, "InvalidArgument", Operation.REVALIDATION, AccessDenied),
    (403, "InvalidObjectState", Operation.GET, Archived),
    (400, "KMS.DisabledException", Operation.GET, AccessDenied),
    (401, "", Operation.LIST, CredentialsRefused),
    (403, "RequestTimeTooSkewed", Operation.LIST, AccessDenied),
    (404, "NoSuchKey", Operation.GET, StaleVersion),
    (404, "NoSuchVersion", Operation.GET, StaleVersion),
    (404, "NoSuchBucket", Operation.GET, NotFound),
    (404, "NoSuchKey", Operation.REVALIDATION, NotFound),
    (404, "", Operation.HEAD, NotFound),
    (404, "NoSuchBucket", Operation.LIST, NotFound),
    (404, "NoSuchKey", Operation.LIST, NotFound),
    (404, "NoSuchTenant", Operation.LIST, StoreError),
    (404, "XAdminUserNotFound", Operation.LIST, CredentialsRefused),
    (404, "XAdminUserNotFound", Operation.GET, CredentialsRefused),
    (412, "PreconditionFailed", Operation.GET, StaleVersion),
    (416, "InvalidRange", Operation.GET, StaleVersion),
    (405, "MethodNotAllowed", Operation.GET, StaleVersion),
    (416, "InvalidRange", Operation.REVALIDATION, StoreError),
    (304, "", Operation.REVALIDATION, StoreError),
    (501, "NotImplemented", Operation.LIST, StoreError),
    (400, "InvalidArgument", Operation.LIST, StoreError),
    (301, "PermanentRedirect", Operation.HEAD, StoreError),
]
TRANSIENT = [
    (500, "InternalError", Operation.HEAD),
    (502, "", Operation.GET),
    (504, "", Operation.LIST),
    (400, "RequestTimeout", Operation.GET),
    (409, "OperationAborted", Operation.GET),
    (200, "InternalError", Operation.LIST),
    (404, "", Operation.LIST),
    (307, "TemporaryRedirect", Operation.LIST),
]


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize(
    ("status", "code"), [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")]
)
@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("eu-north-1", "the bucket is in region 'eu-north-1' now, check --region"),
        (None, "the bucket is elsewhere, check --region and --endpoint-url"),
        ("no region", "the bucket is elsewhere, check --region and --endpoint-url"),
    ],
)
def test_a_redirect_says_where_the_bucket_is(
    operation: Operation, status: int, code: str, region: str | None, expected: str
) -> None:
    response = ErrorResponse(status=status, code=code, region=region)

    failure = from_error_response(response, operation, bucket="b", key="k")

    assert isinstance(failure, StoreError)
    assert str(failure).startswith(f"{operation.value} refused: {expected}")


@pytest.mark.parametrize(("status", "code", "operation", "kind"), PERMANENT)
def test_what_no_retry_mends_is_a_failure_of_its_kind(
    status: int, code: str, operation: Operation, kind: type[S3MountError]
) -> None:
    outcome = from_error_response(
        ErrorResponse(status=status, code=code, request_id="r"), operation, bucket="b", key="k"
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


@pytest.mark.parametrize(("status", "code", "operation"), TRANSIENT)
def test_what_is_transient_may_be_retried(status: int, code: str, operation: Operation) -> None:
    outcome = from_error_response(
        ErrorResponse(status=status, code=code), operation, bucket="b", key="k"
    )

    assert isinstance(outcome, Retryable)
    assert type(outcome.failure) is StoreError
    assert not outcome.is_throttle
    assert not outcome.is_stale_credentials


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (503, ""), (429, ""), (400, "Throttling"), (200, "SlowDown")],
)
def test_a_throttled_request_may_be_retried_with_fewer_beside_it(status: int, code: str) -> None:
    outcome = from_error_response(
        ErrorResponse(status=status, code=code), Operation.HEAD, bucket="b", key="k"
    )

    assert isinstance(outcome, Retryable)
    assert outcome.is_throttle


@pytest.mark.parametrize(
    ("status", "code"), [(400, "ExpiredToken"), (403, "RequestExpired"), (400, "")]
)
def test_credentials_that_the_store_refuses_may_be_stale(status: int, code: str) -> None:
    outcome = from_error_response(
        ErrorResponse(status=status, code=code), Operation.HEAD, bucket="b", key="k"
    )

    assert isinstance(outcome, Retryable)
    assert outcome.is_stale_credentials


@pytest.mark.parametrize("operation", [Operation.GET, Operation.REVALIDATION, Operation.LIST])
def test_a_web_page_is_never_an_absence(operation: Operation) -> None:
    assert isinstance(
        from_error_response(
            ErrorResponse(status=404, is_html=True), operation, bucket="b", key="k"
        ),
        Retryable,
    )


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("status", range(400, 600))
def test_only_a_404_is_an_absence(status: int, operation: Operation) -> None:
    outcome = from_error_response(ErrorResponse(status=status), operation, bucket="b", key="k")

    failure = outcome.failure if isinstance(outcome, Retryable) else outcome
    assert isinstance(failure, NotFound) <= (status == 404)


def test_what_a_store_says_is_escaped_and_cut_in_messages() -> None:
    forged = ErrorResponse(
        status=403, code="x (HTTP 403)\n2026-11-26 02:00:00 CRITICAL root: forged" + "A" * 60_000
    )

    refused = str(from_error_response(forged, Operation.GET, bucket="b", key="k"))
    wrong = str(
        from_invalid_response(
            "a document <\x1b[2J\u2028" + "A" * 60_000, Operation.LIST, bucket="b", key="k"
        )
    )

    for message in (refused, wrong):
        assert message.isprintable()
        assert len(message.encode()) < 300

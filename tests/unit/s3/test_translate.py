import pytest

from s3mount.errors import AccessDenied, NotFound, S3MountError, StoreFailed, VersionGone
from s3mount.s3.translate import Asked, Refusal, fault, nonsense
from s3mount.s3.transport import Retryable

LASTING = [
    (403, "AccessDenied", Asked.VERSION, AccessDenied),
    (403, "", Asked.OBJECT, AccessDenied),
    (403, "InvalidObjectState", Asked.VERSION, AccessDenied),
    (400, "KMS.DisabledException", Asked.VERSION, AccessDenied),
    (401, "", Asked.LISTING, AccessDenied),
    (403, "RequestTimeTooSkewed", Asked.LISTING, AccessDenied),
    (404, "NoSuchKey", Asked.VERSION, VersionGone),
    (404, "NoSuchVersion", Asked.VERSION, VersionGone),
    (404, "NoSuchBucket", Asked.VERSION, NotFound),
    (404, "NoSuchKey", Asked.CHANGE, NotFound),
    (404, "", Asked.OBJECT, NotFound),
    (404, "NoSuchBucket", Asked.LISTING, NotFound),
    (412, "PreconditionFailed", Asked.VERSION, VersionGone),
    (416, "InvalidRange", Asked.VERSION, VersionGone),
    (405, "MethodNotAllowed", Asked.VERSION, VersionGone),
    (416, "InvalidRange", Asked.CHANGE, StoreFailed),
    (304, "", Asked.CHANGE, StoreFailed),
    (501, "NotImplemented", Asked.LISTING, StoreFailed),
    (400, "InvalidArgument", Asked.LISTING, StoreFailed),
    (301, "PermanentRedirect", Asked.OBJECT, StoreFailed),
]
PASSING = [
    (500, "InternalError", Asked.OBJECT),
    (502, "", Asked.VERSION),
    (504, "", Asked.LISTING),
    (400, "RequestTimeout", Asked.VERSION),
    (409, "OperationAborted", Asked.VERSION),
    (200, "InternalError", Asked.LISTING),
    (404, "", Asked.LISTING),
    (307, "TemporaryRedirect", Asked.LISTING),
]


@pytest.mark.parametrize(("status", "code", "asked", "kind"), LASTING)
def test_what_no_retry_would_mend(status: int, code: str, asked: Asked, kind: type[S3MountError]) -> None:
    outcome = fault(Refusal(status=status, code=code, request_id="r"), asked, bucket="b", key="k")

    assert type(outcome) is kind
    assert (outcome.bucket, outcome.key, outcome.status, outcome.code or "", outcome.request_id) == (
        "b",
        "k",
        status,
        code,
        "r",
    )


@pytest.mark.parametrize(("status", "code", "asked"), PASSING)
def test_what_may_pass(status: int, code: str, asked: Asked) -> None:
    outcome = fault(Refusal(status=status, code=code), asked, bucket="b", key="k")

    assert isinstance(outcome, Retryable)
    assert type(outcome.failure) is StoreFailed
    assert not outcome.is_throttle
    assert not outcome.is_stale_credentials


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (503, ""), (429, ""), (400, "Throttling"), (200, "SlowDown")]
)
def test_what_asks_for_fewer_requests(status: int, code: str) -> None:
    outcome = fault(Refusal(status=status, code=code), Asked.OBJECT, bucket="b", key="k")

    assert isinstance(outcome, Retryable)
    assert outcome.is_throttle


@pytest.mark.parametrize(("status", "code"), [(400, "ExpiredToken"), (403, "InvalidAccessKeyId"), (400, "")])
def test_what_newer_credentials_may_mend(status: int, code: str) -> None:
    outcome = fault(Refusal(status=status, code=code), Asked.OBJECT, bucket="b", key="k")

    assert isinstance(outcome, Retryable)
    assert outcome.is_stale_credentials


@pytest.mark.parametrize("asked", [Asked.VERSION, Asked.CHANGE, Asked.LISTING])
def test_a_web_page_is_never_an_absence(asked: Asked) -> None:
    assert isinstance(fault(Refusal(status=404, is_page=True), asked, bucket="b", key="k"), Retryable)


@pytest.mark.parametrize("asked", Asked)
@pytest.mark.parametrize("status", range(400, 600))
def test_only_a_404_is_an_absence(status: int, asked: Asked) -> None:
    outcome = fault(Refusal(status=status), asked, bucket="b", key="k")

    failure = outcome.failure if isinstance(outcome, Retryable) else outcome
    assert isinstance(failure, NotFound) <= (status == 404)


def test_what_a_store_says_is_escaped_and_cut_in_messages() -> None:
    forged = Refusal(status=403, code="x (HTTP 403)\n2026-11-26 02:00:00 CRITICAL root: forged" + "A" * 60_000)

    refused = str(fault(forged, Asked.VERSION, bucket="b", key="k"))
    wrong = str(nonsense("a document <\x1b[2J\u2028" + "A" * 60_000, Asked.LISTING, bucket="b", key="k"))

    for message in (refused, wrong):
        assert message.isprintable()
        assert len(message.encode()) < 300

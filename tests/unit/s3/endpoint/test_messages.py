"""Messages about an account whose buckets cannot be listed: what is wrong, and what to do."""

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, S3MountError, StoreError
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.messages import setup_error
from s3mount.s3.endpoint.resolve import resolve_endpoint
from s3mount.s3.transport import ErrorResponse, ErrorResponseError
from tests.unit.s3.clients import session
from tests.unit.s3.scripted_server import FixedCredentials

TO_A_PAGE = "to https://aws.amazon.com/s3/"


def failure_of(kind: type[S3MountError], response: ErrorResponse) -> S3MountError:
    failure = kind("refused", status=response.status, code=response.code or None)
    failure.__cause__ = ErrorResponseError(response)
    return failure


@pytest.mark.parametrize(
    ("kind", "response", "signs", "parts"),
    [
        (
            *(AccessDenied, ErrorResponse(status=403, code="AccessDenied"), True),
            ("s3:ListAllMyBuckets", "--buckets NAME,NAME"),
        ),
        (
            *(AccessDenied, ErrorResponse(status=403, code="AccessDenied"), False),
            ("omit --no-sign-request", "--buckets NAME,NAME"),
        ),
        (
            *(StoreError, ErrorResponse(status=307, redirect=TO_A_PAGE), False),
            ("omit --no-sign-request", "--buckets NAME,NAME"),
        ),
        (
            *(StoreError, ErrorResponse(status=307, redirect=TO_A_PAGE), True),
            ("redirects to https://aws.amazon.com/s3/",),
        ),
        (
            *(StoreError, ErrorResponse(status=501, code="NotImplemented"), True),
            ("does not list its buckets ('NotImplemented', HTTP 501)", "--buckets NAME,NAME"),
        ),
        (
            *(AccessDenied, ErrorResponse(status=403, code="InvalidAccessKeyId"), True),
            ("does not know this access key",),
        ),
        (
            *(StoreError, ErrorResponse(status=404, code="NoSuchBucket"), True),
            ("does not list its buckets", "check --endpoint-url"),
        ),
    ],
)
def test_a_refused_list_of_buckets_has_its_message(
    kind: type[S3MountError],
    response: ErrorResponse,
    signs: bool,  # noqa: FBT001
    parts: tuple[str, ...],
) -> None:
    config = StoreConfig(bucket="", endpoint_url="https://store.example.com", sign_requests=signs)
    keys = FixedCredentials(FrozenCredentials("AKID", "secret"))
    endpoint = resolve_endpoint(config, session(), region="us-east-1", credentials=keys)

    message = str(setup_error(config, endpoint, failure_of(kind, response)))

    assert all(part in message for part in parts), message
    assert "bucket ''" not in message

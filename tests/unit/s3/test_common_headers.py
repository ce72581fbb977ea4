"""Each call agrees to pay and names the owner, over either transport, if the user wants it."""

from collections.abc import Callable
from typing import Any

import pytest

from s3mount.config import StoreConfig
from s3mount.s3.composition import make_operations, make_transport
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import resolve_endpoint
from s3mount.s3.model import ByteRange, ListQuery, ObjectVersion
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.head_metadata import MetadataQuery
from s3mount.s3.request_log import RequestLog
from tests.unit.s3.clients import read, session, soon
from tests.unit.s3.scripted_server import FixedCredentials, head, part, says, scripted

BODY = b"hello"
VERSION = ObjectVersion("bucket", "k", "abc", len(BODY))
WHOLE = head(Content_Length=len(BODY), x_amz_request_charged="requester")
PAGE = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
LISTING = head(Content_Length=len(PAGE), x_amz_request_charged="requester") + PAGE

CALLS: dict[str, tuple[Callable[[BucketOperations], object], bytes]] = {
    "GetObject": (
        lambda it: read(it, VERSION, ByteRange(0, 2)),
        part(BODY, 0, 2, x_amz_request_charged="requester"),
    ),
    "GetObject of the first bytes": (
        lambda it: it.revalidate(VERSION, 9, deadline=soon()),
        WHOLE + BODY,
    ),
    "GetObject in the place of HeadObject": (
        lambda it: it.head_by_get("k", is_whole=True, deadline=soon()),
        WHOLE + BODY,
    ),
    "HeadObject": (lambda it: it.head("k", deadline=soon()), WHOLE),
    "HeadObject of all metadata": (
        lambda it: it.metadata(MetadataQuery("k"), deadline=soon()),
        WHOLE,
    ),
    "ListObjects": (lambda it: it.list_page(ListQuery(""), deadline=soon()), LISTING),
    "ListObjectsV2": (lambda it: it.list_page(ListQuery(""), deadline=soon()), LISTING),
}


@pytest.mark.parametrize("transport", ["native", "boto3"])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("option", "header", "value"),
    [
        ({"requester_pays": True}, "x-amz-request-payer", "requester"),
        ({"requester_pays": False}, "x-amz-request-payer", None),
        ({"expected_bucket_owner": "012345678901"}, "x-amz-expected-bucket-owner", "012345678901"),
        ({}, "x-amz-expected-bucket-owner", None),
    ],
)
def test_each_call_says_who_pays_and_owns(
    option: dict[str, Any], header: str, value: str | None, name: str, transport: str
) -> None:
    call, response = CALLS[name]
    with scripted(says(response)) as server:
        config = StoreConfig(
            bucket="bucket",
            endpoint_url=f"http://127.0.0.1:{server.port}",
            list_version="1" if name == "ListObjects" else "auto",
            transport=transport,  # type: ignore[arg-type]  # a parameter
            **option,
        )
        keys = FixedCredentials(FrozenCredentials("AKID", "secret"))
        endpoint = resolve_endpoint(config, session(), region="us-east-1", credentials=keys)
        sender = make_transport(config, endpoint, RequestLog())
        try:
            call(make_operations(config, endpoint, sender))
        finally:
            sender.close()

    [request] = server.requests
    lines = dict(line.split(": ", 1) for line in request.lower().splitlines()[1:])
    signed = lines["authorization"].partition("signedheaders=")[2].partition(",")[0].split(";")
    assert lines.get(header) == value
    assert (header in signed) is (value is not None)

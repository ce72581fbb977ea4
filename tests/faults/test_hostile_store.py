"""The hostile store is a correct S3 server while no script says otherwise, as boto3 sees it."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ResponseStreamingError

from tests.faults.bucket import Bucket, Kind
from tests.faults.hostile_store import HostileStore, Step
from tests.faults.http_faults import broken, half_the_body, refused, reset

KEYS = ["a", "a b", "a%2Fb", "b/c", "b/d", "b0", "z", "ü/x"]


@pytest.fixture
def store() -> Iterator[HostileStore]:
    bucket = Bucket("b", page_size=2)
    for key in KEYS:
        bucket.put(key, key.encode() * 10)
    with HostileStore(bucket) as running:
        yield running


@pytest.fixture
def client(store: HostileStore) -> Iterator[Any]:
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    client = boto3.client(
        "s3",
        endpoint_url=store.url,
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",
        config=config,
    )
    yield client
    client.close()


def _listed(client: Any, **query: str) -> tuple[list[str], list[str]]:
    pages = list(client.get_paginator("list_objects_v2").paginate(Bucket="b", **query))
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    return keys, [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]


def test_pages_join_to_the_whole_listing(client: Any) -> None:
    assert _listed(client) == (KEYS, [])


def test_a_delimiter_rolls_keys_up_over_page_boundaries(client: Any) -> None:
    assert _listed(client, Delimiter="/") == (["a", "a b", "a%2Fb", "b0", "z"], ["b/", "ü/"])


def test_a_listing_can_start_after_a_key(client: Any) -> None:
    assert _listed(client, StartAfter="b/c") == (["b/d", "b0", "z", "ü/x"], [])


def test_a_range_is_a_slice(client: Any) -> None:
    response = client.get_object(Bucket="b", Key="a b", Range="bytes=2-4")

    assert response["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (b"a b" * 10)[2:5] == response["Body"].read()


def test_conditional_requests_are_honoured(client: Any) -> None:
    etag = client.head_object(Bucket="b", Key="a")["ETag"]

    assert _status(client, IfMatch='"other"') == 412
    assert _status(client, IfNoneMatch=etag) == 304
    assert _status(client, IfMatch=etag) == 200


def _status(client: Any, **conditions: str) -> int:
    try:
        response = client.get_object(Bucket="b", Key="a", **conditions)
    except ClientError as exc:
        return int(exc.response["ResponseMetadata"]["HTTPStatusCode"])
    return int(response["ResponseMetadata"]["HTTPStatusCode"])


def test_a_step_hits_as_many_requests_as_it_says(store: HostileStore, client: Any) -> None:
    step = Step(Kind.GET, refused(503, "SlowDown"), prefix="a", skip=1, times=2)
    store.misbehave(step)

    assert [_status(client) for _ in range(4)] == [200, 503, 503, 200]
    assert step.hits == 2


def test_ending_the_faults_makes_the_store_correct(store: HostileStore, client: Any) -> None:
    store.misbehave(Step(Kind.GET, broken(half_the_body, reset)))
    with pytest.raises(ResponseStreamingError):
        client.get_object(Bucket="b", Key="a")["Body"].read()

    store.end_faults()

    assert _status(client) == 200

"""Our signatures are botocore's."""

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import urlsplit

import botocore.auth
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.model import ListQuery
from s3mount.s3.native.request_encoding import list_query, object_path, version_query
from s3mount.s3.native.sigv4 import Signer

WORDS = st.text("abcXYZ019/+=", min_size=1, max_size=40)
CREDENTIALS = st.builds(FrozenCredentials, WORDS, WORDS, st.none() | WORDS)
NOW = st.integers(min_value=0, max_value=4_000_000_000)
KEYS = st.text(
    st.characters(codec="utf-8") | st.sampled_from("/.~+ %&?#=\\\udc80\udcff"), min_size=1
)
STANDING = st.dictionaries(
    st.sampled_from(["x-amz-request-payer", "x-amz-expected-bucket-owner", "x-a"]),
    st.text("abc 123", min_size=1).map(str.strip),
)


def theirs(
    credentials: FrozenCredentials, method: str, url: str, standing: dict[str, str], now: int
) -> dict[str, str]:
    request = AWSRequest(method=method, url=url, headers=standing)
    signer = S3SigV4Auth(
        Credentials(credentials.access_key, credentials.secret_key, credentials.token),
        "s3",
        "eu-west-1",
    )
    with patch.object(
        botocore.auth, "get_current_datetime", return_value=datetime.fromtimestamp(now, UTC)
    ):
        signer.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def headers_of(lines: str) -> dict[str, str]:
    assert lines.endswith("\r\n")
    pairs = [line.partition(": ") for line in lines.split("\r\n")[:-1]]
    return {name.lower(): value for name, _, value in pairs}


@given(CREDENTIALS, KEYS, st.sampled_from(["GET", "HEAD"]), st.none() | KEYS, STANDING)
def test_a_request_for_an_object_is_signed_as_by_botocore(
    credentials: FrozenCredentials,
    key: str,
    method: str,
    version_id: str | None,
    standing: dict[str, str],
) -> None:
    now = 1_795_350_707
    path, query = object_path("/bucket", key), version_query(version_id)
    signer = Signer("store.test:9000", "eu-west-1", "s3", standing)

    ours = headers_of(signer.header_lines(credentials, method, path, query, now))

    url = f"http://store.test:9000{path}" + (f"?{query}" if query else "")
    assert {"host": "store.test:9000", **theirs(credentials, method, url, standing, now)} == ours


@given(
    CREDENTIALS,
    st.builds(ListQuery, KEYS, st.sampled_from(["", "/", "+"]), st.none() | KEYS, st.none() | KEYS),
    NOW,
)
def test_a_listing_is_signed_as_by_botocore(
    credentials: FrozenCredentials, asked: ListQuery, now: int
) -> None:
    query = list_query(asked)
    signer = Signer("bucket.store.test", "eu-west-1", "s3", {})

    ours = headers_of(signer.header_lines(credentials, "GET", "/", query, now))

    expected = theirs(credentials, "GET", f"https://bucket.store.test/?{query}", {}, now)
    assert {"host": "bucket.store.test", **expected} == ours


@given(st.lists(st.tuples(CREDENTIALS, NOW), min_size=2, max_size=6))
def test_new_credentials_and_new_days_reach_a_signer_that_keeps_its_keys(
    requests: list[tuple[FrozenCredentials, int]],
) -> None:
    signer = Signer("store.test", "eu-west-1", "s3", {})
    for credentials, now in requests:
        ours = headers_of(signer.header_lines(credentials, "GET", "/k", "", now))

        assert {
            "host": "store.test",
            **theirs(credentials, "GET", "http://store.test/k", {}, now),
        } == ours


@given(KEYS)
def test_a_path_stands_in_a_request_line_as_it_is(key: str) -> None:
    path = object_path("", key)

    assert path.isascii()
    assert path.isprintable()
    assert " " not in path
    assert urlsplit(f"http://h{path}").path == path


def test_a_request_that_is_not_signed_has_the_standing_headers_only() -> None:
    signer = Signer("store.test", "eu-west-1", "s3", {"x-amz-request-payer": "requester"})

    assert signer.unsigned_lines() == "host: store.test\r\nx-amz-request-payer: requester\r\n"


def test_what_is_kept_between_requests_shows_no_key_and_no_token() -> None:
    signer = Signer("store.test", "eu-west-1", "s3", {})
    signer.header_lines(
        FrozenCredentials("AKID", "a-secret", "a-token"), "GET", "/", "", 1_700_000_000
    )

    assert "a-token" not in repr(signer._scope)
    assert "key" not in repr(signer._scope)

"""Our signatures are those of botocore."""

from datetime import UTC, datetime
from hashlib import sha256
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
from s3mount.s3.native.request_encoding import encode_query, object_path
from s3mount.s3.native.sigv4 import Signer
from s3mount.s3.operations.list_dialect import ListObjects

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

OF_AN_OPERATION = st.dictionaries(
    st.sampled_from(["x-amz-checksum-mode", "x-amz-server-side-encryption-customer-key", "x-a"]),
    st.text("abc 123", min_size=1).map(str.strip),
)


def theirs(
    credentials: FrozenCredentials,
    method: str,
    url: str,
    standing: dict[str, str],
    now: int,
    *,
    body: bytes = b"",
) -> dict[str, str]:
    request = AWSRequest(method=method, url=url, headers=standing, data=body)
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


@given(
    CREDENTIALS,
    KEYS,
    st.tuples(st.sampled_from(["GET", "HEAD"]), st.none() | KEYS),
    STANDING,
    OF_AN_OPERATION,
)
def test_a_request_for_an_object_is_signed_as_by_botocore(
    credentials: FrozenCredentials,
    key: str,
    request: tuple[str, str | None],
    standing: dict[str, str],
    headers: dict[str, str],
) -> None:
    now = 1_795_350_707
    method, version_id = request
    path = object_path("/bucket", key)
    query = encode_query((("versionId", version_id),) if version_id else ())
    signer = Signer("store.test:9000", "eu-west-1", "s3", standing)

    ours = headers_of(
        signer.header_lines(credentials, method, path, query, now, headers=tuple(headers.items()))
    )

    url = f"http://store.test:9000{path}" + (f"?{query}" if query else "")
    assert {
        "host": "store.test:9000",
        **theirs(credentials, method, url, standing | headers, now),
    } == ours


@given(
    CREDENTIALS,
    st.builds(ListQuery, KEYS, st.sampled_from(["", "/", "+"]), st.none() | KEYS, st.none() | KEYS),
    NOW,
)
def test_a_listing_is_signed_as_by_botocore(
    credentials: FrozenCredentials, list_query: ListQuery, now: int
) -> None:
    query = encode_query(ListObjects().request(list_query).query)
    signer = Signer("bucket.store.test", "eu-west-1", "s3", {})

    ours = headers_of(signer.header_lines(credentials, "GET", "/", query, now))

    expected = theirs(credentials, "GET", f"https://bucket.store.test/?{query}", {}, now)
    assert {"host": "bucket.store.test", **expected} == ours


@given(CREDENTIALS, KEYS, st.binary(min_size=1), NOW)
def test_a_request_with_a_body_is_signed_as_by_botocore(
    credentials: FrozenCredentials, key: str, body: bytes, now: int
) -> None:
    path, headers = object_path("", key), {"content-type": "application/xml"}
    signer = Signer("store.test", "eu-west-1", "s3", {})

    ours = headers_of(
        signer.header_lines(
            credentials,
            "POST",
            path,
            "restore=",
            now,
            headers=tuple(headers.items()),
            payload=sha256(body).hexdigest(),
        )
    )

    url = f"https://store.test{path}?restore="
    expected = theirs(credentials, "POST", url, headers, now, body=body)
    assert {"host": "store.test", **expected} == ours
    assert not signer._scopes  # each body would leave one


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
def test_a_path_needs_no_more_encoding_in_a_request_line(key: str) -> None:
    path = object_path("", key)

    assert path.isascii()
    assert path.isprintable()
    assert " " not in path
    assert urlsplit(f"http://h{path}").path == path


def test_a_request_that_is_not_signed_has_the_standing_headers_only() -> None:
    signer = Signer("store.test", "eu-west-1", "s3", {"x-amz-request-payer": "requester"})

    assert signer.unsigned_lines() == "host: store.test\r\nx-amz-request-payer: requester\r\n"


def test_the_repr_of_a_kept_scope_shows_no_key_and_no_token() -> None:
    signer = Signer("store.test", "eu-west-1", "s3", {})
    signer.header_lines(
        FrozenCredentials("AKID", "a-secret", "a-token"), "GET", "/", "", 1_700_000_000
    )

    assert "a-token" not in repr(signer._scopes)
    assert "key" not in repr(signer._scopes)

"""What HeadObject tells of one object, over either transport."""

import encodings
import time
from functools import partial

import pytest

from s3mount.errors import NotFound
from s3mount.s3.operations.head_metadata import FIELDS, MetadataQuery, decode_words
from s3mount.s3.transport import Retryable
from tests.unit.s3.clients import TRANSPORTS, client, session, soon
from tests.unit.s3.scripted_server import head, refusal, says


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_all_that_is_told_of_an_object_is_in_its_metadata(transport: str) -> None:
    answer = head(
        Content_Length=7,
        Content_Type="text/plain",
        x_amz_storage_class="GLACIER_IR",
        x_amz_meta_Colour="=?UTF-8?B?w6TDtg==?=",
        x_amz_missing_meta="1",
        x_unknown="not a member",
    )
    with client(transport, says(answer)) as (operations, server):
        found = operations.metadata(MetadataQuery("k", "v1"), deadline=soon())
    assert found.stat.version.size == 7
    assert found.fields["ContentType"] == "text/plain"
    assert found.fields["StorageClass"] == "GLACIER_IR"
    assert found.fields["MissingMeta"] == "1"
    assert "not a member" not in found.fields.values()
    assert found.user == {"colour": "äö"}
    [request] = server.requests
    assert request.startswith("HEAD /bucket/k?versionId=v1")
    assert "x-amz-checksum-mode: ENABLED" in request


def test_every_member_of_head_object_is_read() -> None:
    members = session().below.get_service_model("s3").operation_model("HeadObject").output_shape
    headers = {
        shape.serialization["name"].lower(): name
        for name, shape in members.members.items()
        if shape.serialization["location"] == "header"
    }

    assert dict(FIELDS) == headers


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_of_a_part_the_size_is_that_of_the_object(transport: str) -> None:
    answer = head(
        "206 Partial Content",
        Content_Length=5,
        Content_Range="bytes 0-4/12",
        x_amz_mp_parts_count="3",
    )
    with client(transport, says(answer)) as (operations, server):
        found = operations.metadata(MetadataQuery("k", part_number=1), deadline=soon())
    assert (found.stat.version.size, found.fields["ContentLength"]) == (12, "5")
    assert found.fields["PartsCount"] == "3"
    assert "partNumber=1" in server.requests[0]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_metadata_of_nothing_and_of_an_invalid_response_fails(transport: str) -> None:
    call = partial(MetadataQuery, "k")
    with (
        client(transport, says(refusal("404 Not Found"))) as (operations, _),
        pytest.raises(NotFound),
    ):
        operations.metadata(call(), deadline=soon())
    with (
        client(transport, says(head(ETag=None, Last_Modified=None, Content_Length=1))) as (
            operations,
            _,
        ),
        pytest.raises(Retryable),
    ):
        operations.metadata(call(), deadline=soon())


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("plain", "plain"),
        ("=?UTF-8?Q?caf=C3=A9?=", "café"),
        ("a =?UTF-8?B?w6Q=?= b", "a ä b"),
        ("cafÃ©", "café"),
        ("=?unknown-charset?B?w6Q=?=", "=?unknown-charset?B?w6Q=?="),
        ("=?UTF-8?B?A?=", "=?UTF-8?B?A?="),
        ("=?UTF-8?B?w6Q=?= =?UTF-8?Q?=C3=A4?=", "ää"),
        ("=?UTF-8?B?ww==?= =?UTF-8?B?pA==?=", "ä"),
        ("=?iso-8859-1?Q?=E4?= =?UTF-8?Q?=C3=A4?=", "ää"),
        ("cafÃ© =? x", "café =? x"),
        ("cafÃ© =?UTF-8?Q?caf=C3=A9?=", "café café"),
        ("\\u0041 =?UTF-8?Q?b?=", "\\u0041 b"),
        ("=?a\0b?Q?x?=", "=?a\0b?Q?x?="),
        ("=?idna?Q?xn--4ca?=", "=?idna?Q?xn--4ca?="),
        ("=?UTF-8?Q?a\x1cb?=", "=?UTF-8?Q?a\x1cb?="),
        ("=?hex?Q?00?=", "=?hex?Q?00?="),
        ("=?UTF-8?Q?open", "=?UTF-8?Q?open"),
    ],
)
def test_encoded_words_are_decoded_and_malformed_ones_kept(sent: str, read: str) -> None:
    assert decode_words(sent) == read


def test_names_of_charsets_are_not_kept_whatever_objects_say() -> None:
    known = dict(encodings._cache)
    for number in range(3):
        decode_words(f"=?nothing-{number}?Q?a?=")
    assert encodings._cache == known


def test_a_value_is_decoded_in_linear_time() -> None:
    """Beginnings of words without an end: a search from each of them to the end is quadratic."""
    value = "=?a?q? " * 9000
    began = time.thread_time()
    assert decode_words(value) == value
    assert time.thread_time() - began < 2


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_text_is_told_as_a_whole_and_as_the_utf_8_that_it_is(transport: str) -> None:
    answer = head(Content_Length=7, Content_Disposition="a; b=café", x_amz_meta_long="é" * 20_000)
    with client(transport, says(answer)) as (operations, _):
        found = operations.metadata(MetadataQuery("k"), deadline=soon())
    assert found.fields["ContentDisposition"] == "a; b=café"
    assert found.user["long"] == "é" * 20_000


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("fields", "is_told"),
    [
        ({}, None),
        ({"x_amz_server_side_encryption": "AES256"}, None),
        ({"x_amz_server_side_encryption": "aws:kms"}, False),
        ({"x_amz_server_side_encryption": "aws:kms:dsse"}, False),
        ({"x_amz_server_side_encryption_customer_algorithm": "AES256"}, False),
        ({"x_oss_object_type": "Appendable"}, False),
    ],
)
def test_an_etag_of_an_encrypted_or_appended_object_is_no_md5(
    transport: str, fields: dict[str, str], is_told: object
) -> None:
    answer = says(head(Content_Length=7, **fields))
    with client(transport, answer, answer) as (operations, _):
        found = operations.metadata(MetadataQuery("k"), deadline=soon())
        operations._traits.has_md5_etags = True
        again = operations.metadata(MetadataQuery("k"), deadline=soon())
    assert found.has_md5_etag is is_told
    assert again.has_md5_etag is (is_told is None)

"""Listing pages are parsed as botocore parses them, or refused."""

import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

import botocore.session
import pytest
from botocore.handlers import decode_list_object_v2
from botocore.parsers import ResponseParserError, create_parser
from hypothesis import example, given
from hypothesis import strategies as st

from s3mount.s3.model import ListedObject, ListPage, ListQuery
from s3mount.s3.operations import validation
from s3mount.s3.operations.list_dialect import ListObjects
from s3mount.s3.operations.xml_document import read_error_document
from s3mount.s3.transport import ErrorResponseError, InvalidResponseError

XMLNS = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
SHAPE = (
    botocore.session.get_session()
    .get_service_model("s3")
    .operation_model("ListObjectsV2")
    .output_shape
)
ANY = ListQuery("", "")
STAMP = "2026-11-22T12:31:47.000Z"
OBJECT = (
    f"<Contents><Key>a%2Fb+c</Key><LastModified>{STAMP}</LastModified><ETag>&quot;abc&quot;</ETag>"
    "<Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MTIME = 1_795_350_707_000_000_000


def page(
    *elements: str, xmlns: str = XMLNS, encoding: str = "url", truncated: str = "false"
) -> bytes:
    encoding_type = f"<EncodingType>{encoding}</EncodingType>" if encoding else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<ListBucketResult{xmlns}><IsTruncated>{truncated}</IsTruncated>{''.join(elements)}{encoding_type}</ListBucketResult>"
    ).encode()


def read_page(body: bytes, query: ListQuery) -> ListPage:
    return ListObjects("2").read_page(body, query)


def parsed_by_botocore(body: bytes) -> dict[str, Any]:
    """Return the page as botocore parses and decodes it; raises what botocore raises."""
    assert SHAPE is not None
    parsed = create_parser("rest-xml").parse(
        {"status_code": 200, "headers": {}, "body": body}, SHAPE
    )
    decode_list_object_v2(parsed, {"encoding_type_auto_set": True})
    return dict(parsed)


def fields(listed: Iterable[ListedObject]) -> list[tuple[str, int, int, str, str]]:
    """Return our objects as botocore has them: whole microseconds, stray bytes replaced."""
    return [
        (
            with_replacements(each.key),
            each.size,
            each.mtime_ns // 1000 * 1000,
            each.etag,
            each.storage_class,
        )
        for each in listed
    ]


def with_replacements(key: str) -> str:
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def fields_of(contents: dict[str, Any]) -> tuple[str, int, int, str, str]:
    modified = contents["LastModified"]
    assert isinstance(modified, datetime)
    since = (modified if modified.tzinfo else modified.replace(tzinfo=UTC)) - EPOCH
    mtime_ns = since // timedelta(microseconds=1) * 1000
    size = contents["Size"]
    etag = validation.plain_etag(contents.get("ETag")) or validation.synthetic_etag(mtime_ns, size)
    storage_class = contents.get("StorageClass") or "STANDARD"
    return with_replacements(contents["Key"]), size, mtime_ns, etag, storage_class


def check_as_botocore(body: bytes, query: ListQuery) -> None:
    """Check that a *body* that we accept, without odd rows, is parsed as by botocore."""
    try:
        ours = read_page(body, query)
    except (InvalidResponseError, ErrorResponseError):
        return
    if ours.odd_rows:
        return
    try:
        theirs = parsed_by_botocore(body)
        rows = [fields_of(each) for each in theirs.get("Contents", [])]
    except (ResponseParserError, AttributeError, KeyError, ValueError):
        return  # a time that only we read, an empty row, or a part that is there twice
    if any(isinstance(part, list) for row in rows for part in row):
        return
    assert rows == fields(ours.objects)
    prefixes = [each["Prefix"] for each in theirs.get("CommonPrefixes", [])]
    assert [each for each in prefixes if each != query.prefix] == [
        with_replacements(each) for each in ours.prefixes
    ]
    is_truncated = re.search(rb"<IsTruncated>\s*(?i:true|1)\s*<", body) is not None
    is_told = re.search(rb"<IsTruncated>\s*[^<\s]", body) is not None  # else a token tells it
    token = theirs.get("NextContinuationToken") or None
    assert ours.next_token == (token if is_truncated or not is_told else None)


TEXTS = st.text("ab/.-+%20F0C3A9 é\u00a0☃\x7f\n\t\r&<>'\"]", max_size=8)


def mostly(usual: st.SearchStrategy[str], odd: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Pages have many parts: most must be sound, or few pages would be accepted."""
    return st.integers(0, 19).flatmap(lambda die: odd if die == 0 else usual)


ESCAPED = mostly(
    TEXTS.map(lambda text: escape(text, {"\n": "&#10;", "\r": "&#xD;"})).map(
        lambda text: f"k{text}"
    ),
    TEXTS | TEXTS.map(lambda text: f"<![CDATA[{text}]]>"),
)
NUMBERS = mostly(
    st.integers(0, 10**13).map(str),
    st.sampled_from(["", "-1", "1_0", " 7", "٣", "1e3", "9" * 30, "0x1"]),
)
STAMPS = mostly(
    st.sampled_from([STAMP, "2026-11-22T12:31:47.61Z"]),
    st.sampled_from(
        [
            STAMP,
            "2026-11-22T12:31:47Z",
            "2026-11-22T12:31:47.61Z",
            "2026-11-22T12:31:47.123456789Z",
            "1969-12-31T23:59:59.5Z",
            *(
                "2026-11-22T12:31:47+02:00",
                "2026-11-22T12:31:47",
                "20261122T123147Z",
                "1795350707",
                "2026-W47-7T12:31:47",
            ),
            *(
                "Sun, 22 Nov 2026 12:31:47 GMT",
                "2026-11-22T24:00:00Z",
                "0001-01-01T00:00:00+14:00",
                "2026-11-22 12:31:47Z",
            ),
            "",
        ]
    ),
)
ETAGS = st.sampled_from(
    ["&quot;abc&quot;", "&#34;abc&#34;", '"abc"', "abc", 'W/"abc"', "W/abc", '""', ""]
)


def element(name: str, texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    odd = st.sampled_from([f"<{name} x='1'>", f"<{name}><b/>"])
    return st.builds(
        lambda tag, text: f"{tag}{text}</{name}>", mostly(st.just(f"<{name}>"), odd), texts
    )


FIELDS = [
    element("Key", ESCAPED),
    element("LastModified", STAMPS),
    element("ETag", ETAGS),
    element("Size", NUMBERS),
    element("StorageClass", st.sampled_from(["STANDARD", "GLACIER", ""])),
]
NOISE = st.sampled_from(
    [
        "",
        "\n  ",
        "<!-- <Contents> -->",
        "<Owner><ID>Key</ID></Owner>",
        "<?x <Contents/> ?>",
        "text",
        "<Contents/>",
    ]
)
CHECKSUM = st.sampled_from(["", "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>"])


@st.composite
def contents(draw: st.DrawFn) -> str:
    fields = [draw(field) for field in FIELDS]
    if draw(st.integers(0, 5)) == 0:
        fields = draw(st.permutations(fields))
    if draw(st.integers(0, 19)) == 0:
        fields[draw(st.integers(0, 4))] = draw(NOISE)
    if draw(st.integers(0, 19)) == 0:
        fields.append(draw(st.sampled_from(fields)))
    fields.insert(3, draw(CHECKSUM))
    return f"<Contents>{''.join(fields)}</Contents>"


ELEMENTS = st.lists(
    contents()
    | contents()
    | contents()
    | NOISE
    | element("CommonPrefixes", element("Prefix", ESCAPED.map(lambda text: f"{text}%2F")))
    | element("NextContinuationToken", TEXTS.map(escape))
    | st.just("<Other><Contents><Key>x</Key></Contents></Other>"),
    max_size=5,
)
NAMESPACES = st.sampled_from(
    [
        XMLNS,
        "",
        " xmlns='http://s3.amazonaws.com/doc/2006-03-01/'",
        ' xmlns="urn:x"',
        ' xmlns:Contents="urn:x"',
    ]
)
TRUNCATIONS = mostly(
    st.sampled_from(["true", "false", "false"]), st.sampled_from(["True", "1", ""])
)


@given(ELEMENTS, NAMESPACES, st.sampled_from(["url", "", "URL"]), TRUNCATIONS)
def test_a_page_that_is_parsed_is_parsed_as_by_botocore(
    elements: list[str], xmlns: str, encoding: str, truncated: str
) -> None:
    query = ListQuery("") if "<CommonPrefixes" in "".join(elements) else ANY
    check_as_botocore(page(*elements, xmlns=xmlns, encoding=encoding, truncated=truncated), query)


BY_SLASH = ListQuery("")
PLAIN = page(
    OBJECT.replace("%2F", ""),
    OBJECT.replace("%2F", "+"),
    "<CommonPrefixes><Prefix>d%2F</Prefix></CommonPrefixes>",
)


@given(
    st.integers(0, len(PLAIN)),
    st.integers(0, 20),
    st.binary(max_size=3)
    | st.sampled_from(
        [
            b"<Contents>",
            b"</Contents>",
            b"<Key>",
            b"</Key>",
            b"<!--",
            b"-->",
            b"<![CDATA[",
            b"]]>",
            b"&quot;",
            b"\xff",
        ]
    ),
)
def test_a_damaged_page_is_refused_or_parsed_as_by_botocore(at: int, cut: int, put: bytes) -> None:
    check_as_botocore(PLAIN[:at] + put + PLAIN[at + cut :], BY_SLASH)


KEYS = st.text(
    st.characters(codec="utf-8") | st.sampled_from("/.~+ %&?#=\0\udc80\udcff"),
    min_size=1,
    max_size=12,
)
SPELLINGS = st.sampled_from(["+", "%20"])


def encoded(key: str, space: str) -> str:
    raw = key.encode("utf-8", "surrogateescape")
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*/"
    return "".join(
        space if byte == 32 else chr(byte) if byte in plain else f"%{byte:02X}" for byte in raw
    )


@given(st.lists(KEYS), st.sampled_from(["/", "%2F"]), SPELLINGS, st.sampled_from(["", "\n  "]))
@example(["a\0b", "c"], "/", "+", "")
def test_every_key_survives_its_encoding(
    keys: list[str], slash: str, space: str, between: str
) -> None:
    listed = [
        between.join(
            [
                "<Contents>",
                f"<Key>{encoded(key, space).replace('/', slash)}</Key>",
                f"<LastModified>{STAMP}</LastModified>",
                '<ETag>"abc"</ETag>',
                f"<Size>{number}</Size>",
                "</Contents>",
            ]
        )
        for number, key in enumerate(keys)
    ]

    objects = read_page(page(*listed), ANY).objects

    assert [ListedObject(key, number, MTIME, "abc") for number, key in enumerate(keys)] == objects


def test_keys_are_literal_if_the_store_did_not_encode_them() -> None:
    body = page(OBJECT.replace("a%2Fb+c", "a%2Fb+c &amp; d"), encoding="")

    assert [each.key for each in read_page(body, ANY).objects] == ["a%2Fb+c & d"]


def test_tencent_spells_the_encoding_type_with_a_hyphen() -> None:
    body = page(OBJECT, "<Encoding-Type>url</Encoding-Type>", encoding="")

    assert [each.key for each in read_page(body, ANY).objects] == ["a/b c"]


def test_a_stray_nul_in_encoded_keys_moves_no_key_to_another_row() -> None:
    body = page(OBJECT.replace("a%2Fb+c", "a+\0b"), OBJECT.replace("<Size>5<", "<Size>6<"))

    listed = read_page(body, ANY).objects

    assert [(each.key, each.size) for each in listed] == [("a \0b", 5), ("a/b c", 6)]


def test_objects_with_and_without_checksums_share_a_page() -> None:
    checked = OBJECT.replace(
        "<Size>",
        "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>",
    )

    objects = read_page(page(OBJECT, checked, OBJECT), ANY).objects

    assert [ListedObject("a/b c", 5, MTIME, "abc")] * 3 == objects


def test_an_object_without_an_etag_gets_a_synthetic_one() -> None:
    body = page(OBJECT.replace("<ETag>&quot;abc&quot;</ETag>", ""))

    assert [each.etag for each in read_page(body, ANY).objects] == [
        validation.synthetic_etag(MTIME, 5)
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Bad gateway</body></html>",
        b"<!DOCTYPE html><html></html>",
        page(OBJECT)[:-1],
        page(OBJECT)[:-20],
        page(OBJECT) + b"<x/>",
        page(OBJECT).replace(b"ListBucketResult", b"ListBucketsResult"),
        page(OBJECT).replace(b"\n<", b"\n<!DOCTYPE x [<!ENTITY e 'a'>]><", 1),
        page(OBJECT.replace("<Key>a%2Fb+c</Key>", "<Key>&e;</Key>")),
        page(OBJECT, truncated="perhaps"),
        page(OBJECT, truncated="true"),
        page(OBJECT, "<KeyCount>2</KeyCount>"),
        page(OBJECT, truncated="true</IsTruncated><IsTruncated>false"),
        page("<CommonPrefixes><Prefix>d%2F</Prefix></CommonPrefixes>"),
        page(OBJECT).replace(b"c</Key>", b"\xff</Key>"),
        page("<KeyCount>0</KeyCount><Prefix>b</Prefix>"),
        b"<ListBucketResult></ListBucketResult>",
    ],
)
def test_what_is_no_listing_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidResponseError):
        read_page(body, ANY)


def test_a_page_that_counts_the_whole_bucket_is_no_page_with_missing_rows() -> None:
    """A count above what the page may have is not about the page: s3ninja's is of the bucket."""
    counted = "<KeyCount>2</KeyCount><MaxKeys>1</MaxKeys>"

    assert len(read_page(page(OBJECT, counted), ANY).objects) == 1
    with pytest.raises(InvalidResponseError):
        read_page(page(OBJECT, counted.replace("<MaxKeys>1", "<MaxKeys>2")), ANY)


@pytest.mark.parametrize("mark", [b"", b"\xff\xfe", b"\xfe\xff"])
@pytest.mark.parametrize("before", [b"", b"\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_no_encoding_hides_a_document_type(mark: bytes, before: bytes, encoding: str) -> None:
    """The parser detects UTF-16 by its first two bytes, though it is told that it gets UTF-8."""
    entities = '<!DOCTYPE x [<!ENTITY e "a">]>'
    body = entities + "<Error><Code>&e;&e;</Code></Error>"

    assert read_error_document(before + mark + body.encode(encoding)) == ("", None, None)


@pytest.mark.parametrize(
    "piece",
    ["<Contents>", "<Contents> ", "<Contents><Key>", "<Contents/>", "<Key>", "&amp;", "<", "\n"],
)
def test_a_page_made_to_be_slow_is_refused_quickly(piece: str) -> None:
    body = page(OBJECT, piece * (400_000 // len(piece)))
    began = time.thread_time()

    with pytest.raises(InvalidResponseError):
        read_page(body.replace(b"</Contents>", b""), ANY)

    assert time.thread_time() - began < 5


def test_keys_outside_of_the_prefix_are_refused() -> None:
    with pytest.raises(InvalidResponseError):
        read_page(page(OBJECT), ListQuery("b/"))


@pytest.mark.parametrize("xmlns", ["", XMLNS])
def test_an_error_document_under_a_200_has_its_code(xmlns: str) -> None:
    body = f"<Error{xmlns}><Code>InternalError</Code><Message>try again</Message></Error>".encode()

    with pytest.raises(ErrorResponseError) as caught:
        read_page(body, ANY)

    assert caught.value.response.code == "InternalError"


@given(st.text("ab/=+&<>'\"%é", min_size=1))
def test_the_next_token_is_found_before_the_page_is_parsed(token: str) -> None:
    body = page(
        OBJECT, f"<NextContinuationToken>{escape(token)}</NextContinuationToken>", truncated="true"
    )

    assert read_page(body, ANY).next_token == ListObjects().next_position(body) == token


@pytest.mark.parametrize(
    "body",
    [
        b"",
        page(OBJECT),
        page("<NextContinuationToken>a</NextContinuationToken>"),
        page("<NextContinuationToken>a</NextContinuationToken>" * 2, truncated="true"),
        page("<NextContinuationToken>\xff</NextContinuationToken>", truncated="true")
        .decode()
        .encode("latin-1"),
        page(f"<NextContinuationToken>&#{'9' * 5000};</NextContinuationToken>", truncated="true"),
    ],
)
def test_no_token_is_guessed(body: bytes) -> None:
    assert ListObjects().next_position(body) is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<Error><Code>SlowDown</Code><RequestId>r</RequestId></Error>", "SlowDown"),
        (
            b"<ErrorResponse><Error><Code>SlowDown</Code></Error><RequestId>r</RequestId></ErrorResponse>",
            "SlowDown",
        ),
        (b"<html><Code>no</Code></html>", ""),
        (b"<Error><Code>Slow", ""),
        (b"", ""),
    ],
)
def test_an_error_document_has_its_code(body: bytes, code: str) -> None:
    assert read_error_document(body)[0] == code


def test_botocore_still_refuses_what_we_take_for_granted() -> None:
    with pytest.raises(ResponseParserError):
        parsed_by_botocore(page(OBJECT)[:-1])

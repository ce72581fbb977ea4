"""Pages of versions, over either transport, and what is made of odd ones."""

import pytest

from s3mount.errors import StoreError
from s3mount.s3.model import ListedVersion, VersionMarker, VersionPage, VersionQuery
from s3mount.s3.operations.version_parser import parse_versions
from s3mount.s3.transport import ErrorResponseError, InvalidResponseError, Retryable
from tests.unit.s3.clients import TRANSPORTS, client, soon
from tests.unit.s3.scripted_server import head, refusal, says

NS = 1_700_000_000 * 10**9
TIME = "<LastModified>2023-11-14T22:13:20.000Z</LastModified>"
ROW = (
    "<Version><Key>{key}</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest>"
    f"{TIME}<ETag>&quot;e&quot;</ETag><Size>7</Size><StorageClass>STANDARD_IA</StorageClass>"
    "</Version>"
)
MARKER = (
    "<DeleteMarker><Key>{key}</Key><VersionId>m1</VersionId><IsLatest>false</IsLatest>"
    f"{TIME}</DeleteMarker>"
)


def document(*parts: str, root: str = "ListVersionsResult") -> bytes:
    """A page; the namespace is S3's."""
    space = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    return f"<{root}{space}>{''.join(parts)}</{root}>".encode()


def answer(body: bytes) -> bytes:
    return head(Content_Length=len(body)) + body


def parse(*parts: str, query: VersionQuery = VersionQuery("")) -> VersionPage:  # noqa: B008
    return parse_versions(document(*parts), query)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_page_is_requested_and_read(transport: str) -> None:
    body = document(
        "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>",
        "<NextKeyMarker>d%2Fa+b</NextKeyMarker><NextVersionIdMarker>v1</NextVersionIdMarker>",
        MARKER.format(key="d%2Fa"),
        ROW.format(key="d%2Fa+b"),
        "<CommonPrefixes><Prefix>d%2Fe%2F</Prefix></CommonPrefixes>",
    )
    query = VersionQuery("d/", "/", VersionMarker("d/0", "v0"), 5)
    with client(transport, says(answer(body))) as (operations, server):
        page = operations.list_versions(query, deadline=soon())

    assert page == VersionPage(
        [
            ListedVersion("d/a", "m1", False, True, NS),
            ListedVersion("d/a b", "v1", True, False, NS, 7, "e", "STANDARD_IA"),
        ],
        ["d/e/"],
        VersionMarker("d/a b", "v1"),
    )
    target = server.requests[0].split()[1]
    assert set(target.partition("?")[2].replace("versions=", "versions").split("&")) == {
        *("delimiter=%2F", "encoding-type=url", "key-marker=d%2F0", "max-keys=5"),
        *("prefix=d%2F", "version-id-marker=v0", "versions"),
    }


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_store_without_versions_refuses_or_lists_objects(transport: str) -> None:
    plain = answer(document("<Name>b</Name>", root="ListBucketResult"))
    for line in (says(refusal("501 Not Implemented", "NotImplemented")), says(plain)):
        with client(transport, line) as (operations, _), pytest.raises(StoreError) as caught:
            operations.list_versions(VersionQuery(""), deadline=soon())
        assert caught.value.status == 501


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("status", "is_kept"), [("Enabled", True), ("Suspended", True), ("", False), (None, False)]
)
def test_a_bucket_tells_whether_it_keeps_versions(
    transport: str, status: str | None, *, is_kept: bool
) -> None:
    part = "" if status is None else f"<Status>{status}</Status>"
    body = answer(document(part, root="VersioningConfiguration"))
    with client(transport, says(body)) as (operations, server):
        assert operations.has_versioning(deadline=soon()) is is_kept
    assert "?versioning" in server.requests[0]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_invalid_page_may_be_asked_for_again(transport: str) -> None:
    with (
        client(transport, says(answer(b"<html></html>"))) as (operations, _),
        pytest.raises(Retryable),
    ):
        operations.list_versions(VersionQuery(""), deadline=soon())


def test_what_may_be_missing_has_a_meaning() -> None:
    row = f"<Version><Key>a</Key><Size>3</Size>{TIME}</Version>"
    [version] = parse(row).versions
    assert (version.version_id, version.is_latest, version.storage_class) == (
        *("null", False),
        "STANDARD",
    )
    assert version.etag.startswith("s3mount-stand-in-")


def test_rows_of_others_are_left_out() -> None:
    page = parse(ROW.format(key="a"), ROW.format(key="b"), query=VersionQuery("a"))
    assert [row.key for row in page.versions] == ["a"]
    assert page.next_marker is None


def test_gofakes3s_root_is_known() -> None:
    body = document(ROW.format(key="a"), root="ListBucketVersionsResult")
    assert len(parse_versions(body, VersionQuery("")).versions) == 1


@pytest.mark.parametrize(
    "parts",
    [
        ("<Version><Key>a</Key><Size>3</Size></Version>",),
        (f"<Version><Key>a</Key>{TIME}</Version>",),
        (f"<Version><Key>a</Key><Size>-3</Size>{TIME}</Version>",),
        (ROW.format(key="elsewhere"),),
        ("<IsTruncated>true</IsTruncated>", ROW.format(key="p/a")),
        ("<IsTruncated>true</IsTruncated><NextKeyMarker>p/k</NextKeyMarker>",),
        ("<IsTruncated>perhaps</IsTruncated>",),
        (f"<Version><Key>p/a</Key><VersionId>{'v' * 2000}</VersionId>{TIME}</Version>",),
        tuple([ROW.format(key="p/a")] * 10_001),
    ],
)
def test_a_page_that_hides_something_is_invalid(parts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidResponseError):
        parse(*parts, query=VersionQuery("p/", marker=VersionMarker("p/k")))


def test_an_error_under_a_200_is_an_error() -> None:
    with pytest.raises(ErrorResponseError):
        parse_versions(b"<Error><Code>SlowDown</Code></Error>", VersionQuery(""))
    with pytest.raises(InvalidResponseError):
        parse_versions(b"<html></html>", VersionQuery(""))

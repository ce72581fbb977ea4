"""Owners of listed objects: requested, and read, only if they are wanted."""

from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.model import ListQuery
from s3mount.s3.operations.list_dialect import ListObjects
from s3mount.s3.operations.list_fast_parser import take_columns
from s3mount.s3.operations.list_parser import _parse_fast, _parse_full

STAMP = "2026-11-22T12:31:47.000Z"
WANTED = ListQuery("", "", has_owners=True)
OWNERS = st.sampled_from(
    [
        "",
        "<Owner/>",
        "<Owner></Owner>",
        "<Owner><ID>75aa</ID><DisplayName>web file</DisplayName></Owner>",
        "<Owner><DisplayName>web file</DisplayName></Owner>",
        "<Owner>\n <ID>75aa</ID>\n</Owner>",
        "<Owner><ID></ID></Owner>",
        "<Owner><ID>a</ID><ID>b</ID></Owner>",
        "<Owner><ID>a</ID></Owner><Owner><ID>b</ID></Owner>",
        "<Owner><ID>&amp;</ID></Owner>",
        "<Owner><ID>75<b/></ID></Owner>",
    ]
)


def page(owners: list[str]) -> bytes:
    rows = "".join(
        f"<Contents><Key>{number:03}</Key><LastModified>{STAMP}</LastModified>"
        f'<ETag>"{number:032}"</ETag><Size>5</Size>{owner}<StorageClass>STANDARD</StorageClass>'
        "</Contents>"
        for number, owner in enumerate(owners)
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()


@given(st.lists(OWNERS, min_size=1, max_size=4), st.booleans())
def test_both_parsers_read_the_same_owners(owners: list[str], has_owners: bool) -> None:  # noqa: FBT001
    query = ListQuery("", "", has_owners=has_owners)
    fast, full = _parse_fast(page(owners), query, 1), _parse_full(page(owners), query, 1)

    if fast is not None:
        assert [*fast[0].owners] == [*full[0].owners]
        assert fast[0][:5] == full[0][:5]


def test_a_page_with_owners_is_parsed_fast_whether_they_are_wanted_or_not() -> None:
    """As all pages of version 1 have them."""
    whole = "<Owner><ID>75aa</ID><DisplayName>web</DisplayName></Owner>"
    for has_owners in (True, False):
        taken = take_columns(page([whole, whole]), has_owners=has_owners)
        assert taken is not None
        assert taken[0].owners == (["75aa", "75aa"] if has_owners else ())
        assert taken[0].keys == ["000", "001"]


def test_owners_are_requested_by_both_versions_and_read() -> None:
    body = page(["<Owner><ID>75aa</ID></Owner>", "<Owner><ID></ID></Owner>"])
    for version, asks in (("2", True), ("1", False)):
        dialect = ListObjects(version, fetch_owner=True)  # type: ignore[arg-type]
        query = dict(dialect.request(ListQuery("")).query)
        assert query.get("fetch-owner") == ("true" if asks else None)  # 1 tells them in any case
        assert [row.owner for row in dialect.read_page(body, ListQuery("")).objects] == [
            "75aa",
            None,
        ]


def test_owners_are_not_requested_and_not_read_otherwise() -> None:
    dialect = ListObjects("2")
    assert "fetch-owner" not in dict(dialect.request(ListQuery("")).query)
    body = page(["<Owner><ID>75aa</ID></Owner>"])
    assert [row.owner for row in dialect.read_page(body, ListQuery("")).objects] == [None]


def test_an_odd_row_keeps_the_owner_of_its_neighbours() -> None:
    whole = "<Owner><ID>{}</ID></Owner>"
    body = page([whole.format("first"), whole.format("second"), whole.format("third")])
    body = body.replace(b"<Key>001</Key>", b"<Key></Key>")

    found = ListObjects("2", fetch_owner=True).read_page(body, ListQuery(""))

    assert [(row.key, row.owner) for row in found.objects] == [("000", "first"), ("002", "third")]

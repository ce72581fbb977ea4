"""Listings go on by token, by marker or by start-after, and never lose a row between two pages."""

import contextlib
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.model import ListPage, ListQuery
from s3mount.s3.operations.list_dialect import ListObjects, ListVersion
from s3mount.s3.transport import InvalidResponseError, StoreRequest


def contents(key: str) -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-22T12:31:47Z</LastModified>"
        "<ETag>e</ETag><Size>1</Size></Contents>"
    )


def element(row: str) -> str:
    if row.endswith("/"):
        return f"<CommonPrefixes><Prefix>{row}</Prefix></CommonPrefixes>"
    return contents(row)


def document(*rows: str, truncated: bool = True, more: str = "") -> bytes:
    said = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    rest = "".join(map(element, rows))
    return f"<ListBucketResult><Name>b</Name>{said}{more}{rest}</ListBucketResult>".encode()


class Store:
    """Lists *rows*, *size* a page, behind the value of the parameter *by*; tells no tokens.

    *of_files*: in the order of a file tree, in which `a/` comes right after `a`.
    """

    def __init__(
        self,
        rows: list[str],
        size: int,
        by: str,
        *,
        repeats: bool,
        tells: bool,
        of_files: bool = False,
    ) -> None:
        self.order = (lambda row: row.replace("/", "\0")) if of_files else str
        self.rows, self.size, self.by = sorted(rows, key=self.order), size, by
        self.repeats, self.tells = repeats, tells
        self.requests: list[StoreRequest] = []

    def respond(self, request: StoreRequest) -> bytes:
        self.requests.append(request)
        behind = dict(request.query).get(self.by, "")
        # some stores list what is in a directory behind its prefix: the prefix comes again
        left = [
            row
            for row in self.rows
            if self.order(row) > self.order(behind)
            or (self.repeats and row == behind and row.endswith("/"))
        ]
        page = left[: self.size]
        marker = f"<NextMarker>{page[-1]}</NextMarker>" if self.tells and page else ""
        more = marker if self.by == "marker" else ""
        return document(*page, truncated=len(left) > self.size, more=more)


def list_all(dialect: ListObjects, store: Store) -> list[str]:
    """Return the rows of a whole listing; each page may be requested three times."""
    rows, query, failures = [], ListQuery(""), 0
    while True:
        try:
            page = dialect.read_page(store.respond(dialect.request(query)), query)
        except InvalidResponseError:
            failures += 1
            if failures == 3:
                raise
            continue
        failures = 0
        rows += [each.key for each in page.objects] + page.prefixes
        if page.next_token is None:
            return rows
        query = ListQuery("", token=page.next_token)


ROWS = st.sets(st.text("ab-~", min_size=1, max_size=3), max_size=12).flatmap(
    lambda names: st.lists(st.booleans(), min_size=len(names), max_size=len(names)).map(
        lambda kinds: sorted(
            name + "/" * is_directory for name, is_directory in zip(names, kinds, strict=True)
        )
    )
)


@given(
    ROWS,
    st.integers(2, 4),
    st.sampled_from(["marker", "start-after"]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_a_store_without_tokens_is_listed_whole(
    rows: list[str], size: int, by: str, kinds: tuple[bool, bool, bool]
) -> None:
    repeats, tells, of_files = kinds
    store = Store(rows, size, by, repeats=repeats, tells=tells, of_files=of_files)

    listed = list_all(ListObjects(), store)

    assert sorted({*listed}) == rows


@given(ROWS, st.integers(2, 4))
def test_version_1_is_requested_from_the_beginning_if_it_is_chosen(
    rows: list[str], size: int
) -> None:
    store = Store(rows, size, "marker", repeats=False, tells=True)

    assert sorted(list_all(ListObjects("1"), store)) == rows
    assert all(request.operation == "ListObjects" for request in store.requests)
    assert not any("list-type" in dict(request.query) for request in store.requests)


@pytest.mark.parametrize("version", ["auto", "1"])
def test_a_store_that_sends_its_first_page_for_ever_is_refused(version: ListVersion) -> None:
    store = Store(["a", "b", "c"], 2, "nothing", repeats=False, tells=False)

    with pytest.raises(InvalidResponseError):
        list_all(ListObjects(version), store)


def test_version_2_alone_needs_a_token() -> None:
    with pytest.raises(InvalidResponseError):
        ListObjects("2").read_page(document("a"), ListQuery(""))


def test_what_a_store_pages_by_is_remembered() -> None:
    dialect = ListObjects()
    store = Store(["a", "b", "c", "d"], 2, "marker", repeats=False, tells=True)
    list_all(dialect, store)
    store.requests.clear()

    list_all(dialect, store)

    assert [request.operation for request in store.requests] == ["ListObjects"] * 2


@pytest.mark.parametrize("version", ["auto", "1", "2"])
def test_the_prefix_is_always_sent(version: ListVersion) -> None:
    assert ("prefix", "") in ListObjects(version).request(ListQuery("")).query


@pytest.mark.parametrize("version", ["1", "2"])
def test_each_parameter_of_a_listing_is_sent(version: Literal["1", "2"]) -> None:
    dialect, first = ListObjects(version), ListQuery("d/", start_after="d/k", max_keys=7)
    sent, later = dialect.request(first), dialect.request(ListQuery("d/", token="t"))
    common = {"delimiter": "/", "encoding-type": "url", "max-keys": "7", "prefix": "d/"}

    if version == "1":
        assert dict(sent.query) == common | {"marker": "d/k"}
    else:
        assert dict(sent.query) == common | {"list-type": "2", "start-after": "d/k"}
        assert dict(later.query)["continuation-token"] == "t"
    assert ("delimiter", "") not in dialect.request(ListQuery("d/", delimiter="")).query


def test_a_start_is_a_marker_in_version_1() -> None:
    query = dict(ListObjects("1").request(ListQuery("d/", start_after="d/k")).query)

    assert (query["marker"], "start-after" in query) == ("d/k", False)


@pytest.mark.parametrize(
    ("marker", "begins_behind"),
    [("b", "b"), ("a", "a"), ("aa", "aa"), ("zz", "b"), ("", "b"), ("b%2B", "b"), ("3cd4", "b")],
)
def test_a_marker_that_could_pass_rows_over_or_leads_back_is_not_used(
    marker: str, begins_behind: str
) -> None:
    body = document("a", "b", more=f"<NextMarker>{marker}</NextMarker>")

    page = ListObjects("1").read_page(body, ListQuery(""))

    assert page.next_token == "\0" + begins_behind


def test_a_store_whose_markers_are_tokens_is_listed_by_its_rows() -> None:
    """Moto tells the MD5 of the last key, which may be before all keys, among them or behind."""
    dialect, query = ListObjects("1"), ListQuery("")

    for rows, token, begins_behind in [
        (("a", "b", "k"), "c71e", "c71e"),
        (("l", "m", "n"), "3cd4", "n"),
        (("o", "p", "q"), "zzzz", "q"),
        (("r", "s", "t"), "o", "t"),
    ]:
        more = f"<NextMarker>{token}</NextMarker>"
        page = dialect.read_page(document(*rows, more=more), query)
        assert page.next_token == "\0" + begins_behind
        query = ListQuery("", token=page.next_token)


@pytest.mark.parametrize("token", ["3cd4", "zzzz"])
def test_keys_that_are_cut_off_before_the_last_common_prefix_are_not_passed_over(
    token: str,
) -> None:
    """Moto counts keys only for a page: all common prefixes are on each, and its marker no row."""
    body = document("a/", "k0", "k1", "z/", more=f"<NextMarker>{token}</NextMarker>")

    with pytest.raises(InvalidResponseError):
        ListObjects("1").read_page(body, ListQuery("", max_keys=2))


def test_an_empty_page_goes_on_where_the_store_says() -> None:
    dialect = ListObjects("1")
    body = document(more="<NextMarker>d/x</NextMarker>")

    assert dialect.read_page(body, ListQuery("d/")).next_token == "\0d/x"
    with pytest.raises(InvalidResponseError):
        dialect.read_page(body, ListQuery("e/"))
    with pytest.raises(InvalidResponseError):
        dialect.read_page(document(), ListQuery("d/"))


@pytest.mark.parametrize(("rows", "more"), [(("a", "b"), True), (("a",), False), ((), False)])
def test_a_full_page_is_not_the_last_one_unless_the_store_says_so(
    rows: tuple[str, ...],
    more: bool,  # noqa: FBT001
) -> None:
    body = document(*rows).replace(b"<IsTruncated>true</IsTruncated>", b"")

    page = ListObjects().read_page(body, ListQuery("", max_keys=2))

    assert (page.next_token is not None) is more


def test_a_page_of_a_thousand_rows_is_not_the_last_one_though_more_were_requested() -> None:
    """The store may send no more at once; one that does not say whether more follow is asked."""
    rows = [f"{number:04}" for number in range(1000)]
    body = document(*rows).replace(b"<IsTruncated>true</IsTruncated>", b"")

    page = ListObjects().read_page(body, ListQuery("", max_keys=10_000))

    assert page.next_token == "\0" + "0999"


def test_a_listing_of_another_bucket_is_invalid() -> None:
    dialect = ListObjects()
    dialect.read_page(document("a", truncated=False), ListQuery(""))

    with pytest.raises(InvalidResponseError):
        dialect.read_page(document("a").replace(b"<Name>b<", b"<Name>c<"), ListQuery(""))


def test_version_1_is_tried_once_if_version_2_is_refused() -> None:
    dialect = ListObjects()

    assert not dialect.is_to_repeat(403, "AccessDenied")
    assert dialect.is_to_repeat(501, "NotImplemented")
    assert dialect.request(ListQuery("")).operation == "ListObjects"
    page: ListPage = dialect.read_page(document("a", truncated=False), ListQuery(""))
    assert [each.key for each in page.objects] == ["a"]
    assert not ListObjects("2").is_to_repeat(501, "NotImplemented")


def test_a_store_that_knows_version_2_keeps_it() -> None:
    dialect = ListObjects()
    dialect.read_page(document("a", truncated=False), ListQuery(""))

    assert not dialect.is_to_repeat(400, "InvalidArgument")


def test_two_listings_that_fail_at_once_do_not_undo_each_others_choice() -> None:
    """Both were sent by start-after, so both say that it is markers that remain to be tried."""
    dialect, store = ListObjects(), Store(["a", "b", "c"], 2, "marker", repeats=False, tells=False)
    first = dialect.read_page(store.respond(dialect.request(ListQuery(""))), ListQuery(""))
    query = ListQuery("", token=first.next_token)
    sent = [dialect.request(query) for _ in range(2)]

    for each in sent:
        with pytest.raises(InvalidResponseError):
            dialect.read_page(store.respond(each), query, each)

    assert dialect.request(query).operation == "ListObjects"


def test_two_refusals_of_version_2_are_both_repeated_in_version_1() -> None:
    dialect = ListObjects()
    sent = [dialect.request(ListQuery("")) for _ in range(2)]

    assert [dialect.is_to_repeat(501, "NotImplemented", each) for each in sent] == [True, True]
    assert dialect.request(ListQuery("")).operation == "ListObjects"


def test_the_token_of_a_version_2_page_is_followed_though_markers_are_tried() -> None:
    dialect = ListObjects()
    sent = dialect.request(ListQuery(""))
    dialect.read_page(document("a", more="<Marker></Marker>"), ListQuery(""))  # an odd answer
    body = document("a", more="<NextContinuationToken>t</NextContinuationToken>")

    assert dialect.read_page(body, ListQuery(""), sent).next_token == "t"


@pytest.mark.parametrize(
    ("rows", "is_certain"),
    [(("a-b", "a/", "b"), True), (("a/", "a-b", "b"), True), (("b", "a"), False)],
)
def test_a_page_in_no_order_is_not_continued_behind_a_row(
    rows: tuple[str, ...],
    is_certain: bool,  # noqa: FBT001
) -> None:
    """A store that compares keys with the marker, and does not sort them, would pass some over."""
    with contextlib.nullcontext() if is_certain else pytest.raises(InvalidResponseError):
        ListObjects().read_page(document(*rows), ListQuery(""))

    followed = document(*rows, more=f"<NextMarker>{rows[-1]}</NextMarker>")
    assert ListObjects().read_page(followed, ListQuery("")).next_token == "\0" + rows[-1]


def encoded(*keys: str, prefix: str = "") -> bytes:
    said = f"<Prefix>{prefix}</Prefix><EncodingType>url</EncodingType>"
    return document(*keys, truncated=False, more=said)


def test_a_plus_stays_a_plus_once_a_store_has_written_a_space_otherwise() -> None:
    dialect = ListObjects()
    before = dialect.read_page(encoded("a+b"), ListQuery("")).objects
    dialect.read_page(encoded("x%20y"), ListQuery(""))

    after = dialect.read_page(encoded("a+b", "c%00+"), ListQuery("")).objects

    assert [each.key for each in (*before, *after)] == ["a b", "a+b", "c\0+"]


def test_the_echoed_prefix_shows_how_a_store_writes_a_space() -> None:
    body = encoded("x+y/a+b", prefix="x%20y/").replace(b"x+y/", b"x%20y/")

    page = ListObjects().read_page(body, ListQuery("x y/"))

    assert [each.key for each in page.objects] == ["x y/a+b"]


@pytest.mark.parametrize("query", [ListQuery("", delimiter=""), ListQuery("d/")])
def test_only_a_common_prefix_is_passed_with_all_that_is_below_it(query: ListQuery) -> None:
    """An object d/ is the first key of what is below it, and may come again, as any marker."""
    dialect, behind = ListObjects(), replace(query, token="\0d/")
    body = document().replace(
        b"</ListBucketResult>", f"{contents('d/')}</ListBucketResult>".encode()
    )

    with pytest.raises(InvalidResponseError):
        dialect.read_page(body, behind)

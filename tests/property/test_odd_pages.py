"""Listings of odd rows show every object that they list, by its own size, and nothing else."""

import itertools
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self, cast
from urllib.parse import parse_qs, quote, quote_plus, urlencode
from xml.sax.saxutils import escape

from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.list_dialect import ListObjects
from s3mount.s3.transport import StoreRequest, Transport
from tests.reference import Directory, tree_of
from tests.unit.filesystem.evidence import proven

KEYS = st.dictionaries(
    st.text("ab-/. +%2é\x01\udcff", min_size=1, max_size=5), st.integers(0, 10**12), max_size=8
)
PREFIXES = st.sampled_from(["", "d/", "p +%/"])
TIMES = st.sampled_from(
    ["2024-05-06T07:08:09.000Z", "2024-05-06T07:08:09+0000", "0001-01-01T00:00:00Z", "", "once"]
)
SIZES = st.sampled_from(["<Size>{}</Size>"] * 3 + ["<Size> {}\n</Size>", "<Size>-1</Size>", ""])
FILES = st.builds('<LastModified>{}</LastModified><ETag>"{{}}"</ETag>{}'.format, TIMES, SIZES)
EXTRAS = ("", "", "<Contents/>", "<CommonPrefixes/>", "nameless", "outside", "own prefix")


class Store:
    """`Transport` that lists *rows*, a few a page, and knows the size of each object."""

    def __init__(self, rows: list[str], sizes: Mapping[str, int], head: str, size: int) -> None:
        self.rows, self.sizes, self.head, self.page_size = rows, sizes, head, size
        self.preconnect = self.renew_credentials = self.close = lambda **_: None

    def send(self, request: StoreRequest, **_: object) -> "Response":
        if request.key is not None:
            size = self.sizes[request.key]
            return Response({"content-length": str(size), "etag": etag_of(request.key)}, b"")
        query = {name: each[0] for name, each in parse_qs(urlencode(request.query)).items()}
        start = int(query.get("continuation-token", "0"))
        rest = self.rows[start : start + self.page_size]
        end = "<IsTruncated>false</IsTruncated>"
        if start + self.page_size < len(self.rows):
            token = f"<NextContinuationToken>{start + self.page_size}</NextContinuationToken>"
            end = f"<IsTruncated>true</IsTruncated>{token}"
        document = f"<ListBucketResult>{self.head}{''.join(rest)}{end}</ListBucketResult>"
        return Response({}, document.encode("utf-8", "surrogateescape"))


class Response:
    def __init__(self, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = 200, headers, body

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        pass

    def read_all(self, limit: int) -> bytes:
        return self.body[:limit]


def etag_of(key: str) -> str:
    return f"e{hash(key)}"


def listed(directory: DirectoryListing) -> Iterator[tuple[bytes, int | None]]:
    for page in directory.pages:
        assert page is not None
        for index in range(len(page)):
            size = None if page.is_directory(index) else page.sizes[index]
            assert size is None or page.etag(index) == etag_of(page.key(index))
            yield page.name(index), size


class Writer:
    """Writes the rows of the directory *prefix* of *objects*, each in one of many ways."""

    def __init__(
        self, data: st.DataObject, prefix: str, objects: Mapping[str, int], encoding: str
    ) -> None:
        self.draw, self.prefix, self.objects, self.encoding = data.draw, prefix, objects, encoding

    def rows(self) -> Iterator[str]:
        keys = sorted(self.objects, key=lambda key: key.encode("utf-8", "surrogateescape"))
        for name, group in itertools.groupby(keys, self._component):
            entries = [*group]
            is_file = name and not name.endswith("/")
            row = self._file(*entries) if is_file else self._directory(name, entries)
            yield self._extra() + row + self._extra()

    def _component(self, key: str) -> str:
        name, slash, _ = key[len(self.prefix) :].partition("/")
        return name + slash

    def _file(self, key: str) -> str:
        row = self._contents(key)
        return row * 2 if self.draw(st.integers(0, 5)) == 0 else row

    def _directory(self, name: str, keys: list[str]) -> str:
        if not name:  # the directory's own marker
            return self._contents(*keys)
        path = self.prefix + name
        prefix = f"<Prefix>{self.written(path)}</Prefix>"
        plain = f"<CommonPrefixes>{prefix}</CommonPrefixes>"
        rows = (
            plain,
            f"<CommonPrefixes>{prefix}{prefix}</CommonPrefixes>",
            f"<CommonPrefixes><Prefix>{self.written(path[:-1])}</Prefix></CommonPrefixes>",
            self._row(path, 0),
            plain + self._row(path, 0),
            "".join(self._contents(key) for key in keys),  # the delimiter is ignored
        )
        # without its slash, a name of nothing is the prefix itself
        return plain if name == "/" else self.draw(st.sampled_from(rows))

    def _extra(self) -> str:
        match self.draw(st.sampled_from(EXTRAS)):
            case "nameless":
                return self._row("", 1)
            case "outside":
                return self._row("elsewhere", 1) if self.prefix else ""
            case "own prefix":
                prefix = self.written(self.prefix)
                return f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"
            case text:
                return text

    def _contents(self, key: str) -> str:
        return self._row(key, self.objects[key])

    def _row(self, key: str, size: int) -> str:
        parts = self.draw(FILES).format(etag_of(key), size)
        return f"<Contents><Key>{self.written(key)}</Key>{parts}</Contents>"

    def written(self, key: str) -> str:
        raw = key.encode("utf-8", "surrogateescape")
        match self.encoding:
            case "url":
                return quote_plus(raw)
            case "url by %20":
                return quote(raw)
            case _:
                return escape(key)


@given(KEYS, PREFIXES, st.sampled_from(["url", "url by %20", ""]), st.integers(1, 4), st.data())
def test_odd_rows_cost_no_other_row(
    keys: Mapping[str, int], prefix: str, encoding: str, page_size: int, data: st.DataObject
) -> None:
    objects = {prefix + key: size for key, size in keys.items()}
    writer = Writer(data, prefix, objects, encoding)
    rows = [*filter(None, writer.rows())]
    head = f"<Name>b</Name><Prefix>{writer.written(prefix)}</Prefix>"
    head += "<EncodingType>url</EncodingType>" if encoding else ""
    store = cast("Transport", Store(rows, objects, head, page_size))
    operations = BucketOperations(store, "b", dialect=ListObjects("2"))
    listing = DirectoryListing("b", prefix, 0.0, proven())

    while not listing.is_complete:
        listing.add(operations.list_page(listing.next_query(), deadline=0.0), 0.0)

    tree = tree_of(objects, prefix).items()
    expected = {name: None if isinstance(node, Directory) else node for name, node in tree}
    shown = [*listed(listing)]
    assert expected == dict(shown)
    assert len(shown) == len(expected)
    assert listing.is_partial == any("<Key></Key>" in row for row in rows)

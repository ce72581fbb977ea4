"""Reports about listings: odd rows, odd pages, old versions of the API."""

import re

from tests.faults.bucket import Kind, Response, failure, xml
from tests.field import kinds
from tests.field.case import (
    BOTH,
    Case,
    every_request,
    fails,
    has_mtime,
    has_size,
    in_time,
    is_absent,
    is_directory,
    lists,
    logs,
    reads,
    reads_all,
)
from tests.field.kinds import HEAD, LIST, OBJECT
from tests.field.store import Answer, Oddity, Visit

MANY = {f"d/{number:03}": b"%d" % number for number in range(25)} | {"e/x": b"x", "f": b"f"}
NULL_TIME = "0001-01-01T00:00:00.000Z"
STAMP = r"(?<=<LastModified>)[^<]*"
ODD_NAMES = {"a+b/c d%20e": b"1", "50%.csv": b"2", "x y": b"3", "p+q": b"4", "%41": b"5"}
CONTROLS = {"a\x01b/c\x1f": b"1", "d\x08": b"2", "plain": b"3"}


def _ignores(*names: str) -> Oddity:
    """Ignore these parameters of listings."""
    return kinds.ask(LIST, lambda request: request.with_query(dict.fromkeys(names)))


def _time(text: str) -> Oddity:
    """List *text* as the time of each row."""
    return kinds.swap(STAMP, text)


def _absent_prefix(visit: Visit, answer: Answer) -> Response:
    """Answer 404 NoSuchKey to the listing of a prefix that has nothing."""
    response = answer(visit.request)
    is_empty = LIST(visit.request) and b"<Key>" not in response.body
    if is_empty and b"<CommonPrefixes>" not in response.body:
        return failure(404, "NoSuchKey", "The specified key does not exist.")
    return response


def _empty_before_marker(visit: Visit, answer: Answer) -> Response:
    """Send, for each first page, a truncated one without rows, whose marker is the prefix."""
    query = visit.request.query
    prefix = query.get("prefix", "")
    if not LIST(visit.request) or not prefix or "marker" in query:
        return answer(visit.request)
    return xml(
        f"<ListBucketResult><Prefix>{prefix}</Prefix><Marker></Marker>"
        f"<IsTruncated>true</IsTruncated><NextMarker>{prefix}</NextMarker></ListBucketResult>"
    )


def _inclusive(visit: Visit, answer: Answer) -> Response:
    """Begin a page with its marker."""
    request = visit.request
    marker = request.query.get("marker", "")
    if not LIST(request) or not marker:
        return answer(request)
    return answer(request.with_query({"marker": marker[:-1] + chr(ord(marker[-1]) - 1) + "~"}))


def _reference(found: re.Match[str]) -> str:
    return f"&#x{ord(found[0]):x};"


CASES = (
    Case("a store is ordinary", "No report: an ordinary store, small pages.", page_size=2),
    Case(
        "the requested prefix is among the common prefixes",
        "An object store's LIST of photos/ names photos/ in CommonPrefixes.",
        oddities=(kinds.names_requested_prefix,),
        may_log=("photos/",),
    ),
    Case(
        "a directory is listed as an object",
        "A gateway shows photos/ in Contents of the delimited listing above it.",
        oddities=(kinds.directories_as_objects,),
        steps=(is_directory("photos"), reads_all()),
        may_log=("photos/",),
    ),
    Case(
        "times have a numeric zone",
        "A store writes LastModified with +0000 for Z.",
        oddities=(kinds.swap(r"\.000Z</LastModified>", "+0000</LastModified>"),),
    ),
    Case(
        "one row has the zero time",
        "A store that never learnt a time lists the year 1 in one row.",
        oddities=(
            kinds.swap(r"(<Key>a.txt</Key><LastModified>)[^<]*", rf"\g<1>{NULL_TIME}", match=LIST),
        ),
        steps=(reads_all(), has_mtime("a.txt", 0)),
        may_log=("a.txt",),
    ),
    Case(
        "HEAD tells no time",
        "A gateway sends no Last-Modified with HEAD.",
        oddities=(kinds.header(HEAD, "Last-Modified", None),),
        options=("--no-prefetch", "all"),
        steps=(reads("a.txt"), reads_all()),
        may_log=("Last-Modified|time",),
        transports=BOTH,
    ),
    Case(
        "pages go on by marker alone",
        "A store of ListObjects, version 1, that ignores the parameters of version 2.",
        oddities=(kinds.version_1,),
        objects=MANY,
        page_size=10,
    ),
    Case(
        "a truncated page of version 2 has no token",
        "A gateway answers list-type=2 with IsTruncated, and with neither token nor marker; "
        "version 1 works.",
        oddities=(kinds.no_token,),
        objects=MANY,
        page_size=10,
    ),
    Case(
        "list version 1 is chosen beforehand",
        "A store that knows no list-type=2 answers 501 to it.",
        oddities=(kinds.without_version_2,),
        objects=MANY,
        page_size=10,
        options=("--list-version", "1"),
        steps=(
            reads_all(),
            every_request(Kind.LIST, lambda request: "list-type" not in request.query),
        ),
    ),
    Case(
        "truncated pages have no row",
        "A store with many delete markers sends truncated pages without rows first.",
        oddities=(kinds.empty_pages_first(2),),
        objects={"a.txt": b"first\n", "photos/x": b"x", "z": b"last\n"},
        options=("--no-prefetch", "all"),
        steps=(reads("a.txt"), is_absent("b"), is_absent("photo"), reads_all()),
    ),
    Case(
        "a truncated page has no token for good",
        "A store says IsTruncated without a token, and always sends the first page.",
        oddities=(
            _ignores("start-after", "marker"),
            kinds.no_token,
            kinds.swap("<NextMarker>.*?</NextMarker>", ""),
        ),
        objects=MANY,
        page_size=10,
        options=("--timeout", "20"),
        steps=(in_time(8, fails("EIO", "d", lambda path: list(path.iterdir()))),),
        may_log=("d/",),
    ),
    Case(
        "the document of a page is cut for good",
        "A proxy cuts LIST documents in the middle, with their right length.",
        oddities=(
            kinds.edit(
                kinds.of(LIST, "d/"),
                lambda page: page.with_body(page.body[: len(page.body) // 2]),
            ),
        ),
        objects=MANY,
        options=("--timeout", "20"),
        steps=(
            lists("", "d", "e", "f"),
            in_time(8, fails("EIO", "d", lambda path: list(path.iterdir()))),
        ),
        may_log=("d/",),
    ),
    # odd rows
    *(
        Case(
            f"a listing has {what}",
            report,
            oddities=(_time(text),),
            steps=(reads_all(), has_mtime("photos/two.jpg", mtime)),
            may_log=("1970",),
        )
        for what, text, mtime, report in (
            (
                "HTTP dates",
                "Sun, 05 May 2024 06:07:08 GMT",
                1714889228,
                "A gateway sends RFC 1123.",
            ),
            ("seconds", "1714889228", 1714889228, "A gateway sends Unix time."),
            ("milliseconds", "1714889228000", 1714889228, "A gateway sends JavaScript's time."),
            ("times without zone", "2024-05-05T06:07:08", 1714889228, "A gateway sends UTC bare."),
            (
                "times with a colon before them",
                ":2024-05-05T06:07:08Z",
                1714889228,
                "aistore #190: LastModified is written with a colon before it.",
            ),
            ("nanoseconds", "2024-05-05T06:07:08.000000000Z", 1714889228, "A Go server's time."),
            ("empty times", "", 0, "A gateway knows no times."),
            ("times in year 9999", "9999-12-31T23:59:59Z", 0, "A gateway's time of no end."),
            ("times that are none", "yesterday", 0, "A gateway sends words."),
        )
    ),
    Case(
        "a listing has no times",
        "LastModified is missing in all rows.",
        oddities=(kinds.swap("<LastModified>.*?</LastModified>", ""),),
        may_log=("1970",),
    ),
    Case(
        "a row has no size",
        "A gateway lists an object of which it knows no size.",
        oddities=(kinds.swap(r"(<Key>a.txt</Key>.*?)<Size>.*?</Size>", r"\1"),),
        steps=(lists("", "a.txt", "empty", "photos", "z"), has_size("a.txt", 6), reads_all()),
        may_log=("size",),
    ),
    Case(
        "a row has a negative size",
        "A gateway lists -1 for an object whose size it does not know.",
        oddities=(kinds.swap(r"(?<=<Key>a.txt</Key>)(.*?)<Size>.*?</Size>", r"\1<Size>-1</Size>"),),
        may_log=("size",),
    ),
    Case(
        "a row without a size cannot be looked up",
        "A gateway lists a row without a size, and refuses its HEAD and GET.",
        oddities=(
            kinds.swap(r"(<Key>a.txt</Key>.*?)<Size>.*?</Size>", r"\1"),
            kinds.refuses(kinds.of(OBJECT, "a.txt"), 403, ""),
        ),
        steps=(
            lists("", "empty", "photos", "z"),
            fails("EACCES", "a.txt", lambda path: path.stat()),
            reads("z"),
        ),
        log=("not found out",),
        may_log=("a.txt",),
    ),
    *(
        Case(
            f"rows have neither ETag nor size, and a HEAD is answered {status}",
            "A gateway lists names and times only; keys that may GET and LIST, or no HEAD at all.",
            oddities=(
                kinds.swap("<Size>.*?</Size>", ""),
                kinds.swap("<ETag>.*?</ETag>", ""),
                kinds.refuses(HEAD, status, ""),
            ),
            may_log=("size",),
        )
        for status in (403, 404)
    ),
    Case(
        "rows have neither ETag nor time",
        "A gateway lists names and sizes only; HEAD tells the rest.",
        oddities=(
            kinds.swap("<LastModified>.*?</LastModified>", ""),
            kinds.swap("<ETag>.*?</ETag>", ""),
        ),
        may_log=("1970|size",),
    ),
    Case(
        "rows are empty",
        "Serializers write an empty list as one empty element.",
        oddities=(kinds.add_rows("<Contents/><CommonPrefixes/>"),),
        steps=(reads_all(), is_absent("nothing"), is_absent("photos/2025")),
    ),
    Case(
        "a row has no key",
        "A gateway lists a row without a key.",
        oddities=(kinds.add_rows(kinds.row("")),),
        steps=(reads_all(), is_absent("nothing")),
        log=("without a key",),
    ),
    Case(
        "a row is outside of the prefix",
        "rclone #3704: a listing has entries that do not belong to the directory.",
        oddities=(
            kinds.add_rows(
                kinds.row("elsewhere.txt") + kinds.common_prefix("other/"),
                kinds.of(LIST, "photos/"),
            ),
        ),
        steps=(reads_all(), lists("photos", "2024", "two.jpg")),
        log=("outside",),
    ),
    Case(
        "a common prefix lacks its delimiter",
        "A gateway lists directories without the slash.",
        oddities=(kinds.swap("(<CommonPrefixes><Prefix>[^<]*)/</Prefix>", r"\1</Prefix>"),),
    ),
    Case(
        "the delimiter is ignored",
        "s3gw #306: a listing by delimiter has all that is below.",
        oddities=(_ignores("delimiter"),),
        page_size=2,
    ),
    Case(
        "common prefixes share one element",
        "noobaa-core #7281: one CommonPrefixes element has several Prefix elements.",
        oddities=(kinds.swap("</CommonPrefixes><CommonPrefixes>", ""),),
        objects={"a/x": b"1", "b/y": b"2", "c": b"3"},
    ),
    Case(
        "a file is listed as its own common prefix",
        "rustfs #2759: the LIST of a file's key and a slash has a row.",
        oddities=(kinds.names_requested_prefix,),
        options=("--no-prefetch", "all"),
        steps=(reads("a.txt"), is_absent("b"), reads_all()),
    ),
    Case(
        "rows come twice",
        "rustfs #2439: an object is listed twice in one page.",
        oddities=(kinds.swap("(<Contents>.*?</Contents>)", r"\1\1"),),
    ),
    Case(
        "keys are not encoded",
        "A store ignores encoding-type, and does not say EncodingType.",
        oddities=(_ignores("encoding-type"),),
        objects=ODD_NAMES,
    ),
    Case(
        "a plus is left as it is",
        "A Go server encodes keys by url.PathEscape: %20 for a space, and a plus for a plus.",
        oddities=(kinds.swap("%2B", "+"),),
        objects=ODD_NAMES,
    ),
    Case(
        "only some characters are encoded",
        "A store says EncodingType, and encodes what XML has trouble with.",
        oddities=(kinds.rows(lambda text: text.replace("%C3%A9", "é").replace("%28", "(")),),
        objects={"é(1)/x y": b"1", "é": b"2"},
    ),
    Case(
        "keys have control characters",
        "goofys #564, aws-sdk-go #1914: keys with characters that XML forbids, not encoded.",
        oddities=(_ignores("encoding-type"),),
        objects=CONTROLS,
    ),
    Case(
        "keys have references to control characters",
        "botocore #3496: a key's BEL is written as a character reference, which XML forbids.",
        oddities=(
            _ignores("encoding-type"),
            kinds.rows(lambda text: re.sub("[\\x01-\\x09\\x1f]", _reference, text)),
        ),
        objects=CONTROLS,
    ),
    Case(
        "keys are not UTF-8",
        "A gateway over a file tree lists names in Latin-1 as they are.",
        oddities=(_ignores("encoding-type"),),
        objects={"caf\udce9/x": b"1", "\udcff": b"2", "y": b"3"},
    ),
    # odd pages
    Case(
        "a page begins with a byte order mark",
        "A .NET server writes a BOM, and empty lines, before the XML.",
        oddities=(kinds.edit(LIST, lambda page: page.with_body(b"\xef\xbb\xbf\r\n" + page.body)),),
        transports=BOTH,
    ),
    Case(
        "a page has another root",
        "A server names the root of the page after the operation.",
        oddities=(kinds.swap("ListBucketResult", "ListObjectsV2Result"),),
    ),
    Case(
        "IsTruncated is left out",
        "zq1 #3553: the element IsTruncated is missing where it would be false.",
        oddities=(kinds.swap("<IsTruncated>false</IsTruncated>", ""),),
        page_size=2,
    ),
    Case(
        "IsTruncated is written as Python has it",
        "A server in Python writes True and False.",
        oddities=(
            kinds.swap("<IsTruncated>true", "<IsTruncated>True"),
            kinds.swap("<IsTruncated>false", "<IsTruncated>False"),
        ),
        page_size=2,
    ),
    Case(
        "KeyCount counts the bucket",
        "s3ninja #251: KeyCount is 50493 in a page of ten, which has no token.",
        oddities=(kinds.swap("<KeyCount>.*?<", "<KeyCount>50493<"), kinds.no_token),
        page_size=2,
    ),
    Case(
        "KeyCount counts rows that are not there",
        "A proxy drops rows of a page.",
        oddities=(kinds.swap("<KeyCount>2<", "<KeyCount>3<", match=kinds.of(LIST, "photos/")),),
        options=("--no-prefetch", "all", "--timeout", "5"),
        steps=(
            reads("a.txt"),
            fails("EIO|ETIMEDOUT", "photos", lambda path: list(path.iterdir())),
        ),
        may_log=("photos/",),
        within=30,
    ),
    Case(
        "a page has more rows than a thousand",
        "riak_cs #198: max-keys is ignored, and all keys come in one page.",
        oddities=(_ignores("max-keys"),),
        objects={f"d/{number:04}": b"" for number in range(3000)} | {"e": b"e"},
        page_size=100_000,
        steps=(lists("d", *(f"{number:04}" for number in range(3000))), reads("e")),
    ),
    Case(
        "another prefix is listed",
        "A cache confuses the listings of prefixes.",
        oddities=(
            kinds.ask(
                kinds.of(LIST, "photos/"), lambda request: request.with_query({"prefix": "zoo/"})
            ),
        ),
        options=("--no-prefetch", "all", "--timeout", "5"),
        steps=(
            reads("a.txt"),
            fails("EIO|ETIMEDOUT", "photos", lambda path: list(path.iterdir())),
        ),
        may_log=("photos/",),
        within=30,
    ),
    Case(
        "a prefix without rows is not found",
        "rclone #7455: LIST of a prefix that has nothing is 404 NoSuchKey.",
        oddities=(_absent_prefix,),
        options=("--no-prefetch", "all"),
        steps=(reads("a.txt"), is_absent("b"), reads_all()),
    ),
    Case(
        "truncated pages have no row, and lookups are prefetched",
        "The same store, in the ordinary way of a mount.",
        oddities=(kinds.empty_pages_first(3),),
        objects=MANY,
        page_size=10,
        steps=(reads("f"), is_absent("g"), is_absent("d/x"), reads_all()),
    ),
    Case(
        "markers follow pages without rows",
        "s3ql #170: a store of version 1 sends truncated pages without rows.",
        oddities=(kinds.version_1, _empty_before_marker),
        objects=MANY,
        page_size=10,
    ),
    # pages by marker
    Case(
        "version 2 is not implemented",
        "mountpoint-s3 #688: a store has version 1 of the API only.",
        oddities=(kinds.without_version_2,),
        objects=MANY,
        page_size=10,
    ),
    Case(
        "version 2 is answered as version 1",
        "aws-cli #4128: RadosGW answers list-type=2 with Marker and NextMarker.",
        oddities=(kinds.version_1, kinds.swap("<MaxKeys>", "<Marker></Marker><MaxKeys>")),
        objects=MANY,
        page_size=10,
        steps=(reads_all(), logs("pages listings by marker")),
    ),
    Case(
        "markers end in the middle of a directory",
        "versitygw #1280, localstack #9605: NextMarker is no common prefix, which comes again.",
        oddities=(
            kinds.version_1,
            kinds.swap("<NextMarker>.*?</NextMarker>", ""),
        ),
        objects={f"d{number:02}/{name}": b"x" for number in range(9) for name in "abc"},
        page_size=2,
    ),
    Case(
        "a marker comes again",
        "s3rver #35: a page begins with its marker.",
        oddities=(kinds.version_1, _inclusive),
        objects=MANY,
        page_size=10,
    ),
    Case(
        "markers and a large directory",
        "A store of version 1 with some dozens of pages.",
        oddities=(kinds.version_1,),
        objects={f"d/{number:04}": b"" for number in range(3000)} | {"e": b"e"},
        page_size=60,
        steps=(lists("d", *(f"{number:04}" for number in range(3000))), reads("e")),
    ),
)

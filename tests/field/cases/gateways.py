"""Reports about gateways and proxies whose single answers have another form than S3's."""

import re
from collections.abc import Callable
from dataclasses import replace

from tests.faults.bucket import Response, failure, xml
from tests.faults.hostile_store import HangUp
from tests.field import kinds
from tests.field.case import (
    BOTH,
    NATIVE,
    OBJECTS,
    Case,
    Run,
    fails,
    in_time,
    is_absent,
    is_directory,
    lists,
    reads,
    reads_all,
    repeats,
    right_or_fails,
    with_both,
)
from tests.field.cases.bodies import packs
from tests.field.kinds import GET, LIST, OBJECT
from tests.field.store import Answer, Oddity, Visit

BIG = {"big": bytes(range(251)) * 9000, "small": b"a few bytes\n", "empty": b""}
MANY = {f"d/{number:03}/x": b"%03d" % number for number in range(25)} | {"e": b"e"}
SMALL_PARTS = ("--part-size", "1MiB")
FRESH = ("--metadata-ttl", "0")
ERROR = xml(
    "<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again."
    "</Message><RequestId>656c76696e6727732072657175657374</RequestId></Error>"
)


# ---- listings


def reverses(text: str) -> str:
    """Return a page whose rows and common prefixes are in reverse order."""
    rows = r"<(Contents|CommonPrefixes)>.*?</\1>"
    found = [match[0] for match in re.finditer(rows, text)]
    return re.sub(rows, lambda _: found.pop(), text)


def spells_tokens(visit: Visit, answer: Answer) -> Response:
    """Wrap tokens in characters that URLs and signatures have to encode."""
    request, before = visit.request, "a b+c/d=&%2B'$é;"
    token = request.query.get("continuation-token")
    if token is not None:
        if not token.startswith(before):
            return failure(400, "InvalidArgument", "The continuation token provided is incorrect")
        request = request.with_query({"continuation-token": token.removeprefix(before)})
    spelt = before.replace("&", "&amp;")
    tag = "<NextContinuationToken>"
    return kinds.swap(tag, tag + spelt)(visit, lambda _request: answer(request))


def tells_a_marker(visit: Visit, answer: Answer) -> Response:
    """Answer version 2 with NextMarker for the token, and know start-after only."""
    request = visit.request.with_query({"marker": None, "continuation-token": None})
    response = answer(request)
    if not LIST(request) or response.status != 200:
        return response
    text = response.body.decode()
    names = re.findall(r"<(?:Key|Prefix)>([^<]+)</", text.partition("<Contents>")[2] or text)
    marker = f"<NextMarker>{max(names, default='')}</NextMarker>"
    text = re.sub("<NextContinuationToken>.*?</NextContinuationToken>", marker, text)
    return response.with_body(text.encode())


def renames_elements(text: str) -> str:
    """Return a page whose elements have a prefix of the namespace, as JAXB writes them."""
    text = re.sub(r"<(/?)(\w)", r"<\1ns2:\2", text)
    return text.replace(" xmlns=", " xmlns:ns2=")


def indents(text: str) -> str:
    return re.sub(r"(<Size>)(\d+)", r"\1 \2 ", re.sub(r"(>)(<)", r"\1\r\n\t\2", text))


def reads_what_is_there(run: Run) -> None:
    """Check all objects, whatever other names there are."""
    for name in run.case.objects:
        if not name.endswith("/"):
            reads(name)(run)


_LISTS = (
    Case(
        "rows are not sorted",
        "S3 Express lists in no order (mountpoint-s3 #755); so do gateways over a file tree.",
        oddities=(kinds.rows(reverses),),
        objects={**MANY, "dir/x": b"1", "dir-1/x": b"2", "dir": b"3"},
        page_size=7,
        steps=(
            lists("", "d", "dir", "dir-1", "e"),
            lists("d", *(f"{number:03}" for number in range(25))),
            reads("dir-1/x"),
            reads("d/024/x"),
        ),
    ),
    Case(
        "directories come twice",
        "rclone #8315: Backblaze B2 shows directories twice in a listing.",
        oddities=(kinds.swap(r"(<CommonPrefixes>.*?</CommonPrefixes>)", r"\1\1"),),
        objects=MANY,
        page_size=7,
    ),
    Case(
        "tokens are not plain",
        "sync-engine #207, awscr-s3 #61, #161: tokens have quotes, slashes, a plus or a space.",
        oddities=(spells_tokens,),
        objects=MANY,
        page_size=7,
    ),
    Case(
        "version 2 tells a marker, and goes on after a key only",
        "rustfs #1596: NextMarker for NextContinuationToken in version 2.",
        oddities=(tells_a_marker,),
        objects={f"d/{number:03}": b"%03d" % number for number in range(25)},
        page_size=7,
    ),
    Case(
        "the second page of version 2 has no token",
        "rclone #7972: by delimiter, the second page has nothing to go on with.",
        oddities=(
            kinds.edit(
                lambda request: LIST(request) and "continuation-token" in request.query,
                lambda page: page.with_body(
                    re.sub(b"<NextContinuationToken>.*?</NextContinuationToken>", b"", page.body)
                ),
            ),
        ),
        objects=MANY,
        page_size=7,
    ),
    Case(
        "elements have a prefix of their namespace",
        "Java servers write ns2:ListBucketResult.",
        oddities=(kinds.rows(renames_elements),),
    ),
    Case(
        "elements have another namespace",
        "Google writes http://doc.s3.amazonaws.com/2006-03-01, others none.",
        oddities=(kinds.swap('xmlns=".*?"', 'xmlns="http://doc.s3.amazonaws.com/2006-03-01"'),),
    ),
    Case(
        "elements are indented",
        "Servers that print XML for people, with white space around numbers.",
        oddities=(kinds.rows(indents),),
    ),
    Case(
        "keys are CDATA",
        "Servers in PHP write keys as CDATA.",
        oddities=(kinds.swap(r"<Key>(.*?)</Key>", r"<Key><![CDATA[\1]]></Key>"),),
    ),
    Case(
        "a slash is encoded",
        "Listings by encoding-type=url that write %2F for each slash.",
        oddities=(
            kinds.rows(
                lambda text: re.sub(
                    r"<(Key|Prefix)>(.*?)<", lambda m: f"<{m[1]}>{m[2].replace('/', '%2F')}<", text
                )
            ),
        ),
    ),
    Case(
        "ETags have no quotes in listings",
        "Gateways that list the digits alone.",
        oddities=(kinds.swap("&quot;", ""), kinds.swap('<ETag>"(.*?)"', r"<ETag>\1")),
    ),
    Case(
        "control characters are replaced",
        "minio #15023: keys with control characters are listed with U+FFFD, and come twice.",
        oddities=(
            kinds.add_rows(
                kinds.row("X\ufffdY") * 2,
                lambda request: LIST(request) and not request.key_or_prefix,
            ),
        ),
        options=("--no-prefetch", "all"),
        steps=(
            lists("", "a.txt", "empty", "photos", "z", "X\ufffdY"),
            reads_what_is_there,
        ),
    ),
    Case(
        "a POSIX gateway lists a directory as an object, too",
        "versitygw #572: a directory is an object of 4096 bytes, too.",
        oddities=(
            kinds.add_rows(
                kinds.row("photos").replace("<Size>0", "<Size>4096"),
                lambda request: LIST(request) and "photos".startswith(request.key_or_prefix),
            ),
            kinds.instead(
                lambda request: OBJECT(request) and request.key in ("photos", "photos/"),
                Response(
                    200,
                    (
                        ("Content-Length", "4096"),
                        ("Content-Type", "application/x-directory"),
                        ("ETag", '"0123456789abcdef0123456789abcdef"'),
                        ("Last-Modified", "Mon, 06 May 2024 07:08:09 GMT"),
                    ),
                    bytes(4096),
                ),
            ),
        ),
        options=FRESH,
        steps=(is_directory("photos"), reads_all()),
    ),
    Case(
        "a HEAD of what is not there is refused",
        "geesefs #112: the proxy of a public archive answers 403 for whatever is not there.",
        oddities=(
            kinds.instead(
                lambda request: OBJECT(request) and request.key not in OBJECTS,
                Response(403, (("Content-Length", "0"),)),
            ),
        ),
        options=FRESH,
        steps=(is_directory("photos"), is_absent("new"), is_absent("photos/new"), reads_all()),
    ),
    Case(
        "one object of a directory is refused",
        "s3fs-fuse #197: one object that is not allowed ended ls of its directory.",
        oddities=(kinds.refuses(kinds.of(OBJECT, "photos/two.jpg"), 403, "AccessDenied"),),
        options=FRESH,
        steps=(
            lists("photos", "2024", "two.jpg"),
            fails("EACCES", "photos/two.jpg"),
            reads("photos/2024/one.jpg"),
        ),
        log=("EACCES",),
    ),
    Case(
        "a listing is 200, and an error",
        "s3fs-fuse #1317: HTTP 200 might be an error response.",
        oddities=(kinds.after(1, LIST, kinds.first(2, LIST, kinds.instead(LIST, ERROR))),),
    ),
    Case(
        "listings are packed on the fly",
        "nginx and Cloudflare pack XML, too, if the request accepts gzip.",
        oddities=(
            kinds.header(LIST, "ETag", '"page"'),
            packs(match=LIST),
        ),
        transports=BOTH,
    ),
)


# ---- objects


def without_its_range(status: int, *, keeps: bool = False) -> Oddity:
    """Send a part with *status*, and without Content-Range unless *keeps*."""

    def change(response: Response) -> Response:
        if response.status != 206:
            return response
        part = replace(response, status=status)
        return part if keeps else part.with_header("Content-Range", None)

    return kinds.edit(GET, change)


def as_multipart(response: Response) -> Response:
    """Send a part as multipart/byteranges of one part."""
    if response.status != 206:
        return response
    inner = (
        f"Content-Type: binary/octet-stream\r\nContent-Range: {response.header('Content-Range')}"
    )
    body = b"--B\r\n" + inner.encode() + b"\r\n\r\n" + response.body + b"\r\n--B--\r\n"
    whole = response.with_body(body).with_header("Content-Range", None)
    return whole.with_header("Content-Type", "multipart/byteranges; boundary=B")


def interim(head: bytes) -> Oddity:
    """Send an interim response before each answer."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        visit.exchange.send(head)
        return answer(visit.request)

    return oddity


def with_status_line(change: Callable[[bytes], bytes]) -> Oddity:
    """Send each answer with another status line."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        response = visit.exchange.stamp(answer(visit.request))
        first, rest = response.head.split(b"\r\n", 1)
        body = b"" if visit.request.method == "HEAD" else response.body
        visit.exchange.send(change(first) + b"\r\n" + rest + body)
        raise HangUp

    return oddity


def with_trailers(visit: Visit, answer: Answer) -> Response:
    """Send each body of a GET in chunks with extensions, and a trailer after them."""
    response = answer(visit.request)
    if not GET(visit.request) or response.status >= 300:
        return response
    pieces = [response.body[at : at + 50_000] for at in range(0, len(response.body), 50_000)]
    body = b"".join(b"%X;chunk-signature=0\r\n%b\r\n" % (len(p), p) for p in pieces)
    body += b"0\r\nx-amz-checksum-crc32c: AAAAAA==\r\nX-Other: 1\r\n\r\n"
    response = response.with_header("Content-Length", None)
    response = response.with_header("Trailer", "x-amz-checksum-crc32c")
    return replace(response.with_header("Transfer-Encoding", "chunked"), body=body)


def many_headers(count: int) -> Oddity:
    def change(response: Response) -> Response:
        extra = tuple((f"x-amz-meta-{number}", "v") for number in range(count))
        return replace(response, headers=(*response.headers, *extra))

    return kinds.edit(OBJECT, change)


_OBJECTS = (
    *(
        Case(
            f"a part comes {how}",
            report,
            oddities=(without_its_range(status, keeps=keeps),),
            objects=BIG,
            options=SMALL_PARTS,
            steps=(reads("small"), reads("empty"), step),
            may_log=may_log,
        )
        for how, report, status, keeps, step, may_log in (
            (
                "without Content-Range",
                "s3proxy #664, delta-rs #2544: 206 without Content-Range.",
                *(206, False, reads("big"), ()),
            ),
            (
                "with the status 200 and Content-Range",
                "lakeFS #6100: 200 for a range, and the body is the range's.",
                *(200, True, reads("big"), ()),
            ),
            (
                "with the status 200 alone",
                "lakeFS #6100: 200 for a range, and nothing that says which.",
                *(200, False, right_or_fails("EIO", "big"), ("EIO",)),
            ),
        )
    ),
    Case(
        "a part's range has a name of its own",
        "aws-sdk-java-v2 #1861: x-amz-content-range instead of Content-Range.",
        oddities=(
            kinds.edit(
                GET,
                lambda each: replace(
                    each,
                    headers=tuple(
                        ("x-amz-content-range" if name == "Content-Range" else name, value)
                        for name, value in each.headers
                    ),
                ),
            ),
        ),
        objects=BIG,
        options=SMALL_PARTS,
    ),
    Case(
        "a part comes as multipart",
        "Servers that answer one range as if there were several.",
        oddities=(kinds.edit(GET, as_multipart),),
        objects=BIG,
        options=SMALL_PARTS,
        steps=(right_or_fails("EIO", "big"),),
        may_log=("EIO",),
    ),
    Case(
        "an unreadable object is an error with 206",
        "silo #110: 206, and the error document as the object; HEAD has a length of 0.",
        oddities=(
            kinds.instead(
                kinds.of(OBJECT, "small"),
                replace(
                    failure(206, "XMinioObjectTampered", "The requested object was modified"),
                    is_bodiless=False,
                ),
            ),
        ),
        objects=BIG,
        options=SMALL_PARTS,
        steps=(fails("EIO", "small"), reads("big")),
        log=("EIO",),
    ),
    Case(
        "a GET is 200, and an error, once",
        "sevenbridges-python #82: the end of an error document in a file that was downloaded.",
        oddities=(kinds.first(1, GET, kinds.instead(GET, ERROR)),),
    ),
    Case(
        "an empty object is listed with a size, and has no range",
        "ceph #10207, s3proxy #51 (Intrinsec): nothing is listed with 28 bytes.",
        oddities=(
            kinds.list_sizes(lambda size: size + 28),
            kinds.refuses(
                lambda each: GET(each) and each.key == "empty" and "range" in each.headers,
                416,
                "InvalidRange",
            ),
        ),
        objects=BIG,
        options=SMALL_PARTS,
        steps=(lists("", "big", "small", "empty"), repeats(2, reads("empty")), reads_all()),
    ),
    Case(
        "a GET tells no ETag",
        "s3proxy #615: a GET without an ETag.",
        oddities=(kinds.header(GET, "ETag", None),),
        objects=BIG,
        options=SMALL_PARTS,
    ),
    Case(
        "there are no ETags",
        "cloudpathlib #582: stores that tell no ETag, neither in listings nor of objects.",
        oddities=(kinds.header(OBJECT, "ETag", None), kinds.swap("<ETag>.*?</ETag>", "")),
        objects=BIG,
        options=SMALL_PARTS,
    ),
    *(
        Case(
            f"a HEAD tells the time as {text!r}",
            "gofakes3 #9, pithos #78, s3proxy #903: times of HEAD and GET in other forms.",
            oddities=(kinds.header(OBJECT, "Last-Modified", text),),
            options=FRESH,
            steps=(reads("a.txt"), reads_all()),
        )
        for text in (
            "2024-12-21T22:11:46.000Z",
            "Thu, 10 Mar 2016 15:55:19 +00:00",
            "Thu, 9 Oct 2025 17:10:35 UTC",
            "1700000000",
            "Mon, 01 Jan 0001 00:00:00 GMT",
            "",
        )
    ),
    Case(
        "metadata is UTF-8",
        "opendal #6131, lakeFS #9588: MinIO sends metadata as it was stored.",
        oddities=(kinds.header(OBJECT, "x-amz-meta-note", "Ã¶ha\x04 \xff"),),
        options=FRESH,
    ),
    Case(
        "an object has 150 pairs of metadata",
        "boto3 #2789: a pair of metadata for each of 135 columns. http.client, below boto3, takes"
        " a hundred header fields.",
        oddities=(many_headers(150),),
        options=FRESH,
        transports=NATIVE,
    ),
    Case(
        "an archived object was restored",
        "mountpoint-s3 #452: a restored object of GLACIER was refused.",
        oddities=(
            kinds.swap("</Contents>", "<StorageClass>GLACIER</StorageClass></Contents>"),
            kinds.header(OBJECT, "x-amz-storage-class", "GLACIER"),
            kinds.header(OBJECT, "x-amz-restore", 'ongoing-request="false"'),
        ),
    ),
    Case(
        "an archived object is not restored",
        "mountpoint-s3 #152, restic in zerobyte #348: minutes of retries for an archived object.",
        oddities=(kinds.refuses(kinds.of(GET, "a.txt"), 403, "InvalidObjectState"),),
        steps=(in_time(2, fails("EACCES", "a.txt")), reads("z")),
        log=("InvalidObjectState",),
    ),
    *(
        Case(
            f"a GET is {status} {code} once",
            report,
            oddities=(kinds.first(1, kinds.of(GET, "a.txt"), kinds.refuses(GET, status, code)),),
            steps=(reads("a.txt"), reads_all()),
        )
        for status, code, report in (
            (400, "RequestTimeout", "tensorlake #469: 400 on a connection that was idle."),
            (403, "RequestTimeTooSkewed", "mountpoint-s3 #518: a machine has just resumed."),
            (404, "NoSuchKey", "A replica that has not got the object yet."),
            (409, "OperationAborted", "A conflicting operation is in progress."),
            (425, "", "A proxy of TLS 1.3 says: too early."),
            (429, "TooManyRequests", "Limits of Cloudflare R2 and others."),
            (500, "InternalError", "An error in passing."),
            (502, "", "A load balancer lost its backend."),
            (520, "", "Cloudflare: an unknown error of the origin."),
        )
    ),
    *(
        Case(
            f"an object is stored as {coding}, and is not",
            "s3cmd and others store what they guess as Content-Encoding; the bytes are the bytes.",
            oddities=(kinds.header(OBJECT, "Content-Encoding", coding),),
            objects=BIG,
            options=SMALL_PARTS,
        )
        for coding in ("gzip", "br", "zstd", "deflate", "utf-8")
    ),
)

_HTTP = (
    *(
        Case(
            f"an interim response comes first, {name}",
            "aws-cli #1116: a proxy sends 100 Continue with headers; Cloudflare sends 103.",
            oddities=(interim(head),),
            objects=BIG,
            options=SMALL_PARTS,
        )
        for name, head in (
            ("100", b"HTTP/1.1 100 Continue\r\nConnection: keep-alive\r\n\r\n"),
            ("103", b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"),
        )
    ),
    *(
        Case(
            f"a status line is {name}",
            "Servers without a reason in the status line, or with one of Latin-1.",
            oddities=(with_status_line(change),),
        )
        for name, change in (
            ("without a reason", lambda line: line[:12]),
            ("in Latin-1", lambda line: line[:13] + b"Gr\xfc\xdfe"),
            ("of HTTP 1.0", lambda line: line.replace(b"1.1", b"1.0")),
        )
    ),
    Case(
        "chunks have extensions and trailers",
        "botocore sends these, and gateways send them back: aws-chunked with a trailer.",
        oddities=(with_trailers,),
        objects=BIG,
        options=SMALL_PARTS,
    ),
)


def wants_region(response: Response) -> Oddity:
    """Answer *response* to requests that are not signed for eu-nl-1."""
    return kinds.instead(lambda each: "/eu-nl-1/s3/" not in each.headers["authorization"], response)


def says_region(status: int, code: str, region: str = "") -> Response:
    message = "The authorization header is malformed; the region is wrong; expecting 'eu-nl-1'"
    return xml(f"<Error><Code>{code}</Code><Message>{message}</Message>{region}</Error>", status)


ELEMENT = "<Region>eu-nl-1</Region>"
_REGIONS = (
    Case(
        "the store names its region in the refusal",
        "s3fs-fuse #1186, s5cmd #354: an OpenStack store wants its own region.",
        oddities=(wants_region(says_region(400, "AuthorizationHeaderMalformed", ELEMENT)),),
    ),
    Case(
        "the store names its region in a header of a 301",
        "goofys #528, AWSS3.jl #25: PermanentRedirect without Location.",
        oddities=(
            wants_region(
                says_region(301, "PermanentRedirect").with_header("x-amz-bucket-region", "eu-nl-1")
            ),
        ),
    ),
    *(
        Case(
            f"the store names its region in words only, with {code}",
            "juicefs #5636, s3clix #2: nothing but the message names the region.",
            oddities=(wants_region(says_region(400, code)),),
            refused="--region",
        )
        for code in ("AuthorizationHeaderMalformed", "PermanentRedirect")
    ),
    Case(
        "the region that is asked for is told in words, and is given",
        "s3fs-fuse #1186: the option mends it.",
        oddities=(wants_region(says_region(400, "AuthorizationHeaderMalformed")),),
        options=("--region", "eu-nl-1"),
    ),
)

CASES = (*_LISTS, *with_both(_OBJECTS + _HTTP), *_REGIONS)

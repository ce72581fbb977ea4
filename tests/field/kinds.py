"""Oddities of stores and networks as composable values.

An oddity gets a visit and the answer of the oddities before it, and returns its own. A match
chooses requests. No oddity keeps state: what counts is counted by the store of the visit.
"""

import gzip
import re
from collections.abc import Callable
from dataclasses import replace

from tests.faults.bucket import Kind, Request, Response, failure, xml
from tests.faults.hostile_store import HangUp
from tests.field.store import Answer, Oddity, Visit

Match = Callable[[Request], bool]
Edit = Callable[[Response], Response]


# ---- matches


def LIST(request: Request) -> bool:  # noqa: N802
    return request.kind is Kind.LIST


def HEAD(request: Request) -> bool:  # noqa: N802
    return request.kind is Kind.HEAD


def GET(request: Request) -> bool:  # noqa: N802
    return request.kind is Kind.GET


def ANY(_request: Request) -> bool:  # noqa: N802
    return True


def OBJECT(request: Request) -> bool:  # noqa: N802
    return request.kind in (Kind.HEAD, Kind.GET)


def of(match: Match, prefix: str) -> Match:
    """Narrow *match* to keys, or listed prefixes, that begin with *prefix*."""
    return lambda request: match(request) and request.key_or_prefix.startswith(prefix)


def asking(match: Match, **query: str) -> Match:
    """Narrow *match* to requests with these query parameters, written with `_` for `-`."""
    wanted = {name.replace("_", "-"): value for name, value in query.items()}
    return lambda request: match(request) and wanted.items() <= request.query.items()


def with_header(match: Match, name: str) -> Match:
    return lambda request: match(request) and name in request.headers


def without_header(match: Match, name: str) -> Match:
    return lambda request: match(request) and name not in request.headers


# ---- combinators


def edit(match: Match, change: Edit) -> Oddity:
    """Change the answer to matching requests that succeeds."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        response = answer(visit.request)
        return change(response) if match(visit.request) and response.status < 300 else response

    return oddity


def ask(match: Match, change: Callable[[Request], Request]) -> Oddity:
    """Answer another request than the matching one."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        request = visit.request
        return answer(change(request) if match(request) else request)

    return oddity


def instead(match: Match, response: Response) -> Oddity:
    """Answer *response* to matching requests."""
    return lambda visit, answer: response if match(visit.request) else answer(visit.request)


def first(times: int, match: Match, oddity: Oddity) -> Oddity:
    """Limit *oddity* to the first matching requests."""

    def limited(visit: Visit, answer: Answer) -> Response:
        if match(visit.request) and visit.count(limited) <= times:
            return oddity(visit, answer)
        return answer(visit.request)

    return limited


def after(times: int, match: Match, oddity: Oddity) -> Oddity:
    """Limit *oddity* to matching requests after the first *times*."""

    def limited(visit: Visit, answer: Answer) -> Response:
        if match(visit.request) and visit.count(limited) > times:
            return oddity(visit, answer)
        return answer(visit.request)

    return limited


# ---- listings


def rows(change: Callable[[str], str], match: Match = LIST) -> Oddity:
    """Change the XML of listings."""
    return edit(match, lambda response: xml(change(_text(response))))


def swap(pattern: str, replacement: str, count: int = 0, *, match: Match = LIST) -> Oddity:
    """Replace the matches of *pattern* in the XML of listings, or only *count* of them."""
    return rows(lambda text: re.sub(pattern, replacement, text, count=count), match)


def add_rows(elements: str, match: Match = LIST) -> Oddity:
    """Add *elements* at the end of each page."""
    return rows(
        lambda text: text.replace("</ListBucketResult>", f"{elements}</ListBucketResult>"), match
    )


def row(key: str, body: str = "", *, mtime: str = "2024-05-06T07:08:09.000Z") -> str:
    """Return a Contents element."""
    return (
        f"<Contents><Key>{key}</Key><LastModified>{mtime}</LastModified>"
        f'<ETag>"d41d8cd98f00b204e9800998ecf8427e"</ETag><Size>{len(body)}</Size></Contents>'
    )


def common_prefix(prefix: str) -> str:
    return f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"


def names_requested_prefix(visit: Visit, answer: Answer) -> Response:
    """Name the requested prefix among the common prefixes of its own listing."""
    prefix = visit.request.query.get("prefix", "") if LIST(visit.request) else ""
    return add_rows(common_prefix(prefix))(visit, answer) if prefix else answer(visit.request)


def directories_as_objects(visit: Visit, answer: Answer) -> Response:
    """List each common prefix as an object of no bytes."""

    def as_object(found: re.Match[str]) -> str:
        return row(found[1])

    pattern = r"<CommonPrefixes><Prefix>(.*?)</Prefix></CommonPrefixes>"
    return rows(lambda text: re.sub(pattern, as_object, text))(visit, answer)


def needs_prefix(visit: Visit, answer: Answer) -> Response:
    """Allow only listings with a prefix in the query, even an empty one."""
    if LIST(visit.request) and "prefix" not in visit.request.query:
        return failure(403, "AccessDenied", "Access Denied")
    return answer(visit.request)


def version_1(visit: Visit, answer: Answer) -> Response:
    """Ignore all of version 2: page by Marker, and tell NextMarker with a delimiter only."""
    newer = {"list-type": None, "continuation-token": None, "start-after": None}
    return ask(LIST, lambda request: request.with_query(newer))(visit, answer)


def without_version_1(visit: Visit, answer: Answer) -> Response:
    if LIST(visit.request) and "list-type" not in visit.request.query:
        return failure(501, "NotImplemented", "ListObjects is not implemented")
    return answer(visit.request)


def without_version_2(visit: Visit, answer: Answer) -> Response:
    if LIST(visit.request) and "list-type" in visit.request.query:
        return failure(501, "NotImplemented", "ListObjectsV2 is not implemented")
    return answer(visit.request)


no_token = swap("<NextContinuationToken>.*?</NextContinuationToken>", "")


def empty_pages_first(pages: int, match: Match = LIST) -> Oddity:
    """Send *pages* pages without rows, each truncated, before each listing's first row."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        request = visit.request
        token = request.query.get("continuation-token", "")
        if not match(request) or (token and not token.startswith("empty-")):
            return answer(request)
        reached = int(token.removeprefix("empty-") or 0)
        if reached == pages:
            return answer(request.with_query({"continuation-token": None}))
        prefix = request.query.get("prefix", "")
        return xml(
            f"<ListBucketResult><Name>{request.bucket}</Name><Prefix>{prefix}</Prefix>"
            "<KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated>"
            f"<NextContinuationToken>empty-{reached + 1}</NextContinuationToken></ListBucketResult>"
        )

    return oddity


def list_sizes(change: Callable[[int], int]) -> Oddity:
    """List other sizes than the objects have."""
    pattern = r"<Size>(\d+)</Size>"
    return rows(
        lambda text: re.sub(pattern, lambda size: f"<Size>{change(int(size[1]))}</Size>", text)
    )


def list_etags(etag: str) -> Oddity:
    """List *etag* for each object."""
    return swap("<ETag>.*?</ETag>", f"<ETag>{etag}</ETag>")


# ---- objects


def header(match: Match, name: str, value: str | None) -> Oddity:
    """Set this header of answers, or remove it if *value* is None."""
    return edit(match, lambda response: response.with_header(name, value))


def ignores(*names: str) -> Oddity:
    """Answer as if these headers had not been in the request."""
    return ask(
        ANY,
        lambda request: replace(
            request,
            headers={name: text for name, text in request.headers.items() if name not in names},
        ),
    )


def refuses_if_match(visit: Visit, answer: Answer) -> Response:
    """Answer 412 to every If-Match, though the ETag is current."""
    if "if-match" in visit.request.headers:
        return failure(412, "PreconditionFailed", "At least one of the pre-conditions did not hold")
    return answer(visit.request)


def without_ranges(status: int, code: str = "NotImplemented") -> Oddity:
    """Refuse every Range, or ignore it if *status* is 200."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        if status == 200:
            return ignores("range")(visit, answer)
        if "range" in visit.request.headers:
            return failure(status, code, "A header you provided implies functionality not here")
        return answer(visit.request)

    return oddity


def unpacks_gzip(visit: Visit, answer: Answer) -> Response:
    """Unpack objects with Content-Encoding gzip unless the request accepts gzip, as GCS does.

    The unpacked bytes come in chunks, without a length, whatever range was requested.
    """
    request = visit.request
    accepts = "gzip" in request.headers.get("accept-encoding", "")
    whole = answer(replace(request, headers=_without(request, "range")))
    is_packed = whole.status == 200 and ("Content-Encoding", "gzip") in whole.headers
    if accepts or not is_packed or not OBJECT(request):
        return answer(request)
    unpacked = gzip.decompress(whole.body) if GET(request) else b""
    plain = replace(whole, body=unpacked, cut_after=len(unpacked))
    changes = {"Content-Encoding": None, "Content-Length": None, "Connection": "close"}
    for name, value in {**changes, "Warning": "214 UploadServer gunzipped"}.items():
        plain = plain.with_header(name, value)
    return plain


def flips_a_bit(match: Match = GET, *, at: int = 0) -> Oddity:
    """Flip a bit of the body at *at*."""

    def flip(response: Response) -> Response:
        body = bytearray(response.body)
        if len(body) > at:
            body[at] ^= 0x10
        return replace(response, body=bytes(body))

    return edit(match, flip)


def other_bytes(change: Callable[[Request, bytes], bytes], match: Match = GET) -> Oddity:
    """Send a changed body, with its length."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        response = answer(visit.request)
        if not match(visit.request) or response.status >= 300:
            return response
        return response.with_body(change(visit.request, response.body))

    return oddity


# ---- refusals, delays, connections


def refuses(match: Match, status: int, code: str, message: str = "No") -> Oddity:
    """Answer with S3's error document; an empty *code* leaves the body empty."""
    if code:
        return instead(match, failure(status, code, message))
    return instead(match, Response(status, (("Content-Length", "0"),)))


def busy(times: int, match: Match = ANY, status: int = 503, code: str = "SlowDown") -> Oddity:
    """Refuse the first *times* matching requests."""
    return first(times, match, refuses(match, status, code, "Please reduce your request rate"))


def slow(match: Match, seconds: float) -> Oddity:
    """Send the first byte of the answer after *seconds*."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        if match(visit.request):
            visit.exchange.pause(seconds)
        return answer(visit.request)

    return oddity


def cuts_bodies(limit: int, match: Match = GET) -> Oddity:
    """Close the connection after *limit* bytes of a body."""
    return edit(
        match,
        lambda response: (
            replace(response, cut_after=limit) if len(response.body) > limit else response
        ),
    )


def resets(match: Match) -> Oddity:
    """Reset the connection instead of an answer."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        if match(visit.request):
            visit.exchange.reset()
        return answer(visit.request)

    return oddity


def closes(match: Match) -> Oddity:
    """Close the connection instead of an answer."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        if match(visit.request):
            raise HangUp
        return answer(visit.request)

    return oddity


def redirects(match: Match, status: int = 307, code: str = "TemporaryRedirect") -> Oddity:
    """Redirect to the same object of the second store."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        if not match(visit.request):
            return answer(visit.request)
        target = visit.store.elsewhere + visit.request.target
        return failure(status, code, "Go elsewhere").with_header("Location", target)

    return oddity


def virtual_hosted_only(status: int = 403, code: str = "SecondLevelDomainForbidden") -> Oddity:
    """Refuse requests that name the bucket in the path."""
    message = "Please use virtual hosted style to access."
    return refuses(lambda request: not request.is_virtual_hosted, status, code, message)


def accepts_keys(*access_keys: str, status: int = 403, code: str = "AccessDenied") -> Oddity:
    """Refuse requests that are signed by others than *access_keys*."""

    def is_refused(request: Request) -> bool:
        signed = request.headers.get("authorization", "")
        return not any(f"Credential={each}/" in signed for each in access_keys)

    return refuses(is_refused, status, code, "The request was refused")


def _text(response: Response) -> str:
    return response.body.decode(errors="surrogateescape").partition("\n")[2]


def _without(request: Request, name: str) -> dict[str, str]:
    return {key: value for key, value in request.headers.items() if key != name}

"""Listing faults: broken, incomplete or wrong pages."""

import base64
import re
from urllib.parse import unquote_to_bytes

from tests.faults.bucket import Kind, document, xml
from tests.faults.catalogue.rows import Misbehaviour, Outcome
from tests.faults.content_faults import asking, rewrite, swap
from tests.faults.hostile_store import Exchange, Fault, behave
from tests.faults.http_faults import (
    HTML,
    broken,
    delayed,
    edited,
    half_the_body,
    page,
    refused,
    reset,
    resized,
)
from tests.faults.workloads import LIST, STAT_MANY

RIGHT, FAILED, EACCES = Outcome.RIGHT, Outcome.FAILED, Outcome.EACCES
PAGE_SIZE = 3  # keys: the directory has four pages

_TOKEN = "<NextContinuationToken>(.*?)</NextContinuationToken>"
_BOMB = '<!DOCTYPE b [<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)
)
_EXTERNAL = '<!DOCTYPE b [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
_OTHER_OBJECT = "<Contents><Key>elsewhere/x</Key><Size>1</Size></Contents>"
_NAMELESS = "<Contents><Key></Key><Size>1</Size></Contents>"

_PARTS = f"<Size>0</Size><LastModified>2024-05-06T07:08:09Z</LastModified><ETag>{'0' * 32}</ETag>"

_NO_LISTINGS = {
    "XML that ends early": resized(lambda body: body[: len(body) // 2]),
    "XML without its last tag": resized(lambda body: body.removesuffix(b"</ListBucketResult>")),
    "an HTML page": page(200, HTML),
    "an empty body": edited(lambda _: xml("")),
    "an error document under a 200": refused(200, "InternalError"),
    "JSON": page(200, b'{"Contents": []}', "application/json"),
    "zeros": resized(lambda body: bytes(len(body))),
    "an entity bomb": rewrite(lambda text: f"{_BOMB}]>{text.replace('<Key>', '<Key>&a9;')}"),
    "an external entity": rewrite(lambda text: _EXTERNAL + text.replace("<Key>", "<Key>&f;", 1)),
    "XML nested a hundred thousand deep": rewrite(lambda _: "<ListBucketResult>" + "<a>" * 100_000),
    "octets that are not UTF-8": resized(lambda body: body.replace(b"<Key>", b"<Key>\xff\xfe")),
    "a KeyCount above the rows": swap("<KeyCount>.*?</KeyCount>", "<KeyCount>3</KeyCount>"),
    "a million empty elements": swap(
        "</ListBucketResult>", "<a/>" * 1_000_000 + "</ListBucketResult>"
    ),
    "a million elements that are not closed": swap("</ListBucketResult>", "<a>" * 1_000_000),
    "more objects than a page may have": swap("(<Contents>.*</Contents>)", r"\1" * 5001),
    "a document of nine megabytes": swap(
        "</ListBucketResult>", " " * 9_000_000 + "</ListBucketResult>"
    ),
}


def _reversed(text: str) -> str:
    """Reverse the objects of a page."""
    objects = re.findall("<Contents>.*?</Contents>", text)
    return text.replace("".join(objects), "".join(reversed(objects)))


def _overlapping(text: str) -> str:
    """Return a page whose token leads to its own last item again."""
    names = re.findall("<(?:Key|CommonPrefixes><Prefix)>(.*?)</", text)
    if len(names) < 2:
        return text
    token = base64.b64encode(b"after " + unquote_to_bytes(names[-2])).decode()
    return re.sub(_TOKEN, f"<NextContinuationToken>{token}</NextContinuationToken>", text)


def _empty_pages(exchange: Exchange, *, count: float) -> None:
    """Return *count* empty pages, each with a new token, before the correct ones."""
    token = exchange.request.query.get("continuation-token", "empty-0")
    number = int(token.removeprefix("empty-")) if token.startswith("empty-") else count
    if number < count:
        is_truncated = "<IsTruncated>true</IsTruncated>"
        exchange.reply(document("ListBucketResult", is_truncated + _token(f"empty-{number + 1}")))
        return
    if token.startswith("empty-"):
        exchange.request = exchange.request.with_query({"continuation-token": None})
    behave(exchange)


def _circle(exchange: Exchange) -> None:
    """Make the second page lead back to the first, for ever."""
    token = exchange.request.query.get("continuation-token", "odd")
    exchange.request = exchange.request.with_query({"continuation-token": None})
    response = exchange.response.body.decode().partition("\n")[2]
    exchange.reply(xml(re.sub(_TOKEN, _token("even" if token == "odd" else "odd"), response)))


def _behind_the_first(fault: Fault) -> Fault:
    """Apply *fault* to requests with a token, and respond correctly to those without."""
    return lambda exchange: (fault if "continuation-token" in exchange.request.query else behave)(
        exchange
    )


def _with_own_prefix(text: str) -> str:
    """Name the listed prefix among the common prefixes."""
    prefix = re.search("<Prefix>.*?</Prefix>", text)
    assert prefix is not None
    own = f"<CommonPrefixes>{prefix[0]}</CommonPrefixes></ListBucketResult>"
    return text.replace("</ListBucketResult>", own)


def _token(token: str) -> str:
    return f"<NextContinuationToken>{token}</NextContinuationToken>"


_HARMLESS = {
    "NextMarker instead of a token": swap(_TOKEN, r"<NextMarker>\1</NextMarker>"),
    "more to come, and no token": swap(_TOKEN, ""),
    "a Size of 10^30": swap("<Size>.*?</Size>", f"<Size>{10**30}</Size>"),
    "a Size that is no number": swap("<Size>.*?</Size>", "<Size>big</Size>"),
    "a negative Size": swap("<Size>.*?</Size>", "<Size>-1</Size>"),
    "no Size": swap("<Size>.*?</Size>", ""),
    "no StorageClass": swap("<StorageClass>.*?</StorageClass>", ""),
    "an unknown StorageClass": swap("STANDARD", "FLOPPY_DISK"),
    "a KeyCount that is wrong": swap("<KeyCount>.*?</KeyCount>", "<KeyCount>4711</KeyCount>"),
    "neither KeyCount nor MaxKeys": swap("<(KeyCount|MaxKeys)>.*?</(KeyCount|MaxKeys)>", ""),
    "no namespace": swap(' xmlns="[^"]*"', ""),
    "another namespace": swap(' xmlns="[^"]*"', ' xmlns="http://doc.example.com/"'),
    "comments and white space": swap("><", ">\n  <!-- more -->\n  <"),
    "unknown elements": swap("<Size>", "<Owner><ID>me</ID></Owner><Odd/><Size>"),
    "names not encoded, although requested": asking({"encoding-type": None}),
    "elements nested thirty thousand deep": swap(
        "</ListBucketResult>", "<a>" * 30_000 + "</a>" * 30_000 + "</ListBucketResult>"
    ),
    "an ETag without quotes": swap('"(?=<|[0-9a-f]{32})', ""),
    "no LastModified": swap("<LastModified>.*?</LastModified>", ""),
    "a LastModified that is none": swap(
        "<LastModified>.*?</LastModified>", "<LastModified>once</LastModified>"
    ),
    "a LastModified in year 0": swap("<LastModified>....", "<LastModified>0000"),
    "no ETag": swap("<ETag>.*?</ETag>", ""),
    "white space before the XML": resized(lambda body: b"\n\n " + body),
    "a byte order mark": resized(lambda body: b"\xef\xbb\xbf" + body),
    "everything below, the delimiter ignored": asking({"delimiter": None}),
    "each key twice in a page": swap("(<Contents>.*?</Contents>)", r"\1\1"),
    "a key of another prefix": swap("<Contents>", _OTHER_OBJECT + "<Contents>", 1),
    "a key of nothing": swap("<Contents>", _NAMELESS + "<Contents>", 1),
    "a common prefix of another prefix": swap(
        "(?=</ListBucketResult>)", "<CommonPrefixes><Prefix>elsewhere/</Prefix></CommonPrefixes>"
    ),
    "a common prefix without its delimiter": swap(
        "(<CommonPrefixes><Prefix>[^<]*)/</Prefix>", r"\1</Prefix>"
    ),
    "a token on the last page": swap(
        "(?<=<IsTruncated>false</IsTruncated>)", _token("YWZ0ZXIgeno=")
    ),
    "the prefix of another request": swap("<Prefix>", "<Prefix>other/", 1),
    "fifty empty pages first": lambda exchange: _empty_pages(exchange, count=50),
    "three thousand objects in a page": swap("(<Contents>.*</Contents>)", r"\1" * 1001),
    "the prefix itself among its common prefixes": rewrite(_with_own_prefix),
    "directories as objects": swap(
        "<CommonPrefixes><Prefix>(.*?)</Prefix></CommonPrefixes>",
        rf"<Contents><Key>\1</Key>{_PARTS}</Contents>",
    ),
    "a LastModified in +0000": swap("[.]000Z</LastModified>", "+0000</LastModified>"),
    "IsTruncated only where there is more": swap("<IsTruncated>false</IsTruncated>", ""),
}

_WITHOUT_TOKENS = {"NextMarker instead of a token", "more to come, and no token"}

_UNUSUAL = {
    "a namespace with a prefix": swap("<(/?)(?=[A-Z])", r"<\1s3:"),
    "another root": swap("ListBucketResult", "ListAllMyBucketsResult"),
    "an unknown encoding": resized(lambda body: body.replace(b"UTF-8", b"UTF-99")),
    "keys in reverse order": rewrite(_reversed),
    "each page beginning with the end of the last": rewrite(_overlapping),
    "a bucket of another name": swap("<Name>.*?</Name>", "<Name>other</Name>"),
}

_ENDLESS = {
    "one token for ever": swap(_TOKEN, _token("YWZ0ZXIgMA==")),
    "the first page for ever": asking({"continuation-token": None}),
    "two pages in a circle": _circle,
    "empty pages for ever": lambda exchange: _empty_pages(exchange, count=float("inf")),
}

ROWS = (
    *(
        Misbehaviour(
            name, LIST, Kind.LIST, fault, once=RIGHT | FAILED, always=FAILED, page_size=PAGE_SIZE
        )
        for name, fault in _NO_LISTINGS.items()
    ),
    *(
        Misbehaviour(
            name,
            LIST,
            Kind.LIST,
            fault,
            always=RIGHT,
            page_size=PAGE_SIZE,
        )
        for name, fault in _HARMLESS.items()
    ),
    *(
        Misbehaviour(name, LIST, Kind.LIST, fault, always=RIGHT | FAILED, page_size=PAGE_SIZE)
        for name, fault in _UNUSUAL.items()
    ),
    *(
        Misbehaviour(
            name, LIST, Kind.LIST, fault, always=FAILED, page_size=PAGE_SIZE, tries_after=2
        )
        for name, fault in _ENDLESS.items()
    ),
    Misbehaviour(
        "500 to the second page",
        LIST,
        Kind.LIST,
        refused(500, "InternalError"),
        skip=1,
        once=RIGHT,
        always=FAILED,
        page_size=PAGE_SIZE,
    ),
    Misbehaviour(
        "403 to the second page",
        LIST,
        Kind.LIST,
        refused(403, "AccessDenied"),
        skip=1,
        always=EACCES,
        page_size=PAGE_SIZE,
    ),
    *(
        Misbehaviour(
            f"{status} to each page but the first, while looking up",
            STAT_MANY,
            Kind.LIST,
            _behind_the_first(refused(status, code)),
            always=RIGHT,
            page_size=PAGE_SIZE,
        )
        for status, code in ((400, "InvalidArgument"), (403, "AccessDenied"), (404, "NoSuchKey"))
    ),
    Misbehaviour(
        "reset within the second page",
        LIST,
        Kind.LIST,
        broken(half_the_body, reset),
        skip=1,
        once=RIGHT,
        always=FAILED,
        page_size=PAGE_SIZE,
    ),
    Misbehaviour(
        "a second page later than the timeout",
        LIST,
        Kind.LIST,
        delayed(8),
        skip=1,
        always=FAILED,
        page_size=PAGE_SIZE,
    ),
)

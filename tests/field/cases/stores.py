"""Reports about listings, store by store: the document of each as its users have seen it."""

import re
from collections.abc import Callable
from urllib.parse import quote, unquote

from tests.faults.bucket import Response, failure, xml
from tests.field import kinds
from tests.field.case import (
    Case,
    Run,
    Step,
    fails,
    has_mtime,
    in_time,
    is_absent,
    is_directory,
    lists,
    reads,
    reads_all,
)
from tests.field.kinds import GET, HEAD, LIST, rows, swap, version_1
from tests.field.store import Answer, Oddity, Visit

MANY = {f"d/{number:03}": b"%d" % number for number in range(25)} | {"e/x": b"x", "f": b"f"}
SPACES = {"a b/c+d": b"1", "x y": b"2", "50%": b"3", "e": b"4"}
PLUSES = {"C++/a+b": b"1", "x y": b"2", "z/p+q": b"3"}


def _in_contents(element: str) -> Oddity:
    """Add *element* to each row of an object."""
    return swap("</Contents>", f"{element}</Contents>")


def _replace(pattern: str, change: Callable[[re.Match[str]], str]) -> Oddity:
    return rows(lambda text: re.sub(pattern, change, text))


def _element(name: str, text: str) -> Oddity:
    """Add an element to each page."""
    return swap("(<ListBucketResult[^>]*>)", rf"\1<{name}>{text}</{name}>")


def _deletes(*keys: str) -> Step:
    """Delete objects in the store."""

    def step(run: Run) -> None:
        for key in keys:
            run.store.bucket.delete(key)

    return step


def _without(name: str) -> Oddity:
    return swap(f"<{name}>.*?</{name}>|<{name}/>", "")


def _ignores(*names: str) -> Oddity:
    return kinds.ask(LIST, lambda request: request.with_query(dict.fromkeys(names)))


def _not_found_if_empty(visit: Visit, answer: Answer) -> Response:
    response = answer(visit.request)
    is_empty = LIST(visit.request) and b"<Key>" not in response.body
    if is_empty and b"<CommonPrefixes>" not in response.body:
        return failure(404, "NoSuchKey", "The specified key does not exist.")
    return response


def _by_components(visit: Visit, answer: Answer) -> Response:
    """List by version 1, in the order of path components, behind a marker in that order."""
    request = visit.request
    if not LIST(request):
        return answer(request)
    query = request.query
    whole = {"max-keys": None, "list-type": None, "start-after": None, "continuation-token": None}
    found, marker = [], None
    while marker != "":
        page = answer(request.with_query({**whole, "marker": marker})).body.decode()
        found += re.findall("<Contents>.*?</Contents>|<CommonPrefixes>.*?</CommonPrefixes>", page)
        marker = unquote("".join(re.findall("<NextMarker>(.*?)</NextMarker>", page)))

    def place(row: str) -> str:
        [name] = re.findall("<(?:Key|Prefix)>(.*?)<", row)
        return str(unquote(name)).replace("/", "\0")

    behind = query.get("marker", "").replace("/", "\0")
    left = sorted((row for row in found if place(row) > behind), key=place)
    said = f"<Marker/><IsTruncated>{str(len(left) > 2).lower()}</IsTruncated>"
    said += f"<EncodingType>url</EncodingType><Prefix>{quote(query.get('prefix', ''))}</Prefix>"
    return xml(f"<ListBucketResult>{said}{''.join(left[:2])}</ListBucketResult>")


def _reversed_rows(text: str) -> str:
    """Turn the order of the objects of a page around."""
    found = re.findall("<Contents>.*?</Contents>", text)
    return re.sub("<Contents>.*</Contents>", "".join(reversed(found)), text)


def _last_token_and_empty_page(visit: Visit, answer: Answer) -> Response:
    """Say that each last page is truncated; an empty page follows it."""
    request = visit.request
    if LIST(request) and request.query.get("continuation-token") == "the-end":
        return xml(
            "<ListBucketResult><Name>field</Name><MaxKeys>1000</MaxKeys>"
            "<IsTruncated>false</IsTruncated></ListBucketResult>"
        )
    response = answer(request)
    if not LIST(request) or b"<IsTruncated>false" not in response.body:
        return response
    return response.with_body(
        response.body.replace(
            b"<IsTruncated>false</IsTruncated>",
            b"<IsTruncated>true</IsTruncated>"
            b"<NextContinuationToken>the-end</NextContinuationToken>",
        )
    )


CASES = (
    Case(
        "Ceph Jewel lists by version 1",
        "Ceph before Luminous: list-type=2 is ignored; rows have Owner, Type and RgwxTag.",
        oddities=(
            version_1,
            _element("Marker", ""),
            _in_contents(
                "<Owner><ID>u</ID><DisplayName>U</DisplayName></Owner>"
                "<Type>Normal</Type><RgwxTag>x</RgwxTag>"
            ),
        ),
        objects=MANY,
        page_size=10,
    ),
    Case(
        "Ceph names another tenant",
        "Linode, DigitalOcean: Name is the bucket's without its tenant, Tenant stands beside it.",
        oddities=(swap("<Name>.*?</Name>", "<Tenant/><Name>other</Name>"),),
        page_size=2,
    ),
    Case(
        "Swift lists an empty page last",
        "swift s3api: a container's last full page is truncated, an empty one follows.",
        oddities=(_last_token_and_empty_page, _without("KeyCount")),
        objects={"a/x": b"x", "b": b"y"},
    ),
    Case(
        "Tencent spells EncodingType with a hyphen",
        "COS documents Encoding-Type in its listings, and pages by marker.",
        oddities=(
            version_1,
            _element("Marker", ""),
            swap("<EncodingType>url</EncodingType>", "<Encoding-Type>url</Encoding-Type>"),
        ),
        objects=SPACES,
        page_size=2,
    ),
    Case(
        "Tencent spells EncodingType with a hyphen in version 2",
        "The same in a listing with tokens, with lookups of single names.",
        oddities=(swap("<EncodingType>url</EncodingType>", "<Encoding-Type>url</Encoding-Type>"),),
        objects=SPACES,
        options=("--no-prefetch", "all"),
        steps=(reads("a b/c+d"), reads_all()),
    ),
    Case(
        "Alibaba adds elements",
        "OSS: rows have Type and Owner, and the page an empty Marker and Delimiter.",
        oddities=(
            _element("Marker", ""),
            _element("Delimiter", "%2F"),
            _in_contents("<Type>Normal</Type><Owner><ID>1</ID></Owner>"),
            _replace("<ETag>.*?</ETag>", lambda found: found[0].upper().replace("ETAG", "ETag")),
        ),
        page_size=2,
    ),
    Case(
        "Huawei pages by marker",
        "OBS: version 1 only, NextMarker without a delimiter too, Location in the page.",
        oddities=(version_1, _element("Location", "eu-west"), _element("Marker", "")),
        objects=MANY,
        page_size=4,
    ),
    Case(
        "a proxied store indents its documents",
        "StorageGRID, Cloudian: pretty-printed XML with Windows line ends.",
        oddities=(rows(lambda text: re.sub("><", ">\r\n  <", text)),),
        page_size=2,
    ),
    Case(
        "Storj lists in no order",
        "storj gateway-mt: keys are encrypted, so that listings come in no order; with tokens.",
        oddities=(rows(_reversed_rows),),
        objects=MANY,
        page_size=7,
    ),
    Case(
        "LeoFS does not find an empty prefix, with marker paging",
        "LeoFS: LIST of nothing is 404 NoSuchKey.",
        oddities=(version_1, _element("Marker", ""), _not_found_if_empty),
        objects=MANY,
        page_size=10,
        steps=(is_absent("nothing"), is_absent("d/none"), reads_all()),
    ),
    Case(
        "an empty bucket is not found",
        "A gateway answers 404 NoSuchKey to a LIST that has no rows. It may be no bucket: a wrong "
        "address answers so, too.",
        oddities=(_not_found_if_empty,),
        objects={},
        refused="NoSuchKey",
    ),
    Case(
        "a directory is emptied, and not found",
        "LeoFS, rclone #7455: 404 NoSuchKey to a LIST that has no rows, of a known directory.",
        oddities=(_not_found_if_empty,),
        options=("--metadata-ttl", "0"),
        steps=(
            lists("photos", "2024", "two.jpg"),
            _deletes("photos/two.jpg", "photos/2024/one.jpg"),
            is_absent("photos/two.jpg"),
            is_absent("photos"),
            lists("", "a.txt", "empty", "z"),
        ),
    ),
    Case(
        "ECS marks what is encrypted",
        "ECS adds ServerSideEncryption to the page, and ObjectAgeSeconds to rows.",
        oddities=(
            _element("ServerSideEncryption", "false"),
            _in_contents("<a:b xmlns:a='u'>1</a:b>"),
        ),
        page_size=2,
    ),
    Case(
        "Google's page has its own namespace",
        "GCS XML API: doc.s3.amazonaws.com, Generation and MetaGeneration, no encoding-type.",
        oddities=(
            version_1,
            _ignores("encoding-type"),
            swap('xmlns=".*?"', 'xmlns="http://doc.s3.amazonaws.com/2006-03-01"'),
            _in_contents("<Generation>1</Generation><MetaGeneration>1</MetaGeneration>"),
        ),
        objects=SPACES,
        page_size=2,
    ),
    Case(
        "MinIO's NAS gateway shows directories as objects too",
        "A directory is a common prefix and an object at once.",
        oddities=(
            _replace(
                "(<CommonPrefixes><Prefix>(.*?)</Prefix></CommonPrefixes>)",
                lambda found: kinds.row(found[2]) + found[1],
            ),
        ),
        may_log=("directory",),
    ),
    Case(
        "LocalStack counts objects only",
        "localstack: KeyCount leaves the common prefixes out; NextMarker is empty.",
        oddities=(
            swap("<KeyCount>.*?</KeyCount>", "<KeyCount>0</KeyCount>"),
            _element("NextMarker", ""),
        ),
        page_size=2,
    ),
    Case(
        "s3ninja cuts off without a token, in no order",
        "s3ninja #251: IsTruncated without a token; #91: rows in the order of the disk.",
        oddities=(
            version_1,
            _without("NextMarker"),
            rows(_reversed_rows),
        ),
        objects=MANY,
        page_size=10,
        steps=(
            lists("", "d", "e", "f"),
            in_time(8, fails("EIO", "d", lambda path: list(path.iterdir()))),
            reads("d/003"),
        ),
        may_log=("d/",),
    ),
    Case(
        "S3Mock leaves the prefix out",
        "Adobe S3Mock: no Prefix, no MaxKeys, no KeyCount; ETag in typographic entities.",
        oddities=(
            swap("<Prefix>[^<]*</Prefix><", "<", 1),
            _without("MaxKeys"),
            _without("KeyCount"),
            swap('<ETag>"', "<ETag>&#34;"),
        ),
        steps=(is_absent("none"), reads_all()),
    ),
    Case(
        "fake-s3 has neither ETag quotes nor StorageClass",
        "fake-s3: version 1, Owner in rows, times without milliseconds.",
        oddities=(
            version_1,
            swap(r"<ETag>\"(.*?)\"</ETag>", r"<ETag>\1</ETag>"),
            _without("StorageClass"),
            swap(r"\.000Z", "Z"),
        ),
        page_size=2,
    ),
    Case(
        "Riak sends all keys at once, by version 1",
        "riak_cs #198: max-keys is ignored, and IsTruncated is false.",
        oddities=(version_1, _ignores("max-keys"), _element("Marker", "")),
        objects={f"d/{number:04}": b"" for number in range(2500)} | {"e": b"e"},
        page_size=100_000,
        steps=(lists("d", *(f"{number:04}" for number in range(2500))), reads("e")),
    ),
    Case(
        "a store escapes paths, and leaves the plus",
        "A Go server encodes by url.PathEscape; names with a plus in a directory without spaces.",
        oddities=(swap("%2B", "+"),),
        objects=PLUSES,
        options=("--no-prefetch", "all"),
        steps=(lists("", "C++", "x y", "z"), reads_all()),
    ),
    Case(
        "Supabase leaks the last key as Marker",
        "supabase/storage #1047: version 1 has no NextMarker, and the last key as Marker.",
        oddities=(
            version_1,
            _without("NextMarker"),
            rows(
                lambda text: re.sub(
                    "(<ListBucketResult[^>]*>)",
                    lambda found: (
                        found[1]
                        + "<Marker>"
                        + max(re.findall("<(?:Key|Prefix)>([^<]+)<", text), default="")
                        + "</Marker>"
                    ),
                    text,
                )
            ),
        ),
        objects=MANY,
        page_size=10,
    ),
    Case(
        "a common prefix comes on each page that it spans",
        "InsForge #1959: pages of tokens end in the middle of a directory.",
        oddities=(
            _ignores("delimiter"),
            rows(
                lambda text: re.sub(
                    r"<Contents><Key>([^<]*?/)[^<]*</Key>.*?</Contents>",
                    lambda found: kinds.common_prefix(found[1]),
                    text,
                )
            ),
        ),
        objects={f"d{number}/{name:03}": b"x" for number in range(3) for name in range(9)},
        page_size=4,
        steps=(lists("", "d0", "d1", "d2"),),
        may_log=(".*",),
    ),
    Case(
        "times before 1970 and after 2262",
        "FreeNAS minio: files of a disk with wrong clocks.",
        oddities=(
            swap(r"(<Key>a.txt</Key><LastModified>)[^<]*", r"\g<1>1960-01-01T00:00:00.500Z"),
            swap(r"(<Key>z</Key><LastModified>)[^<]*", r"\g<1>2300-01-01T00:00:00Z"),
        ),
        steps=(has_mtime("a.txt", -315619199.5), has_mtime("z", 0), reads_all()),
        may_log=("1970",),
    ),
    Case(
        "sizes that no file has",
        "A gateway lists 2^63 for an object whose size it does not know.",
        oddities=(
            swap(r"(<Key>a.txt</Key>.*?<Size>)\d+", r"\g<1>9223372036854775808"),
            swap(r"(<Key>z</Key>.*?<Size>)\d+", r"\g<1>18446744073709551615"),
        ),
        may_log=("size",),
    ),
    Case(
        "every size is missing in a large directory",
        "A gateway lists 150 objects without sizes; HEAD is asked of a hundred.",
        oddities=(_without("Size"),),
        objects={f"d/{number:03}": b"%d" % number for number in range(150)},
        steps=(reads("d/149"), reads("d/000")),
        log=("not found out",),
        may_log=("d/",),
    ),
    Case(
        "version 2 is insisted on, and not known",
        "mountpoint-s3 #688, with --list-version 2.",
        oddities=(kinds.without_version_2,),
        options=("--list-version", "2"),
        refused="--list-version",
    ),
    Case(
        "version 2 is insisted on, and answered as version 1",
        "A store of version 1 with more names than a page has, and --list-version 2.",
        oddities=(version_1,),
        options=("--list-version", "2"),
        page_size=2,
        refused="token",
    ),
    Case(
        "an entity bomb",
        "A hostile store sends a document type with entities.",
        oddities=(
            kinds.edit(
                kinds.of(LIST, "photos/"),
                lambda page: page.with_body(
                    page.body.replace(
                        b"<ListBucketResult",
                        b'<!DOCTYPE x [<!ENTITY a "bb"><!ENTITY b "&a;&a;">]><ListBucketResult',
                    )
                ),
            ),
        ),
        options=("--no-prefetch", "all"),
        steps=(
            reads("a.txt"),
            fails("EIO", "photos", lambda path: list(path.iterdir())),
        ),
        may_log=("photos/",),
        within=20,
    ),
    Case(
        "the only object of a directory has no size",
        "A gateway lists a row without a size, and refuses its HEAD and GET; it is all there is.",
        oddities=(
            swap(r"(<Key>only/one</Key>.*?)<Size>.*?</Size>", r"\1"),
            kinds.refuses(kinds.of(HEAD, "only/one"), 403, ""),
            kinds.refuses(kinds.of(GET, "only/one"), 403, ""),
        ),
        objects={"only/one": b"1", "z": b"2"},
        options=("--no-prefetch", "all"),
        steps=(
            is_directory("only"),
            lists("only"),
            lists("", "only", "z"),
            fails("EACCES", "only/one", lambda path: path.stat()),
        ),
        log=("not found out",),
        may_log=("only/one",),
    ),
    Case(
        "names appear in pages by marker of a store by components",
        "SeaweedFS, a NAS: a/ comes right after a; a store of version 1 that compares so.",
        oddities=(_by_components,),
        objects={
            f"{name}{rest}": b"x" for name in "abc" for rest in ("/x", "-1", ".txt", "/y", "0")
        },
        page_size=2,
    ),
)

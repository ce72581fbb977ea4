"""Reports about networks: redirects, host names, addresses, proxies, odd HTTP."""

import gzip
from dataclasses import replace

from tests.faults.bucket import Response
from tests.field import kinds
from tests.field.case import Case, Run, fails, in_time, reads, reads_all
from tests.field.kinds import ANY, GET, LIST
from tests.field.store import Answer, Oddity, Visit

PROXIED = ("--endpoint-url", "http://s3.invalid:{port}")
PROXY = "http://127.0.0.1:{port}"
DEAD_PROXY = "http://127.0.0.1:1"


def followed_unsigned(run: Run) -> None:
    """Check that the second store got requests, and no signature, token or key."""
    requests = run.elsewhere.requests
    assert requests
    for request in requests:
        assert "authorization" not in request.headers
        assert not any("token" in name or name.startswith("x-amz") for name in request.headers)


def nothing_followed(run: Run) -> None:
    assert run.elsewhere.requests == []


def redirects_to(location: str, status: int = 302) -> Oddity:
    """Redirect GET to *location*, with `{elsewhere}` for the second store, and `{target}`."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        if not GET(visit.request):
            return answer(visit.request)
        where = location.format(elsewhere=visit.store.elsewhere, target=visit.request.target)
        return Response(status, (("Content-Length", "0"), ("Location", where)))

    return oddity


def repeated(*names: str) -> Oddity:
    """Send these header fields twice."""

    def change(response: Response) -> Response:
        again = tuple(pair for pair in response.headers if pair[0] in names)
        return replace(response, headers=(*response.headers, *again))

    return kinds.edit(ANY, change)


def in_small_letters(response: Response) -> Response:
    return replace(response, headers=tuple((n.lower(), value) for n, value in response.headers))


def without_cookies(run: Run) -> None:
    assert not any("cookie" in request.headers for request in run.elsewhere.requests)


def sets_cookie(visit: Visit, answer: Answer) -> Response:
    return answer(visit.request).with_header("Set-Cookie", "session=1; Path=/")


def names_itself_to_the_proxy(run: Run) -> None:
    fields = {request.headers.get("proxy-authorization") for request in run.requests()}
    assert fields == {"Basic bWVAY29ycDpwOnc="}


def with_length_twice(response: Response) -> Response:
    length = response.header("Content-Length")
    return response.with_header("Content-Length", f"{length}, {length}")


PACKED = gzip.compress(b"a line\n" * 1000)
BLOCKED = Response(
    403, (("Content-Length", "20"), ("Content-Type", "text/html")), b"<html>blocked</html>"
)


CASES = (
    *(
        Case(
            f"GET is redirected by {status}",
            f"A store answers GET with {status} and the Location of another host.",
            oddities=(kinds.redirects(GET, status),),
            steps=(fails("EIO", "a.txt"),),
            log=("--follow-redirects",),
        )
        for status in (302, 307, 308)
    ),
    *(
        Case(
            f"a redirect by {status} is followed if allowed",
            f"A store answers GET with {status} and the Location of another host.",
            oddities=(kinds.redirects(GET, status),),
            options=("--follow-redirects",),
            steps=(reads_all(), followed_unsigned),
        )
        for status in (302, 307, 308)
    ),
    Case(
        "redirects go round",
        "Two hosts redirect to each other.",
        oddities=(kinds.redirects(GET),),
        elsewhere=(kinds.redirects(GET),),
        options=("--follow-redirects",),
        steps=(in_time(8, fails("EIO", "a.txt")),),
        log=("redirect",),
    ),
    Case(
        "only virtual-hosted names are served, and the endpoint has a name",
        "OSS, TOS, COS and OBS refuse the bucket in the path at an endpoint of one's own.",
        oddities=(kinds.virtual_hosted_only(),),
        host="s3.test",
        addresses=("127.0.0.1",),
    ),
    Case(
        "only virtual-hosted names are served, and the option says so",
        "OSS, TOS, COS and OBS refuse the bucket in the path at an endpoint of one's own.",
        oddities=(kinds.virtual_hosted_only(),),
        host="s3.test",
        addresses=("127.0.0.1",),
        options=("--addressing-style", "virtual"),
    ),
    Case(
        "only virtual-hosted names are served, and the refusal names the option",
        "OSS refuses the bucket in the path with SecondLevelDomainForbidden.",
        oddities=(kinds.virtual_hosted_only(),),
        host="s3.test",
        addresses=("127.0.0.1",),
        options=("--addressing-style", "path"),
        refused="--addressing-style",
    ),
    Case(
        "the bucket has a tenant",
        "Ceph names the bucket of another tenant as tenant:bucket.",
        source="tenant:bucket",
    ),
    Case(
        "the first address of the store is dead",
        "A name has two addresses, and the first ignores connections.",
        host="s3.test",
        addresses=("127.0.0.2", "127.0.0.1"),
        starts_within=6,
        steps=(in_time(1.5, reads("a.txt")), in_time(3, reads_all())),
    ),
    *(
        Case(
            f"GET is redirected by {status}, with no body",
            "CDNs and download gateways answer GET with 301 or 303 and a Location.",
            oddities=(redirects_to("{elsewhere}{target}", status),),
            options=("--follow-redirects",),
            steps=(reads_all(), followed_unsigned),
        )
        for status in (301, 303)
    ),
    Case(
        "a listing is redirected",
        "A captive portal, or a gateway that was moved, answers every request with 302.",
        oddities=(kinds.redirects(LIST, 302, "Found"),),
        refused="redirects to http://127.0.0.1:[0-9]+, which only --follow-redirects allows",
    ),
    Case(
        "listings and HEADs are redirected and followed",
        "lakeFS #7630: the gateway answers 307 with a signed URL of the store below it.",
        oddities=(kinds.redirects(ANY),),
        options=("--follow-redirects",),
        steps=(reads_all(), followed_unsigned),
    ),
    Case(
        "a redirect is relative",
        "A gateway redirects to another path of its own, without a scheme and a host.",
        oddities=(kinds.first(1, GET, redirects_to("{target}", 307)),),
        options=("--follow-redirects",),
    ),
    *(
        Case(
            f"a redirect leads to {what}",
            "A store that is not trusted aims its clients at services that trust their address.",
            oddities=(redirects_to(location),),
            options=("--follow-redirects",),
            steps=(in_time(4, fails("EIO", "a.txt")), nothing_followed),
            log=("the store redirects to",),
        )
        for what, location in (
            ("the metadata of the machine", "http://169.254.169.254/latest/meta-data/"),
            ("metadata in disguise", "http://[::ffff:a9fe:a9fe]/latest/meta-data/"),
            ("a file", "file:///etc/passwd"),
            ("a URL with a password", "http://me:pw@127.0.0.1:1/"),
        )
    ),
    Case(
        "the answer of another host is that of another object",
        "A redirect leads to a page of another length, with the status 200.",
        oddities=(kinds.redirects(GET),),
        elsewhere=(
            kinds.other_bytes(lambda _request, _body: b"<html>Log in</html>"),
            kinds.header(GET, "Content-Range", None),
        ),
        options=("--follow-redirects", "--timeout", "4"),
        steps=(fails("EIO|ESTALE|ETIMEDOUT", "photos/two.jpg"),),
        may_log=("photos/two.jpg",),
    ),
    Case(
        "the bucket has an empty tenant",
        "Ceph names a bucket of no tenant, for a user of one, as :bucket.",
        source=":bucket",
    ),
    Case(
        "the bucket has a tenant, and a prefix is mounted",
        "s3fs (fsspec) #893, botocore #3092: Ceph and OpenStack name buckets as domain:bucket.",
        source="s3://my_tenant:bucket/photos",
        steps=(reads("two.jpg", b"second\n" * 100),),
    ),
    Case(
        "virtual hosts of an address are asked for",
        "s3fs #332, Mountpoint #754: the bucket cannot be named in the host of the endpoint.",
        options=("--addressing-style", "virtual"),
        refused="an address has no names below it; use --addressing-style path",
    ),
    *(
        Case(
            f"{code} for the bucket in the path",
            "obsidian-livesync #707, opendal #6549: stores that refuse the bucket in the path.",
            oddities=(kinds.virtual_hosted_only(code=code),),
            refused="wants the bucket in the host name: use --addressing-style virtual",
        )
        for code in ("PathStyleDomainForbidden", "InvalidPathAccess", "VirtualHostDomainRequired")
    ),
    Case(
        "the profile names the addressing style",
        "aws-cli #3195: s3 = addressing_style in the profile.",
        oddities=(kinds.virtual_hosted_only(403, "AccessDenied"),),
        host="s3.test",
        addresses=("127.0.0.1",),
        home={".aws/config": "[default]\ns3 =\n    addressing_style = virtual\n"},
    ),
    Case(
        "the endpoint has the bucket's name in it",
        "OpenDAL #6549, s3fs #1775: the URL of the bucket is given as that of the endpoint.",
        oddities=(kinds.refuses(LIST, 404, "NoSuchKey"),),
        options=("--endpoint-url", "http://127.0.0.1:{port}/field"),
        refused="does --endpoint-url contain the name of the bucket, too",
    ),
    Case(
        "the endpoint has a path and a slash at its end",
        "A gateway serves S3 below a path.",
        source="s3-field",
        oddities=(
            kinds.ask(ANY, lambda each: replace(each, target=each.target.removeprefix("/s3"))),
        ),
        options=("--endpoint-url", "http://127.0.0.1:{port}/s3/"),
    ),
    Case(
        "the proxy of http is used",
        "A machine reaches its store through a proxy only; the name is known to the proxy.",
        options=PROXIED,
        environ={"HTTP_PROXY": PROXY},
    ),
    Case(
        "the proxy of all schemes is used, and has no scheme itself",
        "curl's ALL_PROXY=host:port.",
        options=PROXIED,
        environ={"ALL_PROXY": "127.0.0.1:{port}"},
    ),
    Case(
        "a variable in small letters is empty",
        "https_proxy= turns HTTPS_PROXY off, as in curl.",
        environ={"http_proxy": "", "HTTP_PROXY": DEAD_PROXY},
    ),
    *(
        Case(
            f"NO_PROXY is {text!r}",
            "boto #1515, botocore #1766: networks, spaces, dots and ports in NO_PROXY.",
            environ={"HTTP_PROXY": DEAD_PROXY, "NO_PROXY": text},
        )
        for text in (
            *("127.0.0.0/8", "10.0.0.0/8, 127.0.0.1", "localhost 127.0.0.1:{port}", "*"),
            *("::1,[::ffff:127.0.0.0]/104,127.0.0.0/30", ".example.com,127.0.0.1"),
        )
    ),
    *(
        Case(
            f"NO_PROXY is {text!r}, and the store has a name",
            "botocore #1766: dots and asterisks in NO_PROXY.",
            host="s3.test",
            addresses=("127.0.0.1",),
            environ={"HTTP_PROXY": DEAD_PROXY, "no_proxy": text},
        )
        for text in (".test", "*.test", "S3.TEST", "s3.test:{port}")
    ),
    *(
        Case(
            f"{variable} is {text}",
            "botocore #880, aws-cli #5976: SOCKS proxies, and URLs that are none.",
            environ={variable: text},
            refused=f"^s3mount: {variable} (names a SOCKS proxy|is not the URL of a proxy)",
        )
        for variable, text in (
            ("HTTP_PROXY", "socks5://127.0.0.1:1080"),
            ("http_proxy", "socks5h://me:a-secret-that-no-line-may-show@127.0.0.1:1080"),
            ("ALL_PROXY", "socks5://127.0.0.1:1080"),
            ("HTTP_PROXY", "http://me:a-secret-that-no-line-may-show#@127.0.0.1:3128"),
            ("HTTP_PROXY", "http://127.0.0.1:99999"),
        )
    ),
    Case(
        "header fields are sent twice",
        "Proxies that repeat Content-Length, ETag and Content-Range.",
        oddities=(repeated("Content-Length", "ETag", "Content-Range", "Last-Modified"),),
    ),
    Case(
        "header fields are in small letters",
        "HTTP/2 gateways send names of header fields in small letters.",
        oddities=(kinds.edit(ANY, in_small_letters),),
    ),
    Case(
        "header fields are folded",
        "Old gateways fold long header fields.",
        oddities=(kinds.header(ANY, "X-Note", "one\r\n two\r\n\tthree"),),
    ),
    *(
        Case(
            f"each response says {name}: {value}",
            "Stores that close idle connections soon, or speak an HTTP/1.0 of their own.",
            oddities=(kinds.header(ANY, name, value),),
        )
        for name, value in (
            ("Keep-Alive", "timeout=1"),
            ("Connection", "keep-alive"),
            ("Transfer-Encoding", "identity"),
            ("Date", None),
        )
    ),
    Case(
        "a redirect sets a cookie, and leads to packed objects",
        "Google's gateways; the second host unpacks gzip unless the request accepts it.",
        objects={"a.gz": PACKED},
        headers={"a.gz": (("Content-Encoding", "gzip"),)},
        oddities=(kinds.redirects(GET), sets_cookie),
        elsewhere=(kinds.unpacks_gzip,),
        options=("--follow-redirects",),
        steps=(reads_all(), followed_unsigned, without_cookies),
    ),
    Case(
        "a redirect leads to a host that cannot be",
        "A gateway whose templates leave the host's name empty in parts.",
        oddities=(redirects_to("http://cdn..test/x"),),
        options=("--follow-redirects",),
        steps=(in_time(4, fails("EIO", "a.txt")),),
        log=("host cannot be used",),
    ),
    Case(
        "a redirect has bytes that no URL may have, and a fragment",
        "Gateways that write keys into Location as they are.",
        oddities=(redirects_to("{elsewhere}{target}?name=\u00e9 y#part"),),
        options=("--follow-redirects",),
        steps=(reads_all(), followed_unsigned),
    ),
    Case(
        "a redirect has no Location",
        "Captive portals and broken gateways.",
        oddities=(kinds.instead(GET, Response(302, (("Content-Length", "0"),))),),
        steps=(in_time(8, fails("EIO", "a.txt")),),
        log=("HTTP 302",),
    ),
    Case(
        "the proxy is down",
        "HTTP_PROXY of another network.",
        options=(*PROXIED, "--start-timeout", "2"),
        environ={"HTTP_PROXY": DEAD_PROXY},
        refused="the proxy .HTTPS_PROXY, HTTP_PROXY. refuses the connection",
    ),
    Case(
        "the proxy blocks the store",
        "Squid and web filters answer 403 with a page: the credentials were blamed.",
        options=PROXIED,
        environ={"HTTP_PROXY": PROXY},
        oddities=(kinds.instead(ANY, BLOCKED),),
        refused="does not answer like S3 .HTTP 403 .*check --endpoint-url, and the proxy",
    ),
    Case(
        "the proxy's password has special characters",
        "botocore #1225: a password in HTTP_PROXY has characters as %XX.",
        options=PROXIED,
        environ={"HTTP_PROXY": "HTTP://me%40corp:p%3Aw@127.0.0.1:{port}/"},
        steps=(reads_all(), names_itself_to_the_proxy),
    ),
    Case(
        "the proxy is for another scheme",
        "HTTPS_PROXY is set, and the endpoint is http.",
        environ={"HTTPS_PROXY": DEAD_PROXY},
    ),
    *(
        Case(
            f"requests are answered with {status} now and then",
            "Gateways and balancers that want the request once more.",
            oddities=(kinds.busy(1, kinds.OBJECT, status, code),),
        )
        for status, code in (
            (408, "RequestTimeout"),
            (421, ""),
            (425, ""),
            (429, "TooManyRequests"),
        )
    ),
    Case(
        "Content-Length is told twice in one field",
        "Proxies that join repeated fields.",
        oddities=(kinds.edit(ANY, with_length_twice),),
    ),
    Case(
        "each response offers HTTP/2",
        "Apache sends Upgrade: h2c with every response.",
        oddities=(
            kinds.header(ANY, "Upgrade", "h2,h2c"),
            kinds.header(ANY, "Connection", "Upgrade, Keep-Alive"),
        ),
    ),
)

"""What each server does where S3 leaves no choice: the rows of the table in docs/servers.md.

Run `python -m tests.servers.observations` for the table as observed now; `tests/contract` holds the
document against it. Requests are signed, and sent without a client's own ideas.
"""

import contextlib
import http.client
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests import servers
from tests.servers.server import S3Server

EMPTY_ETAG = '"d41d8cd98f00b204e9800998ecf8427e"'


@dataclass(frozen=True)
class Reply:
    """Response of a server."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    text: str

    @property
    def word(self) -> str:
        """The status, with the code of an error document."""
        code = re.search(r"<Code>(\w+)</Code>", self.text)
        return f"{self.status} {code[1]}" if code else str(self.status)


@dataclass
class Probe:
    """Buckets of one server, and single requests to it."""

    server: S3Server
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.server.client(retries={"total_max_attempts": 1})

    def bucket(self, **objects: bytes) -> str:
        """Return a new bucket of *objects*, whose names are their keys."""
        return self.bucket_of(objects)

    def bucket_of(self, objects: Mapping[str, bytes]) -> str:
        name = self.server.make_bucket(self.client)
        for key, body in objects.items():
            self.client.put_object(Bucket=name, Key=key, Body=body)
        return name

    def put(self, bucket: str, key: str, body: bytes = b"x", **options: str) -> str:
        """Return "kept" if the key is listed, else what became of it."""
        try:
            self.client.put_object(Bucket=bucket, Key=key, Body=body, **options)
        except ClientError as exc:
            return f"refused ({exc.response['ResponseMetadata']['HTTPStatusCode']})"
        listed = self.keys(bucket)
        if key not in listed:
            return f"becomes {_shown(listed[-1])}"
        status = self.get(bucket, key, "HEAD").status
        return "kept" if status == 200 else f"listed, but not found ({status})"

    def keys(self, bucket: str) -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=bucket)["Contents"]]

    def get(self, bucket: str, key: str, method: str = "GET", **headers: str) -> Reply:
        """Send a request for an object; headers are written with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send(method, f"/{bucket}/{quote(key)}", named)

    def list(self, bucket: str, **query: str) -> Reply:
        """Send a listing; parameters are written with `_` for `-`."""
        named = {"list-type": "2"} | {name.replace("_", "-"): text for name, text in query.items()}
        return self.send("GET", f"/{bucket}?{urlencode(named)}", {})

    def send(self, method: str, target: str, headers: Mapping[str, str]) -> Reply:
        request = AWSRequest(method, self.server.endpoint_url + target, dict(headers))
        keys = Credentials(self.server.access_key, self.server.secret_key)
        S3SigV4Auth(keys, "s3", self.server.region).add_auth(request)
        host = self.server.endpoint_url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(host, timeout=10)) as connection:
            connection.request(method, target, headers=dict(request.headers.items()))
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, named, response.read().decode(errors="replace"))


# ---- listings


def order(probe: Probe) -> str:
    keys = probe.keys(probe.bucket_of({"dir-1/x": b"", "dir/x": b""}))
    return "by key" if keys == ["dir-1/x", "dir/x"] else "by directory: `dir/x` before `dir-1/x`"


def encoding(probe: Probe) -> str:
    bucket = probe.bucket_of({"s+ x": b"x"})
    page = probe.list(bucket, encoding_type="url").text
    found = re.search(r"<Key>s(.*?)x</Key>", page)
    assert found
    return {"%2B+": "`%2B`, `+`", "%2B%20": "`%2B`, `%20`", "+ ": "not encoded"}[found[1]]


def not_in_xml(probe: Probe) -> str:
    return _each(probe, "c\x01", "c\r.")


def starts_after_name(probe: Probe) -> str:
    return _common_prefix(probe, "b")


def starts_after_key(probe: Probe) -> str:
    return _common_prefix(probe, "b/x")


def _common_prefix(probe: Probe, after: str) -> str:
    bucket = probe.bucket_of({"a": b"", "b/x": b"", "b/y": b"", "c": b""})
    page = probe.list(bucket, start_after=after, delimiter="/").text
    assert "<Key>a<" not in page
    return "`b/` is there" if "<Prefix>b/<" in page else "`b/` is left out"


def token(probe: Probe) -> str:
    bucket = probe.bucket_of({"*star?": b"", "z": b""})
    found = re.search(r"<NextContinuationToken>(.*?)<", probe.list(bucket, max_keys="1").text)
    assert found
    return "the last name as it is" if found[1] == "*star?" else "opaque"


def prefix_twice(probe: Probe) -> str:
    bucket = probe.bucket_of({"a/1": b"", "a/2": b"", "b": b""})
    query = {"Bucket": bucket, "Delimiter": "/", "MaxKeys": 1}
    first = probe.client.list_objects_v2(**query)
    query["ContinuationToken"] = first["NextContinuationToken"]
    second = probe.client.list_objects_v2(**query)
    return "again on the next" if second.get("CommonPrefixes") else "once"


def version_1(probe: Probe) -> str:
    bucket = probe.bucket_of({"a/1": b"", "b": b"", "c": b""})
    page = probe.send("GET", f"/{bucket}?delimiter=%2F&max-keys=2", {})
    if page.status != 200:
        return page.word
    found = re.search(r"<NextMarker>(.*?)<", page.text)
    return f"NextMarker {_shown(found[1])}" if found else "no NextMarker"


def listed_etag(probe: Probe) -> str:
    page = probe.list(probe.bucket(key=b"x")).text
    found = re.search(r"<ETag>(.*?)</ETag>", page)
    assert found
    return "not quoted" if re.fullmatch(r"\w+", found[1]) else "quoted"


def listed_time(probe: Probe) -> str:
    bucket = probe.bucket_of({f"key{number}": b"" for number in range(5)})
    fractions = re.findall(r"<LastModified>[-\dT:]*(.*?)Z<", probe.list(bucket).text)
    if set(fractions) <= {"", ".000"}:
        return "whole seconds" + (", written with `.000`" if any(fractions) else "")
    return "milliseconds"


# ---- objects


def if_match(probe: Probe) -> str:
    reply = probe.get(probe.bucket(key=b"body"), "key", If_Match='"00"')
    return "ignored: it sends what it has" if reply.text == "body" else str(reply.status)


def if_none_match(probe: Probe) -> str:
    bucket = probe.bucket(empty=b"")
    plain = probe.get(bucket, "empty", If_None_Match=EMPTY_ETAG).status
    ranged = probe.get(bucket, "empty", If_None_Match=EMPTY_ETAG, Range="bytes=0-9").status
    return f"{plain}" if plain == ranged else f"{plain}; {ranged} for a range of an empty object"


def range_of_nothing(probe: Probe) -> str:
    return str(probe.get(probe.bucket(empty=b""), "empty", Range="bytes=0-9").status)


def range_status(probe: Probe) -> str:
    reply = probe.get(probe.bucket(key=b"body"), "key", Range="bytes=1-2")
    assert (reply.text, reply.headers["content-range"]) == ("od", "bytes 1-2/4")
    return str(reply.status) + ("" if reply.status == 206 else ", with a Content-Range")


def missing(probe: Probe) -> str:
    return str(probe.get(probe.bucket(), "missing", "HEAD").status)


def checksum(probe: Probe) -> str:
    bucket = probe.bucket()
    probe.client.put_object(Bucket=bucket, Key="key", Body=b"x", ChecksumAlgorithm="CRC32")
    reply = probe.get(bucket, "key", x_amz_checksum_mode="ENABLED")
    told = [name for name in reply.headers if re.fullmatch(r"x-amz-checksum-\w*\d\w*", name)]
    return ", ".join(name.removeprefix("x-amz-checksum-").upper() for name in told) or "none"


def versions(probe: Probe) -> str:
    try:
        bucket = probe.server.make_bucket(probe.client, versioned=True)
    except ClientError as exc:
        return f"none ({exc.response['ResponseMetadata']['HTTPStatusCode']})"
    probe.client.put_object(Bucket=bucket, Key="key", Body=b"x")
    return "yes" if "x-amz-version-id" in probe.get(bucket, "key").headers else "none"


def version_ids_unasked(probe: Probe) -> str:
    bucket = probe.bucket(key=b"x")
    told = [
        method
        for method in ("HEAD", "GET")
        if "x-amz-version-id" in probe.get(bucket, "key", method).headers
    ]
    return ", ".join(told) or "none"


def archived(probe: Probe) -> str:
    bucket = probe.bucket()
    try:
        probe.client.put_object(Bucket=bucket, Key="cold", Body=b"x", StorageClass="GLACIER")
    except ClientError as exc:
        return f"refused ({exc.response['ResponseMetadata']['HTTPStatusCode']})"
    named = "named so" if "<StorageClass>GLACIER<" in probe.list(bucket).text else "not named so"
    reply = probe.get(bucket, "cold")
    return f"{named}, but their bytes are sent" if reply.status == 200 else reply.word


# ---- keys


def beside_its_prefix(probe: Probe) -> str:
    bucket = probe.bucket_of({"a/b": b""})
    word = probe.put(bucket, "a")
    return "yes" if word == "kept" else f"the second is {word}"


def marker(probe: Probe) -> str:
    bucket = probe.bucket()
    word = probe.put(bucket, "a/", b"")
    if word != "kept":
        return word
    word = probe.put(bucket, "b/", b"x")
    if word != "kept":
        return f"yes; with bytes {word}"
    return "yes" if probe.get(bucket, "b/").text == "x" else "yes, always empty"


def listed_marker(probe: Probe) -> str:
    return _listed_above(probe, "a/", "a/")


def listed_slash(probe: Probe) -> str:
    return _listed_above(probe, "/a", "/")


def _listed_above(probe: Probe, key: str, prefix: str) -> str:
    """Return how the bucket's delimited listing shows the only object, below *prefix*."""
    bucket = probe.bucket()
    if probe.put(bucket, key, b"") != "kept":
        return "-"
    page = probe.client.list_objects_v2(Bucket=bucket, Delimiter="/")
    prefixes = [each["Prefix"] for each in page.get("CommonPrefixes", ())]
    objects = [each["Key"] for each in page.get("Contents", ())]
    if (prefixes, objects) == ([prefix], []):
        return "a common prefix"
    return " and ".join(
        [f"an object `{key}`" for key in objects]
        + [f"a common prefix `{each}`" for each in prefixes]
    )


def double_slash(probe: Probe) -> str:
    return _each(probe, "a//b", "/a")


def dots(probe: Probe) -> str:
    return _each(probe, "a/./b", "a/../b")


def long_name(probe: Probe) -> str:
    return probe.put(probe.bucket(), "n" * 300)


def newline(probe: Probe) -> str:
    return _each(probe, "new\nline", "tab\t.")


def backslash(probe: Probe) -> str:
    return probe.put(probe.bucket(), "a\\b")


def _each(probe: Probe, *keys: str) -> str:
    words = [probe.put(probe.bucket(), key) for key in keys]
    return words[0] if len(set(words)) == 1 else "; ".join(words)


# ---- access and connections


def wrong_secret(probe: Probe) -> str:
    return _accepts(probe, secret_key="wrong")


def wrong_region(probe: Probe) -> str:
    return _accepts(probe, region="eu-west-3")


def _accepts(probe: Probe, **changes: str) -> str:
    bucket = probe.bucket()
    reply = Probe(replace(probe.server, **changes)).list(bucket)  # type: ignore[arg-type]
    return "accepted" if reply.status == 200 else str(reply.status)


def connections(probe: Probe) -> str:
    reply = probe.list(probe.bucket())
    is_closed = reply.headers.get("connection", "") == "close"
    return "closed after each response" if is_closed else "kept alive"


def _shown(name: str) -> str:
    readable = name.encode("unicode_escape").decode() if not name.isprintable() else name
    return f"`{readable if len(readable) < 20 else readable[:20] + '…'}`"


ROWS: Mapping[str, Callable[[Probe], str]] = {
    "order of a listing": order,
    "`+` and space in `encoding-type=url`": encoding,
    "`\\x01`; `\\r`": not_in_xml,
    "`\\n`; `\\t`": newline,
    "`StartAfter=b` with a delimiter, and keys under `b/`": starts_after_name,
    "`StartAfter=b/x` with a delimiter, and a key `b/y`": starts_after_key,
    "`NextContinuationToken`": token,
    "a common prefix that ends a page": prefix_twice,
    "version 1 of a listing, two rows with a delimiter": version_1,
    "ETags in a listing": listed_etag,
    "Last-Modified in a listing": listed_time,
    "`If-Match` on GET": if_match,
    "`If-None-Match` on GET": if_none_match,
    "a range of an empty object": range_of_nothing,
    "the status of a range": range_status,
    "a missing key, to HEAD": missing,
    "the checksum of a GET that asks for it": checksum,
    "versions": versions,
    "version ids in a bucket without versions": version_ids_unasked,
    "archived objects": archived,
    "`a` beside `a/b`": beside_its_prefix,
    "`a/` (a marker)": marker,
    "`a/`, in the delimited listing above it": listed_marker,
    "`/a`, in the delimited listing above it": listed_slash,
    "`a//b`; `/a`": double_slash,
    "`a/./b`; `a/../b`": dots,
    "a name over 255 bytes": long_name,
    "a backslash": backslash,
    "a wrong secret": wrong_secret,
    "a wrong signing region": wrong_region,
    "connections": connections,
}


def observe(server: S3Server) -> dict[str, str]:
    """Return what *server* does in each row."""
    probe = Probe(server)
    with contextlib.closing(probe.client):
        return {label: row(probe) for label, row in ROWS.items()}


def columns() -> Iterator[tuple[str, dict[str, str]]]:
    """Start each server, and yield its name and its column."""
    with servers.seaweedfs() as (server, _):
        yield "SeaweedFS", observe(server)
    for start in (servers.moto, servers.rclone, servers.versitygw, servers.gofakes3):
        with start() as server:
            yield server.name, observe(server)


def table(found: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield f"| | {' | '.join(found)} |"
    yield "|---" * (len(found) + 1) + "|"
    for label in ROWS:
        yield f"| {label} | {' | '.join(column[label] for column in found.values())} |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table(dict(columns())))

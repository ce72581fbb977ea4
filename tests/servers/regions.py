"""Endpoint of an account with buckets in several regions: redirects, and forwards the rest.

As S3 has it, each request is signed for a region. One for a bucket in another region is redirected
(301), with the region in a header and in the document. All others are forwarded to the server of
their region, and the list of buckets is that of all regions.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html
"""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.server import S3Server

_SIGNED_FOR = re.compile(r"Credential=[^/]+/\d+/([^/]+)/s3/")
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass
class Account:
    """An account at *server*: its buckets by region, those denied, and the requests so far.

    *tells_regions*: the list of buckets does, and a redirected HEAD does. *may_list*: the buckets.
    """

    server: S3Server  # with the endpoint's address
    regions: Mapping[str, S3Server]
    buckets: dict[str, str] = field(default_factory=dict)  # the region of each
    denied: set[str] = field(default_factory=set)
    tells_regions: bool = True
    may_list: bool = True
    # buckets whose requests are not responded to until they are taken out, and how many wait so
    silent: set[str] = field(default_factory=set)
    unanswered: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    # held while a request is forwarded, as moto replaces an object in several steps
    lock: threading.Lock = field(default_factory=threading.Lock)
    most_at_once: int = 0  # requests
    # method, bucket ("": the account), status
    requests: list[tuple[str, str, int]] = field(default_factory=list)

    def make_bucket(self, name: str, region: str) -> Any:
        """Make the bucket *name* in *region*; return a client of its server."""
        client = self.regions[region].client()
        client.create_bucket(Bucket=name)
        self.buckets[name] = region
        return client

    def silence(self, bucket: str) -> None:
        """Respond to no request of *bucket* from now on."""
        with self.changed:
            self.silent.add(bucket)

    def end_silence(self) -> None:
        """Respond to all requests, those that wait too."""
        with self.changed:
            self.silent.clear()
            self.changed.notify_all()

    def wait_until_heard(self, bucket: str) -> None:
        """Wait, as long as *bucket* is silent."""
        with self.changed:
            self.unanswered += bucket in self.silent
            self.changed.wait_for(lambda: bucket not in self.silent)

    def take(self) -> list[tuple[str, str, int]]:
        """Return the requests since the last call."""
        requests, self.requests = self.requests, []
        return requests


@contextmanager
def account(regions: Mapping[str, S3Server]) -> Iterator[Account]:
    """Run the endpoint of an account in *regions*, each on a server of its own."""
    any_server = next(iter(regions.values()))
    with _Endpoint(("127.0.0.1", 0), _Handler) as listening:
        url = f"http://127.0.0.1:{listening.server_address[1]}"
        listening.account = Account(replace(any_server, endpoint_url=url), regions)
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield listening.account
        finally:
            listening.account.end_silence()
            listening.shutdown()
            thread.join()


class _Endpoint(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    account: Account

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._counting = threading.Lock()
        self._at_once = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request for the length of the block."""
        with self._counting:
            self._at_once += 1
            self.account.most_at_once = max(self.account.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._counting:
                self._at_once -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Endpoint

    def do_GET(self) -> None:
        with self.server.counted():
            self._respond()

    do_HEAD = do_GET  # noqa: N815

    def _respond(self) -> None:
        account = self.server.account
        bucket = urlsplit(self.path).path.strip("/").partition("/")[0]
        signed_for = _SIGNED_FOR.search(self.headers.get("Authorization", ""))
        region = account.buckets.get(bucket)
        account.wait_until_heard(bucket)
        if not bucket:
            self._list_buckets()
        elif bucket in account.denied:
            self._refuse(403, "AccessDenied")
        elif region is None:
            self._refuse(404, "NoSuchBucket")
        elif signed_for is None or signed_for[1] != region:
            self._refuse(301, "PermanentRedirect", region)
        else:
            self._forward(account.regions[region], bucket)

    def log_message(self, *_: object) -> None:
        """Write nothing."""

    def _list_buckets(self) -> None:
        account = self.server.account
        if not account.may_list:
            self._refuse(403, "AccessDenied")
            return
        query = parse_qs(urlsplit(self.path).query)
        names = sorted(account.buckets)
        start = names.index(query["continuation-token"][0]) if "continuation-token" in query else 0
        stop = start + int(query.get("max-buckets", ["10000"])[0])
        token = f"<ContinuationToken>{names[stop]}</ContinuationToken>" if names[stop:] else ""
        rows = "".join(self._row(account, name) for name in names[start:stop])
        document = f"<Buckets>{rows}</Buckets>{token}"
        body = f"<ListAllMyBucketsResult>{document}</ListAllMyBucketsResult>"
        self._send(200, {"Content-Type": "application/xml"}, body.encode(), "")

    @staticmethod
    def _row(account: Account, name: str) -> str:
        region = f"<BucketRegion>{account.buckets[name]}</BucketRegion>"
        return f"<Bucket><Name>{name}</Name>{region * account.tells_regions}</Bucket>"

    def _refuse(self, status: int, code: str, region: str | None = None) -> None:
        headers = {"Content-Type": "application/xml"}
        document = f"<Code>{code}</Code>"
        if region is not None:
            document += f"<Region>{region}</Region>"
            if self.server.account.tells_regions:
                headers["x-amz-bucket-region"] = region
        bucket = urlsplit(self.path).path.strip("/").partition("/")[0]
        self._send(status, headers, f"<Error>{document}</Error>".encode(), bucket)

    def _forward(self, server: S3Server, bucket: str) -> None:
        parts = urlsplit(server.endpoint_url)
        upstream = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            with self.server.account.lock:
                upstream.request(self.command, self.path, headers=dict(self.headers))
                response = upstream.getresponse()
                body = response.read()
            headers = {
                name: value
                for name, value in response.getheaders()
                if name.lower() not in _HOP_BY_HOP
            }
            if self.command == "HEAD":
                headers["Content-Length"] = response.getheader("Content-Length") or "0"
            self._send(response.status, headers, body, bucket)
        finally:
            upstream.close()

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, bucket: str) -> None:
        self.server.account.requests.append((self.command, bucket, status))
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

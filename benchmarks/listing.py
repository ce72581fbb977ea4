"""Server of listings of one flat bucket with any number of keys.

Each page is made when it is requested: all entries have the same length, so the bucket is one long
row of bytes of which a page is a slice, and nothing is stored. Implements what mounts ask of a
bucket that they only list: ListObjects v1 and v2, HEAD, ?location. Checks no signature.

python -m benchmarks.listing --keys 1000000
"""

import argparse
import bisect
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

_STEM = "object-"
_DIGITS = 7
_BLOCK = (
    1000  # entries rendered at a time, which differ from those of the next block in four digits
)
_SIZE = 1024
_ENTRY = (
    f"<Contents><Key>{_STEM}@@@@%03d</Key><LastModified>2024-05-01T12:00:00.000Z</LastModified>"
    f"<ETag>&quot;{'0' * 25}@@@@%03d&quot;</ETag><Size>{_SIZE}</Size>"
    f"<StorageClass>STANDARD</StorageClass></Contents>"
)
_PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Name>{bucket}</Name><Prefix>{prefix}</Prefix><MaxKeys>{max_keys}</MaxKeys><KeyCount>{count}</KeyCount>"
    "<IsTruncated>{truncated}</IsTruncated>{next}"
)
_LOCATION = (
    b'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>'
)


class FlatBucket:
    """The *count* keys object-0000000, object-0000001, …, in S3's order."""

    def __init__(self, count: int) -> None:
        self._numbers = range(count)
        self._block = "".join(_ENTRY % (number, number) for number in range(_BLOCK)).encode()
        self._entry_length = len(self._block) // _BLOCK

    @staticmethod
    def key(number: int) -> str:
        return f"{_STEM}{number:0{_DIGITS}}"

    def has(self, key: str) -> bool:
        at = bisect.bisect_left(self._numbers, key, key=self.key)
        return at < len(self._numbers) and self.key(at) == key

    def select(self, prefix: str, after: str) -> range:
        """Return the numbers of the keys that start with *prefix* and sort after *after*."""
        begin = bisect.bisect_left(self._numbers, prefix, key=self.key)
        end = bisect.bisect_right(
            self._numbers, prefix, key=lambda number: self.key(number)[: len(prefix)]
        )
        return self._numbers[
            max(begin, bisect.bisect_right(self._numbers, after, key=self.key)) : end
        ]

    def entries(self, numbers: range) -> bytes:
        """Return the <Contents> elements of consecutive *numbers*."""
        if not numbers:
            return b""
        blocks = range(numbers[0] // _BLOCK, numbers[-1] // _BLOCK + 1)
        rendered = b"".join(self._block.replace(b"@@@@", b"%04d" % block) for block in blocks)
        first = numbers[0] % _BLOCK
        return rendered[first * self._entry_length : (first + len(numbers)) * self._entry_length]

    def page(self, bucket: str, query: dict[str, str]) -> bytes:
        """Return a page of ListObjects, v2 or v1; its continuation token is its last key."""
        is_v2 = query.get("list-type") == "2"
        after = (
            query.get("continuation-token", query.get("start-after", ""))
            if is_v2
            else query.get("marker", "")
        )
        prefix, max_keys = query.get("prefix", ""), min(int(query.get("max-keys", 1000)), 1000)
        wanted = self.select(prefix, after)
        taken = wanted[:max_keys]
        more = len(taken) < len(wanted)
        name = "NextContinuationToken" if is_v2 else "NextMarker"
        follow = f"<{name}>{self.key(taken[-1])}</{name}>" if more and taken else ""
        head = _PAGE.format(
            bucket=bucket,
            prefix=prefix,
            max_keys=max_keys,
            count=len(taken),
            truncated=str(more).lower(),
            next=follow,
        )
        return head.encode() + self.entries(taken) + b"</ListBucketResult>"


class ListingServer(ThreadingHTTPServer):
    """HTTP server of *bucket* under every bucket name."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, bucket: FlatBucket, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.bucket = bucket


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        bucket, key, query = self._target()
        if key:
            self._answer(*((200, bytes(_SIZE)) if self._bucket.has(key) else (404, b"")))
        elif "location" in query:
            self._answer(200, _LOCATION)
        else:
            self._answer(200, self._bucket.page(bucket, query))

    def do_HEAD(self) -> None:
        _, key, _ = self._target()
        self._answer(200 if not key or self._bucket.has(key) else 404, bytes(_SIZE if key else 0))

    @property
    def _bucket(self) -> FlatBucket:
        return cast("ListingServer", self.server).bucket

    def _target(self) -> tuple[str, str, dict[str, str]]:
        path, _, query = self.path.partition("?")
        bucket, _, key = urllib.parse.unquote(path.lstrip("/")).partition("/")
        return bucket, key, dict(urllib.parse.parse_qsl(query, keep_blank_values=True))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{"0" * 32}"')
        self.send_header("Last-Modified", "Wed, 01 May 2024 12:00:00 GMT")
        self.send_header("x-amz-request-id", "generated")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: a line for each request would be most of the work."""


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="Serves listings of one flat, generated bucket.")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    server = ListingServer(FlatBucket(args.keys), args.port)
    print(f"listings on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

"""Server of generated buckets, for listings and objects that are too large to upload.

Implements what mounts ask: ListObjects v1 and v2, HEAD, GET with a range, ?location. Checks no
signature.

python -m benchmarks.generated_server --keys 1000000
"""

import argparse
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from benchmarks.content import GIB
from benchmarks.generated import GeneratedBucket, pieces
from benchmarks.row import HUGE, MILLION, MILLION_KEYS, TWO_MILLION

HUGE_SIZE = 64 * GIB
_LOCATION = (
    b'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>'
)


def buckets(keys: int) -> dict[str, GeneratedBucket]:
    """Return the buckets by name, with *keys* keys in the flat one."""
    return {
        MILLION: GeneratedBucket(keys),
        TWO_MILLION: GeneratedBucket(2 * keys, "directory-#####/file-##"),
        HUGE: GeneratedBucket(64, "object-#######.bin", HUGE_SIZE),
    }


class GeneratedServer(ThreadingHTTPServer):
    """HTTP server of *buckets*."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, buckets: Mapping[str, GeneratedBucket], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.buckets = buckets

    def handle_error(self, *_: object) -> None:
        """Ignore the end of a connection while its body is sent: mounts cancel reads."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        name, key, query = self._target()
        bucket = self._buckets.get(name)
        if bucket is None:
            self._answer(404, 0)
        elif key:
            self._answer_object(bucket, key)
        else:
            page = _LOCATION if "location" in query else bucket.page(name, query)
            self._answer(200, len(page), [page])

    def do_HEAD(self) -> None:
        name, key, _ = self._target()
        bucket = self._buckets.get(name)
        if bucket is None or (key and bucket.etag(key) is None):
            self._answer(404, 0)
        else:
            self._answer(200, bucket.size if key else 0, etag=bucket.etag(key))

    def _answer_object(self, bucket: GeneratedBucket, key: str) -> None:
        etag = bucket.etag(key)
        if etag is None:
            self._answer(404, 0)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        stop = min(int(asked[2]) + 1, bucket.size) if asked and asked[2] else bucket.size
        if start >= bucket.size:
            self._answer(416, 0)
            return
        content_range = f"bytes {start}-{stop - 1}/{bucket.size}" if asked else None
        self._answer(206 if asked else 200, stop - start, pieces(start, stop), etag, content_range)

    @property
    def _buckets(self) -> Mapping[str, GeneratedBucket]:
        return cast("GeneratedServer", self.server).buckets

    def _target(self) -> tuple[str, str, dict[str, str]]:
        path, _, query = self.path.partition("?")
        bucket, _, key = urllib.parse.unquote(path.lstrip("/")).partition("/")
        return bucket, key, dict(urllib.parse.parse_qsl(query, keep_blank_values=True))

    def _answer(
        self,
        status: int,
        length: int,
        body: Iterable[bytes] = (),
        etag: str | None = None,
        content_range: str | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if etag else "application/xml")
        self.send_header("Content-Length", str(length))
        self.send_header("Last-Modified", "Wed, 01 May 2024 12:00:00 GMT")
        self.send_header("x-amz-request-id", "generated")
        if etag is not None:
            self.send_header("ETag", f'"{etag}"')
            self.send_header("Accept-Ranges", "bytes")
        if content_range is not None:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        for piece in body:
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Log nothing: a line for each request would be most of the work."""


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="Serves generated buckets.")
    parser.add_argument("--keys", type=int, default=MILLION_KEYS)
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    server = GeneratedServer(buckets(args.keys), args.port)
    print(f"generated buckets on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

"""Proxy of rclone that serializes reads and overwrites.

`rclone serve s3` overwrites files in place during its responses: of 2,700 GETs without any mount,
13 had bytes of the new version under the ETag and length of the old. No client can detect that.
This proxy handles one request at a time, and a writer holds the same lock, so that no response
changes while it is sent.
"""

import http.client
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from tests.servers import S3Server


class _Relay(http.server.ThreadingHTTPServer):
    def __init__(self, address: str, lock: threading.Lock) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.address = address
        self.lock = lock


class _Request(http.server.BaseHTTPRequestHandler):
    server: _Relay
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with self.server.lock:
            connection = http.client.HTTPConnection(self.server.address)
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, text in self.headers.items():
                connection.putheader(name, text)
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
        self.send_response_only(answer.status, answer.reason)
        for name, text in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, text)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def serializing_proxy(server: S3Server) -> Iterator[tuple[S3Server, threading.Lock]]:
    """Yield *server* behind the proxy, and the lock that a writer must hold."""
    lock = threading.Lock()
    with _Relay(urlsplit(server.endpoint_url).netloc, lock) as relay:
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield replace(server, endpoint_url=f"http://127.0.0.1:{relay.server_address[1]}"), lock
        finally:
            relay.shutdown()
            thread.join()

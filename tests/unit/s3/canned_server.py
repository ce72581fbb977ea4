"""Server that sends the same bytes to each request, as no real store would."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator


class _Once(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(self.server.answer)  # type: ignore[attr-defined]
        if self.server.stalls:  # type: ignore[attr-defined]
            self.rfile.read()  # until the client hangs up


@contextlib.contextmanager
def answering(answer: bytes, *, stalls: bool = False) -> Iterator[str]:
    """Yields the URL of a server that sends *answer* and closes, or *stalls*."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Once) as server:
        server.daemon_threads = True
        server.answer = answer  # type: ignore[attr-defined]
        server.stalls = stalls  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def stalling(answer: bytes) -> contextlib.AbstractContextManager[str]:
    """Yields the URL of a server that sends *answer*, and no more until the client hangs up."""
    return answering(answer, stalls=True)


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """Yields the URL of a server that accepts, and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def http(status: int, body: bytes, **headers: str) -> bytes:
    """Return a response with *body*; `content_type` is written Content-Type."""
    named = {"content-length": str(len(body)), "connection": "close"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value)
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + body


def error(status: int, code: str, more: str = "", **headers: str) -> bytes:
    """Return an S3 error document."""
    body = (
        f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>a message</Message>{more}</Error>'
    )
    return http(status, body.encode(), content_type="application/xml", **headers)


def listing(inner: str) -> bytes:
    """Return a page of a listing."""
    xmlns = "http://s3.amazonaws.com/doc/2006-03-01/"
    body = f'<?xml version="1.0"?><ListBucketResult xmlns="{xmlns}">{inner}</ListBucketResult>'
    return http(200, body.encode(), content_type="application/xml")

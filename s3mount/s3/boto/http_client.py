"""How the requests of the boto3 side travel: urllib3, with the caller's deadline over every byte.

Sits in botocore's `before-send` event. Follows no redirect, retries nothing, decodes no content.
https://boto3.amazonaws.com/v1/documentation/api/latest/guide/events.html
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from botocore.awsrequest import AWSResponse
from urllib3.exceptions import InsecureRequestWarning
from urllib3.util import Timeout, make_headers

from s3mount.s3.boto.header_timeout import Alarm, OnWait, make_prompt, socket_of
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.endpoint.tls import tls_context
from s3mount.s3.limits import DOCUMENT_LIMIT, ERROR_LIMIT, LARGE_DOCUMENT, PIECES_LIMIT
from s3mount.s3.operations import validation
from s3mount.s3.operations.validation import InvalidResponseError
from s3mount.s3.scheduling.cancel_token import CancelToken

CHUNK = 256 * 1024


class Wire:
    """A pool of connections. Called from many threads, each of which says its deadline first."""

    def __init__(
        self, store: Endpoint, *, connections: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connect_timeout = store.connect_timeout
        self._idle_timeout = store.idle_timeout
        self._clock = clock
        self._pool = _open_pool(store, connections, self._tie)
        self._parsing = threading.Lock()  # one large document at a time: each may cost 60 MiB
        self._asking = (
            threading.local()
        )  # .deadline, .cord, .body, .is_parsing: of this thread's request

    @contextlib.contextmanager
    def until(self, deadline: float, cord: CancelToken | None = None) -> Iterator[None]:
        """Requests of this thread end by *deadline* while the block runs, or when *cord* is pulled: then with any exception.

        The last answer is closed if the block fails.
        """
        cord = cord or CancelToken()
        self._asking.deadline, self._asking.cord, self._asking.body = deadline, cord, None
        self._asking.is_parsing = False
        try:
            yield
        except BaseException:  # raised again; botocore drops an answer that it cannot read
            if self._asking.body is not None:
                self._asking.body.close()
            raise
        finally:
            cord.untie()
            if self._asking.is_parsing:
                self._parsing.release()
            del self._asking.deadline, self._asking.cord, self._asking.body, self._asking.is_parsing

    @property
    def deadline(self) -> float:
        """The deadline of this thread's request; in a block of `until` only."""
        deadline: float = self._asking.deadline
        return deadline

    @property
    def cord(self) -> CancelToken:
        """The cord of this thread's request; in a block of `until` only."""
        cord: CancelToken = self._asking.cord
        return cord

    def send(self, request: Any, **_: Any) -> AWSResponse:
        """The answer to one of botocore's prepared requests: its head, and a body still to be read."""
        deadline = self.deadline
        left = deadline - self._clock()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        parts = urlsplit(request.url)
        is_forwarded = isinstance(self._pool, urllib3.ProxyManager) and parts.scheme == "http"
        answer = self._pool.connection_from_url(request.url).urlopen(
            request.method,
            request.url
            if is_forwarded
            else request.url[request.url.index("/", len(parts.scheme) + 3) :],
            headers=request.headers,
            timeout=Timeout(
                connect=min(self._connect_timeout, left), read=min(self._idle_timeout, left)
            ),
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
        )
        self._asking.body = body = _Body(
            answer, deadline, self._idle_timeout, self._clock, self._wait_turn
        )
        headers: Any = answer.headers
        return AWSResponse(request.url, answer.status, headers, body)

    def close(self) -> None:
        self._pool.clear()

    def _tie(self, sock: socket.socket) -> None:
        """Have the cord of this thread's request shut *sock* down, which serves it until the block of `until` ends."""

        def shut_down() -> None:
            with contextlib.suppress(
                OSError, TypeError
            ):  # it has ended already; or is TLS within TLS, and left alone
                socket.socket.shutdown(
                    sock, socket.SHUT_RDWR
                )  # SSLSocket's own has its reader go on without TLS

        self._asking.cord.tie(shut_down)

    def _wait_turn(self, size: int) -> None:
        """Called before a document of *size* bytes is parsed in this thread."""
        if size <= LARGE_DOCUMENT or self._asking.is_parsing:
            return
        if not self._parsing.acquire(timeout=max(0, self._asking.deadline - self._clock())):
            raise TimeoutError("the deadline has passed")
        self._asking.is_parsing = True


class _Body:
    """A response's body, as botocore reads it: each `read` is one receive, and none outlasts the deadline."""

    def __init__(
        self,
        answer: urllib3.BaseHTTPResponse,
        deadline: float,
        idle_timeout: float,
        clock: Callable[[], float],
        wait_turn: Callable[[int], None],
    ) -> None:
        self._wait_turn = wait_turn
        self._answer = answer
        self._deadline = deadline
        self._idle_timeout = idle_timeout
        self._clock = clock
        self._socket = socket_of(answer)
        self._is_chunked = "transfer-encoding" in answer.headers
        self._alarm: Alarm | None = None

    def read(self, size: int = CHUNK) -> bytes:
        """At most *size* bytes, as soon as there are any; none at the end."""
        left = self._deadline - self._clock()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        if (
            self._is_chunked and self._alarm is None
        ):  # between chunks a read is more than one receive
            self._alarm = Alarm(left, self._socket)
        with contextlib.suppress(OSError):  # closed already, with the end of the body in the buffer
            self._socket.settimeout(min(self._idle_timeout, left))
        chunk = self._answer.read1(size)
        if not chunk:
            self._disarm()
        return chunk

    def stream(self) -> Iterator[bytes]:
        """All of it, for a document; a body that is read in full gives its connection back. InvalidResponseError for one that is
        too large to be parsed; of a server error the status is enough.
        """
        try:
            document = self._document()
            self._wait_turn(len(document))
            validation.check_document(document)
        except InvalidResponseError:
            self.close()
            if self._answer.status < 500:
                raise
            document = b""
        yield document

    def _document(self) -> bytes:
        limit = DOCUMENT_LIMIT if self._answer.status == 200 else ERROR_LIMIT
        document = bytearray()
        for _ in range(PIECES_LIMIT):
            piece = self.read()
            if not piece:
                self._answer.release_conn()
                return bytes(document)
            document += piece
            if len(document) > limit:
                raise InvalidResponseError("a document without end")
        raise InvalidResponseError("a document in too many pieces")

    def close(self) -> None:
        """End a connection with something left on it: draining would cost the rest of the object. Else it went back already."""
        self._disarm()
        self._answer.close()
        self._answer.release_conn()

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()


def _open_pool(store: Endpoint, connections: int, on_wait: OnWait) -> urllib3.PoolManager:
    options: dict[str, Any] = {"maxsize": connections, "block": False}
    if store.scheme == "https":
        options["ssl_context"] = tls_context(ca_bundle=store.ca_bundle, verify_ssl=store.verify_ssl)
        if not store.verify_ssl:
            urllib3.disable_warnings(InsecureRequestWarning)  # it was asked for
    pools = (
        urllib3.PoolManager(**options) if store.proxy is None else _open_proxy(store.proxy, options)
    )
    make_prompt(pools, on_wait)
    return pools


def _open_proxy(url: str, options: dict[str, Any]) -> urllib3.PoolManager:
    proxy = urlsplit(url)
    headers = None
    if proxy.username is not None:
        headers = make_headers(
            proxy_basic_auth=f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        )
    return urllib3.ProxyManager(url, proxy_headers=headers, **options)

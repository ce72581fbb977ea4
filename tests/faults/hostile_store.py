"""S3 server on loopback that injects faults into chosen requests.

Knows connections and scripts; `http_faults` and `content_faults` define the faults, `bucket` the
correct responses. Uses plain sockets, to control every byte, every pause and every reset.
"""

import contextlib
import itertools
import math
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from tests.faults.bucket import Bucket, Kind, Request, Response

HEAD_LIMIT = 1 << 16  # bytes of a request's header
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, see socket(7)


class HangUp(Exception):
    """Raised by a fault to close the connection."""


class Exchange:
    """One request on one connection, for a fault to respond to."""

    def __init__(
        self, store: "HostileStore", connection: socket.socket, request: Request, number: int
    ) -> None:
        self.store = store
        self.connection = connection
        self.request = request
        self.number = number

    @property
    def response(self) -> Response:
        """The correct response at this moment."""
        return self.store.bucket.respond(self.request)

    def stamp(self, response: Response) -> Response:
        """Return *response* with this request's id in the header and in an error document."""
        request_id = f"REQ{self.number:06}"  # as long as @REQUEST@, to keep lengths
        body = response.body.replace(b"@REQUEST@", request_id.encode())
        return replace(response, body=body).with_header("x-amz-request-id", request_id)

    def send(self, octets: bytes) -> None:
        self.connection.sendall(octets)

    def reply(self, response: Response) -> None:
        """Send *response* as a correct server does."""
        stamped = replace(self.stamp(response), is_bodiless=self.request.method == "HEAD")
        self.send(stamped.head + stamped.sent_body)
        if stamped.cut_after is not None and not stamped.is_bodiless:
            raise HangUp

    def pause(self, seconds: float = math.inf) -> None:
        """Send nothing for *seconds*; raises HangUp if the faults end meanwhile."""
        if self.store.faults_ended.wait(min(seconds, threading.TIMEOUT_MAX)):
            raise HangUp

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raise HangUp


Fault = Callable[[Exchange], None]


def behave(exchange: Exchange) -> None:
    """Respond correctly: the absence of a fault."""
    exchange.reply(exchange.response)


@dataclass(slots=True)
class Step:
    """A fault and its requests: the first *skip* matches are spared, the next *times* are hit.

    *hits* counts the requests that were hit.
    """

    kind: Kind | None
    fault: Fault
    prefix: str = ""  # prefix of the key, or of the listed prefix
    skip: int = 0
    times: float = math.inf
    hits: int = 0
    _seen: int = field(default=0, init=False)

    def take(self, request: Request) -> bool:
        """Count *request* if it matches, and return whether the fault hits it."""
        if self.kind not in (None, request.kind) or not request.key_or_prefix.startswith(
            self.prefix
        ):
            return False
        self._seen += 1
        is_met = self.skip < self._seen <= self.skip + self.times
        self.hits += is_met
        return is_met


def _bound_to(port: int) -> socket.socket:
    """Return a socket bound to *port* of loopback (0: any); others may be bound to it too."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


class HostileStore:
    """Server of one bucket on loopback: a thread for each connection, and a script of faults."""

    def __init__(self, bucket: Bucket, behaviour: Fault = behave) -> None:
        self.bucket = bucket
        self._behaviour = behaviour  # outside of the script
        self.faults_ended = threading.Event()
        self.at_accept: Callable[[socket.socket], None] | None = None
        self.elsewhere = ""  # URL, the target of redirects
        # Requests received, the script, and established connections: changed under the lock.
        self.requests: list[Request] = []
        self._script: list[Step] = []
        self._connections: set[socket.socket] = set()
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._listener: socket.socket | None = None
        self._queue: list[socket.socket] = []  # our own connections, which fill the backlog
        self._is_open = False
        # Bound, never listening: while the store is down, no outgoing connection gets its port.
        self._reserved = _bound_to(0)
        self.port: int = self._reserved.getsockname()[1]
        self.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_faults()
        self.refuse()
        self._reserved.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def misbehave(self, *script: Step) -> None:
        """Replace the script: each request meets the first step that takes it."""
        with self._lock:
            self.faults_ended = threading.Event()
            self._script = list(script)

    def end_faults(self) -> None:
        """End all faults, and close the connections that were kept waiting."""
        with self._lock:
            self._script = []
            self.at_accept = None
            self.faults_ended.set()
            if not self._is_open:
                self._close_listener()
                self.listen()

    def listen(self) -> None:
        """Accept connections, always on the same port."""
        self._is_open = True
        self._open_listener(backlog=128)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse new connections, and reset established ones."""
        self._is_open = False
        self._close_listener()
        self.reset_connections()

    def accept_none(self) -> None:
        """Leave new connections in a full backlog, where the kernel ignores them."""
        self.refuse()
        self._open_listener(backlog=0)
        for _ in range(2):  # the kernel queues one connection more than the backlog
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self.port))
            self._queue.append(waiting)

    def reset_connections(self) -> None:
        """Reset every established connection."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def connections(self) -> list[socket.socket]:
        """The established connections."""
        with self._lock:
            return list(self._connections)

    def _open_listener(self, backlog: int) -> None:
        listener = _bound_to(self.port)
        listener.listen(backlog)
        self._listener = listener

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        for opened in (listener, *self._queue):
            if opened is not None:
                with contextlib.suppress(OSError):  # not connected while it was in the queue
                    opened.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
                opened.close()
        self._queue = []

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._admit(connection, listener):
                    threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _admit(self, connection: socket.socket, listener: socket.socket) -> bool:
        """Register *connection*, or reset it and return False if the store went down meanwhile."""
        with self._lock:
            if listener is not self._listener:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()
                return False
            self._connections.add(connection)
            return True

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._converse(connection)
        except (HangUp, OSError):
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
                connection.close()

    def _converse(self, connection: socket.socket) -> None:
        if self.at_accept is not None:
            self.at_accept(connection)
        unread = b""
        while True:
            head, unread = _read_head(connection, unread)
            request = parse(head)
            self._fault_for(request)(Exchange(self, connection, request, next(self._numbers)))

    def _fault_for(self, request: Request) -> Fault:
        with self._lock:
            self.requests.append(request)
            return next(
                (step.fault for step in self._script if step.take(request)), self._behaviour
            )


def parse(head: bytes) -> Request:
    line, *fields = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    pairs = (text.partition(":") for text in fields if text)
    return Request(method, target, {name.lower(): value.strip() for name, _, value in pairs})


def _read_head(connection: socket.socket, octets: bytes) -> tuple[bytes, bytes]:
    """Return the header of the next request, and the bytes after it."""
    while b"\r\n\r\n" not in octets:
        more = connection.recv(HEAD_LIMIT)
        if not more or len(octets) > HEAD_LIMIT:
            raise HangUp
        octets += more
    head, _, rest = octets.partition(b"\r\n\r\n")
    return head, rest

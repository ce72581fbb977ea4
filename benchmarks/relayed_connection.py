"""Relayed connection: its requests in turn, delayed, paced and counted.

Bodies move by splice(2) from socket to socket inside the kernel. Knows no listener.
"""

import contextlib
import fcntl
import json
import os
import random
import select
import socket
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.heads import Chunked, Sized, UntilClose, read_request, read_response

# bytes of one splice: the largest pipe without privileges (pipe-max-size)
_CHUNK = 1 << 20
_PACED_CHUNK = 512 << 10  # the same on a rate-limited connection: about 6 ms at 90 MB/s
# seconds of lateness (a sleep that woke late, a server that paused) that may be made up
_CATCH_UP = 0.005
_HEAD_MAX = 64 << 10  # bytes: servers of the bench send some 1 KiB


class HungUpError(Exception):
    """One side closed the connection; the relay closes the other."""


@dataclass(slots=True)
class Counts:
    """Counts: responses by kind and status, bytes of bodies to clients by kind, connections."""

    requests: Counter[str] = field(default_factory=Counter)
    down: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_request(self, name: str) -> None:
        with self._lock:
            self.requests[name] += 1

    def add_down(self, kind: str, count: int) -> None:
        if count:
            with self._lock:
                self.down[kind] += count

    def add_connection(self) -> None:
        with self._lock:
            self.connections += 1

    def as_json(self) -> str:
        with self._lock:
            return json.dumps(
                {"requests": self.requests, "down": self.down, "connections": self.connections}
            )


class Pace:
    """Pace of a connection: when its next bytes may leave, at *rate* bytes a second."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._due = 0.0

    @property
    def chunk(self) -> int:
        return _CHUNK if self._rate is None else _PACED_CHUNK

    def wait(self) -> None:
        if self._rate is not None and (early := self._due - time.monotonic()) > 0:
            time.sleep(early)

    def spend(self, count: int) -> None:
        if self._rate is not None:
            self._due = max(self._due, time.monotonic() - _CATCH_UP) + count / self._rate


@dataclass(frozen=True, slots=True)
class Delay:
    """Delay of requests: *usual* seconds, but 1 to 2 s for a *late_share* of the GETs."""

    usual: float
    late_share: float = 0

    def seconds(self, kind: str) -> float:
        is_late = kind == "GET" and random.random() < self.late_share
        return self.usual + (random.uniform(1, 2) if is_late else 0)


class Side:
    """One of the two sockets of a relayed connection, with the bytes read after the last head."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self._rest = bytearray()

    @property
    def has_rest(self) -> bool:
        return bool(self._rest)

    def read_until(self, mark: bytes) -> bytes:
        """Return all bytes up to and with *mark*.

        Raises HungUpError if the connection ends before, ValueError if the mark does not come.
        """
        while (end := self._rest.find(mark)) < 0:
            if len(self._rest) > _HEAD_MAX:
                raise ValueError("no end of head")
            self._rest += self._receive()
        return self.take(end + len(mark))

    def take(self, most: int) -> bytes:
        """Return at most *most* of the bytes that were read already."""
        taken = bytes(self._rest[:most])
        del self._rest[:most]
        return taken

    def _receive(self) -> bytes:
        received = self.sock.recv(_HEAD_MAX)
        if not received:
            raise HungUpError
        return received


class Connection:
    """A client, its own connection to the server, and their requests in turn."""

    def __init__(
        self, client: socket.socket, server: socket.socket, counts: Counts, delay: Delay, pace: Pace
    ) -> None:
        self._client, self._server = Side(client), Side(server)
        self._counts, self._delay, self._pace = counts, delay, pace
        self._kind = ""  # of the request that is relayed
        self._pipe = os.pipe()
        with contextlib.suppress(PermissionError):  # the user's pipes are used up: smaller steps
            fcntl.fcntl(self._pipe[1], fcntl.F_SETPIPE_SZ, _CHUNK)

    def serve(self) -> None:
        """Serve until either side closes."""
        try:
            while self._exchange():
                pass
        except (HungUpError, OSError, ValueError):
            # closed, reset, or no HTTP: both sides see the connection end, as without a relay
            pass
        finally:
            self._close()

    def _close(self) -> None:
        for end in self._pipe:
            os.close(end)
        for side in (self._client, self._server):
            side.sock.close()

    def _exchange(self) -> bool:
        """Relay a request and its response; returns whether another may follow."""
        self._wait_request()
        head = self._client.read_until(b"\r\n\r\n")
        request = read_request(head)
        self._kind = request.kind
        time.sleep(self._delay.seconds(request.kind))
        self._server.sock.sendall(head)
        self._pass_body(self._client, self._server, request.body)
        while (
            response := read_response(head := self._server.read_until(b"\r\n\r\n"), request.method)
        ).status < 200:
            self._client.sock.sendall(head)
        self._counts.add_request(f"{request.kind} {response.status}")
        self._client.sock.sendall(head, socket.MSG_MORE if response.body != Sized(0) else 0)
        self._pass_body(self._server, self._client, response.body)
        return not response.closes

    def _wait_request(self) -> None:
        """Wait for the client's next request; raises HungUpError if the server closes."""
        if self._client.has_rest:
            return
        poll = select.poll()
        poll.register(self._client.sock, select.POLLIN)
        poll.register(self._server.sock, select.POLLIN)
        if self._client.sock.fileno() not in dict(poll.poll()):
            raise HungUpError

    def _pass_body(self, source: Side, sink: Side, body: Sized | Chunked | UntilClose) -> None:
        match body:
            case Sized(length):
                self._pass(source, sink, length)
            case Chunked():
                while self._pass_chunk(source, sink):
                    pass
            case UntilClose():
                with contextlib.suppress(HungUpError):
                    self._pass(source, sink, sys.maxsize)

    def _pass_chunk(self, source: Side, sink: Side) -> int:
        """Relay one chunk, and return its length, 0 for the last; trailers are unsupported."""
        frame = source.read_until(b"\r\n")
        length = int(frame.split(b";")[0], 16)
        sink.sock.sendall(frame, socket.MSG_MORE)
        self._pass(source, sink, length + 2)
        return length

    def _pass(self, source: Side, sink: Side, count: int) -> None:
        """Relay *count* bytes: first those read with the head, the rest by splice."""
        first = source.take(count)
        sink.sock.sendall(first)
        self._passed(sink, len(first))
        left = count - len(first)
        while left:
            self._pace.wait()
            moved = self._splice(source, sink, min(left, self._pace.chunk))
            self._passed(sink, moved)
            left -= moved

    def _passed(self, sink: Side, count: int) -> None:
        if sink is self._client:
            self._pace.spend(count)
            self._counts.add_down(self._kind, count)

    def _splice(self, source: Side, sink: Side, most: int) -> int:
        """Move the bytes at hand, at most *most*, and return how many; waits for the first."""
        out, into = self._pipe
        moved = os.splice(source.sock.fileno(), into, most)
        if not moved:
            raise HungUpError
        left = moved
        while left:
            left -= os.splice(out, sink.sock.fileno(), left)
        return moved

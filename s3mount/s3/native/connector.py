"""From a name to an open connection: addresses, TCP, a proxy where one is named, TLS.

Knows where, never what is asked there. Every step ends by the deadline, name resolution too.
"""

import base64
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.endpoint.tls import tls_context
from s3mount.s3.native.response_header import END, HEAD_LIMIT, parse_head
from s3mount.s3.native.socket_stream import PlainStream, Stream, TlsStream, ciphertext_size
from s3mount.s3.operations.validation import InvalidResponseError

_Address = tuple[Any, ...]  # as getaddrinfo tells it


class Awaited(Protocol):
    """What a connection that is being opened waits for."""

    def shut_down(self) -> None:
        """Wake whoever waits here, with an error. From any thread."""
        ...


Adopt = Callable[[Awaited], None]
"""Is told of each, before it is waited for."""


class Connector:
    """Opens connections to one store, some *connections* at once, from any thread. A proxy is asked to CONNECT for https, and to forward http."""

    def __init__(
        self, store: Endpoint, *, connections: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._ciphertext = ciphertext_size(connections)
        self._clock = clock
        self._proxy = urlsplit(store.proxy) if store.proxy else None
        self._context: ssl.SSLContext | None = None
        if store.scheme == "https":
            self._context = tls_context(ca_bundle=store.ca_bundle, verify_ssl=store.verify_ssl)

    def dial(self, deadline: float, adopt: Adopt) -> Stream:
        """A connection, ready for a request. *adopt* is told of whatever it waits for.

        OSErrors where there is none by *deadline*, or within the store's connect timeout.
        """
        deadline = min(deadline, self._clock() + self._store.connect_timeout)
        host, port = (
            (self._store.host, self._store.port)
            if self._proxy is None
            else _proxy_address(self._proxy)
        )
        plain = self._connect(
            resolved(host, port, deadline - self._clock(), adopt), deadline, adopt
        )
        if self._context is None:
            return plain
        try:
            return self._secure(plain, self._context, deadline)
        except BaseException:  # raised again; the caller has no stream that it could close
            plain.close()
            raise

    def _connect(self, addresses: Sequence[_Address], deadline: float, adopt: Adopt) -> PlainStream:
        """The first address that answers; all but the last are given half of the time that is left."""
        for position, address in enumerate(addresses, start=1):
            left = deadline - self._clock()
            is_last = position == len(addresses)
            try:
                return self._reach(address, left if is_last else left / 2, adopt)
            except OSError:  # also of a family that this machine does not have
                if is_last:
                    raise
        raise OSError("the name has no address")

    def _reach(self, address: _Address, timeout: float, adopt: Adopt) -> PlainStream:
        family, kind, protocol, _, where = address
        sock = socket.socket(family, kind, protocol)
        try:
            plain = PlainStream(sock, idle_timeout=self._store.idle_timeout, clock=self._clock)
            adopt(plain)
            plain.connect(where, timeout)
        except BaseException:  # raised again
            sock.close()
            raise
        return plain

    def _secure(self, plain: PlainStream, context: ssl.SSLContext, deadline: float) -> Stream:
        plain.wait_until(deadline)
        if self._proxy is not None:
            _open_tunnel(plain, self._store, self._proxy)
        stream = TlsStream(plain, context, self._store.host, ciphertext=self._ciphertext)
        stream.shake_hands()
        return stream


def forwarding_lines(store: Endpoint) -> str:
    """What a proxy that forwards (http) wants in each request."""
    if store.proxy is None or store.scheme == "https":
        return ""
    return _proxy_authorization(urlsplit(store.proxy))


def resolved(host: str, port: int, timeout: float, adopt: Adopt) -> list[_Address]:
    """The addresses of *host*; OSErrors where there are none within *timeout* seconds. *adopt* is told before it waits."""
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    resolution = _Resolution(host, port)
    adopt(resolution)
    return resolution.run(timeout)


class _Resolution:
    """A look-up of a host name, in a thread: the C library's resolver cannot be told to stop, and ends late by itself."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        # the addresses, or why there are none; both None where the wait has ended before
        self._has_ended = threading.Event()
        self._found: list[_Address] | None = None
        self._failure: OSError | UnicodeError | None = None

    def run(self, timeout: float) -> list[_Address]:
        """`resolved`. ConnectionAbortedError if it was shut down."""
        thread = threading.Thread(target=self._resolve, name="resolver", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # how `threading` says that the system gives no more
            raise OSError("no thread could be started to resolve the name") from exc
        if not self._has_ended.wait(max(timeout, 0)):
            raise TimeoutError("the name was not resolved in time")
        if self._failure is not None:
            raise (
                self._failure
                if isinstance(self._failure, OSError)
                else OSError("no host can have this name")
            )
        if self._found is None:
            raise ConnectionAbortedError("the wait for the name was ended")
        return self._found

    def shut_down(self) -> None:
        self._has_ended.set()

    def _resolve(self) -> None:
        try:
            self._found = list(socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as exc:
            self._failure = exc
        self._has_ended.set()


def _proxy_address(proxy: SplitResult) -> tuple[str, int]:
    if proxy.scheme != "http" or not proxy.hostname:
        raise OSError("only proxies that are spoken to by plain HTTP can be used")
    return proxy.hostname, proxy.port or 80


def _proxy_authorization(proxy: SplitResult) -> str:
    if proxy.username is None:
        return ""
    secret = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return f"Proxy-Authorization: Basic {base64.b64encode(secret).decode()}\r\n"


def _open_tunnel(plain: PlainStream, store: Endpoint, proxy: SplitResult) -> None:
    """CONNECT, byte by byte: what follows the proxy's head is TLS, and not ours to buffer."""
    host = f"[{store.host}]" if ":" in store.host else store.host
    authority = f"{host}:{store.port}"
    plain.send(
        f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{_proxy_authorization(proxy)}\r\n".encode()
    )
    head, byte = bytearray(), bytearray(1)
    while not head.endswith(END):
        if not plain.receive(memoryview(byte)) or len(head) > HEAD_LIMIT:
            raise ConnectionResetError("the proxy ended the connection")
        head += byte
    try:
        status = parse_head(bytes(head[:-2])).status
    except InvalidResponseError as exc:
        raise ConnectionRefusedError("the proxy does not speak HTTP") from exc
    if not 200 <= status < 300:
        raise ConnectionRefusedError(f"the proxy refused (HTTP {status})")

"""Opening of connections: name resolution, TCP, a proxy if one is named, TLS.

Knows addresses, not requests. Every step ends by the deadline, name resolution too.
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
from s3mount.s3.native.response_header import END, HEADER_LIMIT, parse_header
from s3mount.s3.native.socket_stream import PlainStream, Stream, TlsStream, ciphertext_size
from s3mount.s3.transport import InvalidResponseError, ProxyRefusedError

_Address = tuple[Any, ...]  # as getaddrinfo returns it


class Waitable(Protocol):
    """Socket or name look-up that the opening of a connection waits for."""

    def shut_down(self) -> None:
        """Wake the thread that waits here, with an error. From any thread."""
        ...


OnWait = Callable[[Waitable], None]
"""Called with each, before it is waited for."""


class Connector:
    """Opens connections to one store, up to *connections* at once, from any thread.

    Sends a proxy CONNECT for https; for http the proxy forwards.
    """

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

    def connect(self, deadline: float, on_wait: OnWait) -> Stream:
        """Return a connection, ready for a request.

        OSErrors if there is none by *deadline*. Name and TCP have the store's connect timeout, TLS
        and a proxy's tunnel its idle timeout.
        """
        connected_by = min(deadline, self._clock() + self._store.connect_timeout)
        host, port = (
            (self._store.host, self._store.port)
            if self._proxy is None
            else _proxy_address(self._proxy)
        )
        addresses = resolve_name(host, port, connected_by - self._clock(), on_wait)
        plain = self._connect_first(addresses, connected_by, on_wait)
        if self._context is None:
            return plain
        try:
            secured_by = min(deadline, self._clock() + self._store.idle_timeout)
            return self._secure(plain, self._context, secured_by)
        except BaseException:  # raised again; the caller has no stream that it could close
            plain.close()
            raise

    def _connect_first(
        self, addresses: Sequence[_Address], deadline: float, on_wait: OnWait
    ) -> PlainStream:
        """Connect to the first address that accepts; all but the last get half the time left."""
        for position, address in enumerate(addresses, start=1):
            left = deadline - self._clock()
            is_last = position == len(addresses)
            try:
                return self._connect_to(address, left if is_last else left / 2, on_wait)
            except OSError:  # also of a family that this machine does not have
                if is_last:
                    raise
        raise OSError("the name has no address")

    def _connect_to(self, address: _Address, timeout: float, on_wait: OnWait) -> PlainStream:
        family, kind, protocol, _, where = address
        sock = socket.socket(family, kind, protocol)
        try:
            plain = PlainStream(sock, idle_timeout=self._store.idle_timeout, clock=self._clock)
            on_wait(plain)
            plain.connect(where, timeout)
        except BaseException:  # raised again
            sock.close()
            raise
        return plain

    def _secure(self, plain: PlainStream, context: ssl.SSLContext, deadline: float) -> Stream:
        plain.set_deadline(deadline)
        if self._proxy is not None:
            _open_tunnel(plain, self._store, self._proxy)
        stream = TlsStream(plain, context, self._store.host, ciphertext=self._ciphertext)
        stream.handshake()
        return stream


def forwarding_lines(store: Endpoint) -> str:
    """Return the header lines that a forwarding proxy (http) wants in each request."""
    if store.proxy is None or store.scheme == "https":
        return ""
    return _proxy_authorization(urlsplit(store.proxy))


def resolve_name(host: str, port: int, timeout: float, on_wait: OnWait) -> list[_Address]:
    """Return the addresses of *host*; OSErrors if there are none within *timeout* seconds."""
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    lookup = _NameLookup(host, port)
    on_wait(lookup)
    return lookup.run(timeout)


class _NameLookup:
    """Look-up of a host name in a thread: the C library's resolver cannot be interrupted."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        # the addresses, or why there are none; both None if the wait has ended before
        self._has_ended = threading.Event()
        self._addresses: list[_Address] | None = None
        self._failure: OSError | UnicodeError | None = None

    def run(self, timeout: float) -> list[_Address]:
        """As `resolve_name`. ConnectionAbortedError if it was shut down."""
        thread = threading.Thread(target=self._resolve, name="resolver", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # how `threading` reports that the system has no more threads
            raise OSError("no thread could be started to resolve the name") from exc
        if not self._has_ended.wait(max(timeout, 0)):
            raise TimeoutError("the name was not resolved in time")
        if self._failure is not None:
            raise (
                self._failure
                if isinstance(self._failure, OSError)
                else OSError("no host can have this name")
            )
        if self._addresses is None:
            raise ConnectionAbortedError("the wait for the name was ended")
        return self._addresses

    def shut_down(self) -> None:
        self._has_ended.set()

    def _resolve(self) -> None:
        try:
            self._addresses = list(
                socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError) as exc:
            self._failure = exc
        self._has_ended.set()


def _proxy_address(proxy: SplitResult) -> tuple[str, int]:
    if proxy.scheme != "http" or not proxy.hostname:
        raise OSError("only proxies that speak plain HTTP can be used")
    return proxy.hostname, proxy.port or 80


def _proxy_authorization(proxy: SplitResult) -> str:
    if proxy.username is None:
        return ""
    secret = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return f"Proxy-Authorization: Basic {base64.b64encode(secret).decode()}\r\n"


def _open_tunnel(plain: PlainStream, store: Endpoint, proxy: SplitResult) -> None:
    """Send CONNECT, and read the response byte by byte: what follows it is TLS."""
    host = f"[{store.host}]" if ":" in store.host else store.host
    authority = f"{host}:{store.port}"
    authorization = _proxy_authorization(proxy)
    plain.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n".encode())
    header, byte = bytearray(), bytearray(1)
    while not header.endswith(END):
        if not plain.receive(memoryview(byte)) or len(header) > HEADER_LIMIT:
            raise ConnectionResetError("the proxy ended the connection")
        header += byte
    try:
        status = parse_header(bytes(header[:-2])).status
    except InvalidResponseError as exc:
        raise ConnectionRefusedError("the proxy does not speak HTTP") from exc
    if not 200 <= status < 300:
        raise ProxyRefusedError(status)

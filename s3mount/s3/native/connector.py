"""Opening of connections: name resolution, TCP, a proxy if one is named, TLS.

Knows addresses, not requests. Every step ends by the deadline, name resolution too.
"""

import base64
import ssl
import time
from collections.abc import Callable
from urllib.parse import SplitResult, unquote, urlsplit

from s3mount.s3.endpoint.proxy import ProxyError
from s3mount.s3.endpoint.resolve import Endpoint, allowed_addresses
from s3mount.s3.endpoint.tls import tls_context
from s3mount.s3.native.response_header import END, HEADER_LIMIT, parse_header
from s3mount.s3.native.socket_stream import PlainStream, Stream
from s3mount.s3.native.tls_stream import TlsStream, ciphertext_size
from s3mount.s3.tcp_connect import OnWait, TcpConnector
from s3mount.s3.transport import InvalidResponseError


class Connector:
    """Opener of connections to one store, up to *connections* at once, from any thread.

    Sends a proxy CONNECT for https; for http the proxy forwards. *context* verifies the peer, by
    default as *store* says.
    """

    def __init__(
        self,
        store: Endpoint,
        *,
        connections: int,
        clock: Callable[[], float] = time.monotonic,
        tcp: TcpConnector | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._store = store
        self._ciphertext = ciphertext_size(connections)
        self._clock = clock
        self._tcp = tcp or TcpConnector(choose=allowed_addresses(store), clock=clock)
        self._proxy = urlsplit(store.proxy) if store.proxy else None
        self._context: ssl.SSLContext | None = None
        if store.scheme == "https":
            self._context = context or tls_context(
                ca_bundle=store.ca_bundle, verify_ssl=store.verify_ssl
            )

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
        plain = self._connect_plain(host, port, connected_by, on_wait)
        if self._context is None:
            return plain
        try:
            secured_by = min(deadline, self._clock() + self._store.idle_timeout)
            return self._secure(plain, self._context, secured_by)
        except BaseException:  # raised again; the caller has no stream that it could close
            plain.close()
            raise

    def _connect_plain(self, host: str, port: int, deadline: float, on_wait: OnWait) -> PlainStream:
        try:
            sock = self._tcp.connect(host, port, deadline, on_wait)
        except TimeoutError:
            raise
        except OSError as exc:
            if self._proxy is None:
                raise
            raise ProxyError("the proxy cannot be reached") from exc
        try:
            plain = PlainStream(sock, idle_timeout=self._store.idle_timeout, clock=self._clock)
            plain.configure()
            on_wait(plain)
        except BaseException:  # raised again
            sock.close()
            raise
        return plain

    def _secure(self, plain: PlainStream, context: ssl.SSLContext, deadline: float) -> Stream:
        plain.set_deadline(deadline)
        if self._proxy is not None:
            _open_tunnel(plain, self._store, self._proxy)
        # a dot at the end keeps the resolver to the whole name; RFC 6066: it is not sent
        host = self._store.host.rstrip(".")
        stream = TlsStream(plain, context, host, ciphertext=self._ciphertext)
        stream.handshake()
        return stream


def forwarding_lines(store: Endpoint) -> str:
    """Return the header lines that a forwarding proxy (http) wants in each request."""
    if store.proxy is None or store.scheme == "https":
        return ""
    return _proxy_authorization(urlsplit(store.proxy))


def _proxy_address(proxy: SplitResult) -> tuple[str, int]:
    if proxy.scheme != "http" or not proxy.hostname:
        raise ProxyError("only proxies that speak plain HTTP can be used")
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
            raise ProxyError("the proxy ended the connection")
        header += byte
    try:
        status = parse_header(bytes(header[:-2])).status
    except InvalidResponseError as exc:
        raise ProxyError("the proxy does not speak HTTP") from exc
    if not 200 <= status < 300:
        raise ProxyError(f"the proxy refused (HTTP {status})", status=status)

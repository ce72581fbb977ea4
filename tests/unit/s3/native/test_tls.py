"""The native transport over TLS, and through a proxy's tunnel."""

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from s3mount.errors import StoreError
from s3mount.s3 import tcp_connect
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.native.tls_stream import TlsStream
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import ReceiveState, Retryable
from tests.unit.s3.clients import AT_ONCE
from tests.unit.s3.clients import read as read_range
from tests.unit.s3.scripted_server import (
    Line,
    Peer,
    ScriptedServer,
    drips,
    head,
    part,
    receive,
    says,
    says_and_ends,
    scripted,
    stalls_after,
    store_at,
)

CONTENT = os.urandom(1 << 20)
VERSION = ObjectVersion("bucket", "k", "abc", len(CONTENT))
NEARLY_ALL = ByteRange(100, len(CONTENT) - 100)
RESPONSE = part(CONTENT, NEARLY_ALL.start, NEARLY_ALL.stop)


@dataclass(frozen=True, slots=True)
class Authority:
    """A server's TLS, and the bundle that trusts it."""

    context: ssl.SSLContext
    bundle: str


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    bundle: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("127.0.0.1").configure_cert(context)
    return Authority(context, str(bundle))


@contextlib.contextmanager
def connecting(
    authority: Authority, *script: Line, **settings: object
) -> Iterator[tuple[BucketOperations, ScriptedServer]]:
    settings = {"ca_bundle": authority.bundle, **settings}
    with scripted(*script, context=authority.context) as server:
        operations = connect(server.port, **settings)
        try:
            yield operations, server
        finally:
            operations.close()


def connect(port: int, **settings: object) -> BucketOperations:
    return BucketOperations(NativeTransport(store_at(port, scheme="https", **settings)), "bucket")


def soon() -> float:
    return time.monotonic() + 10


def read(operations: BucketOperations, *, seconds: float = 10) -> bytes:
    return read_range(operations, VERSION, NEARLY_ALL, deadline=time.monotonic() + seconds)


def test_an_early_connection_serves_the_first_request_after_tls_tickets(
    authority: Authority,
) -> None:
    with connecting(authority, says(RESPONSE)) as (operations, server):
        operations.preconnect(deadline=time.monotonic() + 10)
        native = operations._transport
        assert isinstance(native, NativeTransport)
        [(_, connection)] = native._pool._idle
        stream = connection._stream
        assert isinstance(stream, TlsStream)
        assert stream._plain._poll.poll(10_000), "the server sent no tickets"

        assert read(operations) == CONTENT[NEARLY_ALL.start : NEARLY_ALL.stop]
        assert server.connections == 1


def in_records_of(size: int, response: bytes = RESPONSE) -> Line:
    def line(peer: Peer) -> None:
        for start in range(0, len(response), size):
            peer.socket.sendall(response[start : start + size])

    return line


def leaves_without_goodbye(peer: Peer) -> None:
    peer.socket.sendall(RESPONSE[:-1])
    os.close(peer.socket.detach())


@pytest.mark.parametrize("size", [1 << 21, 16384, 16383, 5000, 700])
def test_bytes_are_right_however_they_are_cut_into_records(authority: Authority, size: int) -> None:
    with connecting(authority, *[in_records_of(size)] * 3) as (operations, server):
        for _ in range(3):
            assert read(operations) == CONTENT[NEARLY_ALL.start : NEARLY_ALL.stop]

        assert server.connections == 1


@pytest.mark.parametrize("size", [1 << 21, 16384, 16383, 5000, 700, 1])
def test_small_responses_are_received_however_they_are_cut_into_records(
    authority: Authority, size: int
) -> None:
    byte_range = ByteRange(100, 20_000)
    line = in_records_of(size, part(CONTENT, byte_range.start, byte_range.stop))
    with connecting(authority, *[line] * 3) as (operations, server):
        operations.preconnect(deadline=soon())
        into = memoryview(bytearray(len(byte_range)))
        for _ in range(3):
            sender = operations.get_range(VERSION, byte_range, version_id=None, deadline=soon())
            pending = sender.send_nowait(lambda: into, CancelToken())
            assert pending is not None
            assert receive(pending, soon()) is ReceiveState.COMPLETE
            pending.finish()
            assert into == CONTENT[byte_range.start : byte_range.stop]
            into[:] = bytes(len(byte_range))

        assert server.connections == 1


def test_a_connection_that_the_store_closed_between_requests_is_no_failure(
    authority: Authority,
) -> None:
    with connecting(authority, says_and_ends(RESPONSE), says(RESPONSE)) as (operations, server):
        assert read(operations) == read(operations)
        assert server.connections == 2


def test_stray_bytes_on_an_idle_connection_never_answer_the_next_request(
    authority: Authority,
) -> None:
    lie = part(bytes(len(CONTENT)), NEARLY_ALL.start, NEARLY_ALL.stop)
    with connecting(authority, says(RESPONSE, lie), says(RESPONSE)) as (operations, server):
        assert read(operations) == read(operations) == CONTENT[NEARLY_ALL.start : NEARLY_ALL.stop]
        assert server.connections == 2


@pytest.mark.parametrize(
    "line",
    [
        says_and_ends(RESPONSE[:-1]),
        says_and_ends(b""),
        says_and_ends(head()[:30]),
        leaves_without_goodbye,
        lambda peer: os.write(peer.socket.fileno(), b"this is not TLS" * 100),
    ],
)
def test_a_cut_or_broken_stream_may_be_retried(authority: Authority, line: Line) -> None:
    with connecting(authority, line) as (operations, _), pytest.raises(Retryable) as caught:
        read(operations)

    assert isinstance(caught.value.failure, StoreError)


@pytest.mark.parametrize("line", [stalls_after(b""), stalls_after(RESPONSE[:-1]), drips(RESPONSE)])
def test_a_deadline_holds_whatever_the_store_does(authority: Authority, line: Line) -> None:
    with connecting(authority, line) as (operations, _):
        began = time.monotonic()

        with pytest.raises(Retryable):
            read(operations, seconds=0.6)

        assert time.monotonic() - began < AT_ONCE


def test_a_handshake_ends_by_the_deadline(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        operations = connect(port, ca_bundle=authority.bundle)
        began = time.monotonic()

        with pytest.raises(Retryable):
            read(operations, seconds=0.6)

        assert time.monotonic() - began < AT_ONCE


def test_a_certificate_is_for_a_name_with_a_dot_at_its_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("store.test").configure_cert(context)
    monkeypatch.setattr(
        tcp_connect,
        "resolve_name",
        lambda _host, port, *_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))],
    )
    trusting = Authority(context, str(tmp_path / "ca.pem"))

    with connecting(trusting, says(RESPONSE), host="store.test.") as (operations, _):
        assert read(operations) == CONTENT[NEARLY_ALL.start : NEARLY_ALL.stop]


@pytest.mark.parametrize("settings", [{"ca_bundle": None}, {"host": "localhost"}])
def test_a_certificate_that_is_not_trusted_is_the_cause_of_the_failure(
    authority: Authority, settings: dict[str, object]
) -> None:
    with (
        connecting(authority, says(RESPONSE), **settings) as (operations, _),
        pytest.raises(Retryable) as caught,
    ):
        read(operations)

    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@contextlib.contextmanager
def demanding_certificates(bundle: Path) -> Iterator[int]:
    """A server that refuses clients without a certificate, and keeps their connections; its port.

    By TLS 1.3 it does so after the client's handshake, in place of the first response. The file
    *bundle* is written, for clients to trust it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer = trustme.CA()
    issuer.issue_cert("127.0.0.1").configure_cert(context)
    issuer.cert_pem.write_to_path(bundle)
    issuer.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ended = threading.Event()

    def refuse() -> None:
        sock, _ = listener.accept()
        with context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) as secure:
            with contextlib.suppress(ssl.SSLError):
                secure.do_handshake()
            ended.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def test_a_server_that_demands_a_client_certificate_is_the_cause_of_the_failure(
    tmp_path: Path,
) -> None:
    """The alert was lost in the wait for the response, and a timeout was reported."""
    with demanding_certificates(tmp_path / "ca.pem") as port:
        operations = connect(port, ca_bundle=str(tmp_path / "ca.pem"))

        with pytest.raises(Retryable) as caught:
            read(operations)

        operations.close()
    assert isinstance(caught.value.__cause__, ssl.SSLError)


def test_no_certificate_is_verified_without_verify_ssl(authority: Authority) -> None:
    with connecting(authority, says(RESPONSE), ca_bundle=None, verify_ssl=False) as (operations, _):
        assert read(operations) == CONTENT[NEARLY_ALL.start : NEARLY_ALL.stop]


def tunnel_to(port: int, tunnelled: list[str]) -> Line:
    """Serves CONNECT, and then passes bytes on both ways."""

    def line(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", port)) as beyond:
            peer.socket.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pour, args=(beyond, peer.socket))
            back.start()
            pour(peer.socket, beyond)
            back.join()
        tunnelled.append("over")
        raise StopIteration

    return line


def pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def test_a_proxy_opens_a_tunnel(authority: Authority) -> None:
    with scripted(says(RESPONSE), says(RESPONSE), context=authority.context) as server:
        over: list[str] = []
        with scripted(tunnel_to(server.port, over)) as proxy:
            settings = {
                "ca_bundle": authority.bundle,
                "proxy": f"http://user:pass@127.0.0.1:{proxy.port}",
            }
            operations = connect(server.port, **settings)

            assert (
                read(operations) == read(operations) == CONTENT[NEARLY_ALL.start : NEARLY_ALL.stop]
            )

            operations.close()
        assert over == ["over"]
    assert [request.splitlines()[0] for request in proxy.requests] == [
        f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
    ]
    assert "Proxy-Authorization: Basic dXNlcjpwYXNz" in proxy.requests[0]
    assert "Proxy-Authorization" not in server.requests[0]


@pytest.mark.parametrize(
    "line",
    [
        says(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
        says_and_ends(b""),
        says(b"garbage\r\n\r\n"),
    ],
)
def test_a_proxy_that_refuses_may_be_retried(authority: Authority, line: Line) -> None:
    with scripted(line) as proxy:
        settings = {"ca_bundle": authority.bundle, "proxy": f"http://127.0.0.1:{proxy.port}"}
        operations = connect(1, **settings)

        with pytest.raises(Retryable) as caught:
            read(operations)

    assert isinstance(caught.value.__cause__, ConnectionError)

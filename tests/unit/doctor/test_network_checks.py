"""The way to the store: names, addresses, proxies, TLS, the first response and the clock."""

import datetime as dt
import email.utils
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from s3mount.doctor import facts
from tests.faults.bucket import Response
from tests.faults.hostile_store import Exchange, Step
from tests.field import kinds
from tests.field.store import DeadAddress, ScriptedStore
from tests.unit.doctor.report import Doctor, bucket
from tests.unit.s3.canned_server import answering, http
from tests.unit.s3.scripted_server import Peer, says_and_ends, scripted

WAYS = ("tls", "response", "clock", "region", "list", "head", "get", "versions")


def date(seconds: float) -> str:
    """Return an HTTP date, so many seconds from now."""
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@contextmanager
def store_with_clock(seconds: float | None) -> Iterator[str]:
    """Serve a store whose clock is so many seconds ahead; without a clock if None."""

    def tell(response: Response) -> Response:
        return response.with_header("Date", None if seconds is None else date(seconds))

    with ScriptedStore(bucket(), [kinds.edit(kinds.ANY, tell)]) as store:
        yield store.url


@pytest.mark.parametrize(
    ("seconds", "outcome", "part"),
    [
        (0, "ok", "as the store's"),
        (-20, "ok", "ahead of the store's"),
        (60, "warning", "timedatectl set-ntp true"),
        (-60, "warning", "ahead of the store's"),
        (400, "failure", "behind the store's"),
        (-86_400, "failure", "timedatectl set-ntp true"),
        (None, "warning", "tells no time"),
    ],
)
def test_the_clock_is_compared_with_the_date_of_the_store(
    doctor: Doctor, seconds: float | None, outcome: str, part: str
) -> None:
    with store_with_clock(seconds) as url:
        report = doctor(url)

    assert report["clock"].outcome == outcome
    assert part in report["clock"].text
    assert report.status == (outcome == "failure")
    assert report["list"].outcome == "ok"


def test_an_address_that_refuses_is_a_failure_and_what_needs_it_is_not_tried(
    doctor: Doctor, store: ScriptedStore
) -> None:
    store.refuse()
    report = doctor(store.url)

    assert report["names"].outcome == "failure"
    assert "refuses connections: is the server running" in report["names"].text
    assert [name for name in report.names("not tried") if name != "speed"] == [*WAYS]
    assert report["credentials"].outcome == "ok"
    assert (report.status, report.command) == (1, None)


def test_a_port_that_is_dropped_ends_in_time(
    doctor: Doctor, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "ADDRESS_LIMIT", 0.3)
    store.accept_none()
    report = doctor(store.url)

    assert report["names"].outcome == "failure"
    assert "no answer from http://127.0.0.1" in report["names"].text
    assert "firewalls" in report["names"].text


def test_each_address_of_a_name_is_tried(
    doctor: Doctor, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "ADDRESS_LIMIT", 0.3)
    resolves_to(monkeypatch, "127.0.0.1", "127.0.0.9")
    dead = DeadAddress("127.0.0.9", store.port)
    report = doctor(f"http://s3.test:{store.port}", "--path-style")
    dead.close()

    assert report["names"].outcome == "warning"
    assert "1 of 2 addresses answer: 127.0.0.1, 127.0.0.9 (no answer)" in report["names"].text
    assert "firewall" in report["names"].text
    assert report["list"].outcome == "ok"


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name below s3.test have *addresses*."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: object, **options: object) -> Sequence[object]:
        names = addresses if host.endswith("s3.test") else (host,)
        if options.get("flags") == socket.AI_NUMERICHOST:
            names = (host,)
        return [each for name in names for each in resolve(name, *arguments, **options)]  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_name_that_no_server_knows_is_named(doctor: Doctor) -> None:
    report = doctor("http://no-such-host.invalid")

    assert report["names"].outcome == "failure"
    assert "'no-such-host.invalid' is not known: check --endpoint-url" in report["names"].text
    assert report["tls"].outcome == "not tried"


def test_a_resolver_that_is_silent_ends_in_time(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "NAME_LIMIT", 0.2)
    resolve, ended = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: str, *arguments: object, **options: object) -> object:
        if host == "silent.test" and options.get("flags") != socket.AI_NUMERICHOST:
            ended.wait()
        return resolve(host, *arguments, **options)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    report = doctor("http://silent.test", "--path-style")
    ended.set()

    assert report["names"].outcome == "failure"
    assert "no answer from http://silent.test" in report["names"].text


def test_a_store_that_is_silent_ends_in_time(doctor: Doctor, store: ScriptedStore) -> None:
    store.misbehave(Step(None, Exchange.pause))
    report = doctor(store.url, "--timeout", "1")

    assert report["names"].outcome == "ok"
    assert report["response"].outcome == "failure"
    assert "no answer from http://127.0.0.1" in report["response"].text
    assert set(WAYS) - {"tls", "response"} == set(report.names("not tried")) - {"speed"}


def test_a_server_that_speaks_no_http_is_a_failure(doctor: Doctor) -> None:
    with answering(b"220 mail.test ESMTP\r\n") as url:
        report = doctor(url, "--timeout", "4")

    assert report["response"].outcome == "failure"
    assert "--endpoint-url" in report["response"].text


def test_a_store_that_is_not_well_is_a_warning(doctor: Doctor) -> None:
    with ScriptedStore(bucket(), [kinds.refuses(kinds.ANY, 500, "InternalError")]) as store:
        report = doctor(store.url, "--start-timeout", "1")

    assert report["response"].outcome == "warning"
    assert "HTTP 500" in report["response"].text
    assert report["list"].outcome == "failure"


# ---- proxies


def test_without_a_variable_there_is_no_proxy(doctor: Doctor, store: ScriptedStore) -> None:
    assert "no variable names one" in doctor(store.url)["proxy"].text


def test_no_proxy_is_named_as_what_decides(
    doctor: Doctor, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:hush-hush-hush@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    report = doctor(store.url)

    assert report["proxy"].outcome == "ok"
    assert "no_proxy lists the host, although HTTP_PROXY is set" in report["proxy"].text
    assert report.status == 0
    assert "hush" not in report.output


def test_a_forwarding_proxy_is_named_without_its_password(
    doctor: Doctor, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hush-hush-hush@127.0.0.1:{store.port}")
    report = doctor("http://store.invalid", "--path-style")

    assert report["proxy"].text.startswith(f"HTTP_PROXY names 127.0.0.1:{store.port}")
    assert "the proxy 127.0.0.1" in report["names"].text
    assert "hush" not in report.output


def test_a_proxy_that_refuses_is_a_failure(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(http(403, b"no")) as url:
        monkeypatch.setenv("HTTPS_PROXY", url.replace("://", "://me:hush-hush-hush@"))
        report = doctor("https://store.invalid", "--path-style")

    assert report["proxy"].outcome == "failure"
    assert "HTTPS_PROXY (HTTP 403)" in report["proxy"].text
    assert "or set NO_PROXY" in report["proxy"].text
    assert report["tls"].text == "it depends on proxy, see there; "
    assert report["response"].outcome == "not tried"
    assert "hush" not in report.output


def test_a_proxy_that_is_not_there_is_a_failure(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush-hush-hush@127.0.0.1:1")
    report = doctor("https://store.invalid", "--path-style")

    assert report["names"].outcome == "failure"
    assert "the proxy's host '127.0.0.1' does not answer; check HTTPS_PROXY" in report["names"].text
    assert "hush" not in report.output


def test_a_proxy_that_wants_a_password_is_a_failure(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(http(407, b"")) as url:
        monkeypatch.setenv("http_proxy", url)
        report = doctor("http://store.invalid", "--path-style")

    assert report["response"].outcome == "failure"
    assert "USER:PASSWORD" in report["response"].text


def test_a_proxy_that_cannot_be_used_is_a_failure_of_the_endpoint(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:hush-hush-hush@127.0.0.1:1")
    report = doctor("http://127.0.0.1:1")

    assert report["endpoint"].outcome == "failure"
    assert "ALL_PROXY names a SOCKS proxy" in report["endpoint"].text
    assert report["names"].outcome == report["proxy"].outcome == "not tried"
    assert "hush" not in report.output


# ---- TLS


@contextmanager
def tls_server(days: float = 90) -> Iterator[tuple[str, trustme.CA]]:
    """Serve HTTPS by an authority that nobody trusts, with a certificate for some days."""
    authority = trustme.CA(organization_name="Nobody's Authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    authority.issue_cert("127.0.0.1", common_name="store", not_after=end).configure_cert(context)
    refused = http(403, b"", date=date(0))

    def line(peer: Peer) -> None:
        says_and_ends(refused)(peer)

    with scripted(*[line] * 9, context=context) as server:
        yield f"https://127.0.0.1:{server.port}", authority


def test_an_unknown_authority_is_named_with_the_remedy(doctor: Doctor) -> None:
    with tls_server() as (url, _):
        report = doctor(url)

    assert report["tls"].outcome == "failure"
    assert "--ca-bundle FILE" in report["tls"].text
    assert "its certificate is of 'store', issued by \"Nobody's Authority\"" in report["tls"].text
    assert report["response"].text == "it depends on tls, see there; "


def test_a_certificate_that_has_expired_is_a_failure(doctor: Doctor, tmp_path: Path) -> None:
    with tls_server(days=-2) as (url, authority):
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        report = doctor(url, "--ca-bundle", str(tmp_path / "ca.pem"))

    assert report["tls"].outcome == "failure"
    assert "has expired: it must be renewed, or the clock set" in report["tls"].text


@pytest.mark.parametrize(("days", "outcome"), [(5, "warning"), (90, "ok")])
def test_a_certificate_that_ends_soon_is_a_warning(
    doctor: Doctor, tmp_path: Path, days: float, outcome: str
) -> None:
    bundle = tmp_path / "ca.pem"
    with tls_server(days) as (url, authority):
        authority.cert_pem.write_to_path(bundle)
        report = doctor(url, "--ca-bundle", str(bundle))

    assert report["tls"].outcome == outcome
    assert "TLSv1.3, certificate of 'store'" in report["tls"].text
    assert str(bundle) in report["tls"].text
    assert report["response"].outcome == "ok"
    assert report["list"].outcome == "failure"
    assert "s3:ListBucket" in report["list"].text


def test_a_certificate_that_is_not_verified_is_a_warning(doctor: Doctor) -> None:
    with tls_server() as (url, _):
        report = doctor(url, "--no-verify-ssl")

    assert report["tls"].outcome == "warning"
    assert 'issued by "Nobody\'s Authority"' in report["tls"].text
    assert "--no-verify-ssl" in report["tls"].text


def test_http_to_another_machine_is_a_warning(
    doctor: Doctor, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolves_to(monkeypatch, "127.0.0.1")
    near, far = doctor(store.url), doctor(f"http://s3.test:{store.port}", "--path-style")

    assert (near["tls"].outcome, far["tls"].outcome) == ("ok", "warning")
    assert "write https:// in --endpoint-url" in far["tls"].text

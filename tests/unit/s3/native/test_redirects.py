"""Redirects with and without `--follow-redirects`, over both transports."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import S3MountError, StoreError
from s3mount.s3.location import LocationError, Url
from s3mount.s3.model import ByteRange, ListQuery, ObjectVersion
from s3mount.s3.native import redirect_origins, redirect_policy
from s3mount.s3.native.address_rules import kind_of
from s3mount.s3.native.redirect_origins import RedirectOrigins
from s3mount.s3.native.redirect_policy import RedirectPolicy
from s3mount.s3.native.redirects import RedirectFollower
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.request_log import RequestLog
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.tcp_connect import Address
from s3mount.s3.transport import Retryable, StoreRequest
from tests.unit.s3.clients import AT_ONCE, TRANSPORTS, operations_over, read, read_nowait, soon
from tests.unit.s3.native.test_tls import Authority, authority
from tests.unit.s3.scripted_server import (
    Line,
    ScriptedServer,
    head,
    part,
    refusal,
    says,
    scripted,
    stalls_after,
    store_at,
)

__all__ = ["authority"]  # a fixture

CONTENT = bytes(range(250)) * 4
VERSION = ObjectVersion("bucket", "key", "abc", len(CONTENT))
RANGE = ByteRange(100, 900)
RESPONSE = part(CONTENT, RANGE.start, RANGE.stop)
EXPECTED = CONTENT[RANGE.start : RANGE.stop]


def redirect(location: object, status: int = 307, code: str = "", **headers: object) -> bytes:
    return refusal(f"{status} Elsewhere", code, Location=location, **headers)


@contextmanager
def following(
    transport: str, *script: Line, **changes: object
) -> Iterator[tuple[BucketOperations, ScriptedServer]]:
    """Operations over *transport* that follow redirects, and the store that they reach first."""
    with scripted(*script) as store:
        endpoint = store_at(store.port, **changes)
        follower = RedirectFollower(TRANSPORTS[transport](store.port), endpoint)
        with operations_over(follower) as operations:
            yield operations, store


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def at(server: ScriptedServer, target: str = "/signed?X-Amz-Signature=a%2Fb&&x=") -> str:
    return f"http://127.0.0.1:{server.port}{target}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_get_is_followed_without_a_signature(transport: str, status: int) -> None:
    with (
        scripted(says(RESPONSE)) as other,
        following(transport, says(redirect(at(other), status))) as (operations, store),
    ):
        assert read(operations, VERSION, RANGE) == EXPECTED

    lines = other.requests[0].split("\r\n")
    assert lines[0] == "GET /signed?X-Amz-Signature=a%2Fb&&x= HTTP/1.1"
    names = {line.partition(":")[0].lower() for line in lines[1:]}
    assert names == {"host", "user-agent", "accept-encoding", "range", "if-match"}
    assert "authorization" in store.requests[0].lower()


def test_a_head_and_a_list_are_followed(transport: str) -> None:
    page = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    document = head(Content_Length=len(page), ETag=None) + page
    with (
        scripted(says(head(Content_Length=5)), says(document)) as other,
        following(transport, *[says(redirect(at(other)))] * 2) as (operations, _),
    ):
        assert operations.head("key", deadline=soon()).version.size == 5
        assert operations.list_page(ListQuery(""), deadline=soon()).objects == []

    assert other.requests[0].startswith("HEAD ")
    assert other.requests[1].startswith("GET ")


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_another_host_is_asked_for_the_same_coding(transport: str, coding: str) -> None:
    """Google unpacks objects that are stored as gzip, unless the request accepts gzip."""
    request = StoreRequest("GetObject", "key", accept_encoding=coding)
    with (
        scripted(says(RESPONSE)) as other,
        scripted(says(redirect(at(other)))) as store,
        closing(
            RedirectFollower(TRANSPORTS[transport](store.port), store_at(store.port))
        ) as follower,
        follower.send(request, deadline=soon()) as response,
    ):
        response.read_all(len(CONTENT))

    assert f"accept-encoding: {coding}" in other.requests[0].lower().split("\r\n")


def test_a_read_of_the_event_loop_is_followed_in_a_thread() -> None:
    with (
        scripted(says(RESPONSE)) as other,
        following("native", says(redirect(at(other)))) as (operations, _),
    ):
        assert read_nowait(operations, VERSION, RANGE) == EXPECTED


def test_connections_are_kept_at_both_hosts(transport: str) -> None:
    with (
        scripted(*[says(RESPONSE)] * 3) as other,
        following(transport, *[says(redirect(at(other)))] * 3) as (operations, store),
    ):
        for _ in range(3):
            read(operations, VERSION, RANGE)

    assert (store.connections, other.connections) == (1, 1)


def test_connections_are_not_kept_at_too_many_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redirect_origins, "ORIGINS_MAX", 0)
    with (
        scripted(*[says(RESPONSE)] * 2) as other,
        following("native", *[says(redirect(at(other)))] * 2) as (operations, _),
    ):
        for _ in range(2):
            assert read(operations, VERSION, RANGE) == EXPECTED

    assert other.connections == 2


def test_all_other_hosts_together_keep_as_many_connections_as_there_are_requests() -> None:
    """Each kept those of its busiest moment, open for as long as the mount was."""
    with (
        scripted(*[says(RESPONSE)] * 2) as other,
        scripted(says(RESPONSE)) as another,
        scripted(*[says(redirect(at(each))) for each in (other, another, other)]) as store,
        closing(
            RedirectFollower(TRANSPORTS["native"](store.port), store_at(store.port), connections=1)
        ) as follower,
    ):
        operations = BucketOperations(follower, "bucket")
        for _ in range(3):
            assert read(operations, VERSION, RANGE) == EXPECTED

    assert (other.connections, another.connections) == (2, 1)


def test_three_redirects_are_followed_and_a_fourth_is_not(transport: str) -> None:
    again = [says(redirect("/again", 302))]
    with (
        scripted(*again * 2, says(RESPONSE)) as other,
        following(transport, says(redirect(at(other)))) as (operations, _),
    ):
        assert read(operations, VERSION, RANGE) == EXPECTED
    assert [each.split()[1] for each in other.requests[1:]] == ["/again", "/again"]
    with (
        scripted(*again * 3) as other,
        following(transport, says(redirect(at(other)))) as (operations, store),
        pytest.raises(StoreError, match="redirects more than 3 times"),
    ):
        read(operations, VERSION, RANGE)
    assert (len(store.requests), len(other.requests)) == (1, 3)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (part(CONTENT, 0, 800), Retryable),
        (part(CONTENT, RANGE.start, RANGE.stop, ETag='"other"'), S3MountError),
        (part(CONTENT + b"x", RANGE.start, RANGE.stop), S3MountError),
        (RESPONSE[:-1], Retryable),
        (head("200 OK", Content_Length=4) + b"page", Retryable),
        (refusal("403 Forbidden", "AccessDenied"), S3MountError),
    ],
)
def test_the_answer_of_another_host_is_checked(
    transport: str, answer: bytes, failure: type[Exception]
) -> None:
    def line(peer: object) -> None:
        peer.socket.sendall(answer)  # type: ignore[attr-defined]
        raise StopIteration

    with (
        scripted(line) as other,
        following(transport, says(redirect(at(other)))) as (operations, _),
        pytest.raises(failure),
    ):
        read(operations, VERSION, RANGE)


def test_another_host_does_not_set_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = refusal("403 Forbidden", "RequestTimeTooSkewed", Date="Sun, 22 Nov 2020 12:31:47 GMT")
    with (
        scripted(says(refused)) as other,
        following("native", says(redirect(at(other)))) as (operations, _),
    ):
        monkeypatch.setattr(operations._transport, "adjust_clock", _refuse_date)

        with pytest.raises(S3MountError):
            read(operations, VERSION, RANGE)


def _refuse_date(date: str | None) -> bool:
    assert date is None
    return False


@pytest.mark.parametrize(
    "location",
    [
        "ftp://127.0.0.1/",
        "http://me:hush@127.0.0.1:1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://[fe80::1]/",
        "http://a..b/",
        "http://[...]/",
        "https://.test/",
        f"http://{'x' * 64}.test/",
    ],
)
def test_a_forbidden_location_is_not_contacted(transport: str, location: str) -> None:
    with (
        following(transport, says(redirect(location))) as (operations, _),
        pytest.raises(StoreError, match="redirects to") as caught,
    ):
        read(operations, VERSION, RANGE)

    assert "hush" not in str(caught.value)


def test_a_name_is_refused_by_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a public endpoint; a name with a public address as well is connected to there."""
    addresses = {
        "store.test": ["198.51.100.1"],
        "rebound.test": ["127.0.0.1", "::1"],
        "mixed.test": ["127.0.0.1", "198.51.100.2"],
    }

    def resolve(host: str, port: int, *_: object) -> list[Address]:
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, port))
            for each in addresses.get(host, [host])
        ]

    monkeypatch.setattr(redirect_policy, "resolve_name", resolve)
    policy = RedirectPolicy(store_at(1, host="store.test"))
    origins = RedirectOrigins(policy, RequestLog(), 1, time.monotonic)
    rebound = origins._origin(Url("http", "rebound.test", 80, "/"))
    mixed = origins._origin(Url("http", "mixed.test", 80, "/"))

    assert [each[4][0] for each in mixed._choose(resolve("mixed.test", 80))] == ["198.51.100.2"]
    with pytest.raises(LocationError, match="loopback address"):
        rebound._choose(resolve("rebound.test", 80))


def test_https_is_never_left(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with (
        scripted() as plain,
        scripted(says(redirect(at(plain))), context=authority.context) as store,
    ):
        endpoint = store_at(store.port, scheme="https", ca_bundle=authority.bundle)
        follower = RedirectFollower(NativeTransport(endpoint), endpoint)
        with (
            operations_over(follower) as operations,
            pytest.raises(StoreError, match="from https to http"),
        ):
            read(operations, VERSION, RANGE)

    assert plain.requests == []


def test_http_may_lead_to_https_whose_certificate_is_checked(authority: Authority) -> None:
    with scripted(*[says(RESPONSE)] * 2, context=authority.context) as other:
        location = f"https://127.0.0.1:{other.port}/"
        with following("native", says(redirect(location)), ca_bundle=authority.bundle) as (
            operations,
            _,
        ):
            assert read(operations, VERSION, RANGE) == EXPECTED
        with (
            following("native", says(redirect(location))) as (operations, _),
            pytest.raises(Retryable, match="SSLCertVerificationError"),
        ):
            read(operations, VERSION, RANGE)


def test_a_region_of_s3_is_not_followed(transport: str) -> None:
    with scripted() as other:
        line = says(redirect(at(other), 301, "PermanentRedirect", x_amz_bucket_region="eu-north-1"))
        with following(transport, line) as (operations, _), pytest.raises(S3MountError) as caught:
            read(operations, VERSION, RANGE)

    assert caught.value.code == "PermanentRedirect"
    assert other.requests == []


@pytest.mark.parametrize("code", ["", "TemporaryRedirect", "PermanentRedirect"])
def test_nothing_is_followed_without_the_option(transport: str, code: str) -> None:
    with (
        scripted() as other,
        scripted(*[says(redirect(at(other), 307, code))] * 2) as store,
        operations_over(TRANSPORTS[transport](store.port)) as operations,
    ):
        for call in (
            lambda: read(operations, VERSION, RANGE),
            lambda: operations.head("key", deadline=soon()),
        ):
            with pytest.raises(StoreError) as caught:
                call()
            assert "which only --follow-redirects allows (HTTP 307)" in str(caught.value)
            assert "X-Amz" not in str(caught.value)

    assert other.requests == []


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_cancelled_request_is_followed_no_further(transport: str, when: str) -> None:
    token = CancelToken()

    def cancel_and_redirect(location: str) -> Line:
        def line(peer: object) -> None:
            peer.socket.sendall(redirect(location))  # type: ignore[attr-defined]

        return line

    with (
        scripted(stalls_after(RESPONSE[:-10])) as other,
        following(transport, cancel_and_redirect(at(other))) as (operations, _),
    ):
        if when == "before":
            token.cancel()
        else:
            threading.Timer(0.2, token.cancel).start()
        begun = time.monotonic()

        with pytest.raises((Retryable, RequestCancelledError)):
            read(operations, VERSION, RANGE, cancel_token=token)

        assert time.monotonic() - begun < AT_ONCE


def test_the_deadline_holds_at_another_host(transport: str) -> None:
    with (
        scripted(stalls_after(b"")) as other,
        following(transport, says(redirect(at(other)))) as (operations, _),
    ):
        begun = time.monotonic()
        with pytest.raises(Retryable, match="in time"):
            read(operations, VERSION, RANGE, deadline=begun + 0.5)

        assert time.monotonic() - begun < AT_ONCE


def test_closing_wakes_who_waits_at_another_host(transport: str) -> None:
    with (
        scripted(stalls_after(b"")) as other,
        following(transport, says(redirect(at(other)))) as (operations, _),
    ):
        threading.Timer(0.3, operations.close).start()
        begun = time.monotonic()

        with pytest.raises(Retryable):
            read(operations, VERSION, RANGE)

        assert time.monotonic() - begun < AT_ONCE


def test_a_redirect_goes_through_the_proxy_of_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(says(RESPONSE)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:pw@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        location = "http://cdn.invalid/k?x=1"
        with following("native", says(redirect(location))) as (operations, _):
            assert read(operations, VERSION, RANGE) == EXPECTED

    assert proxy.requests[0].startswith(
        "GET http://cdn.invalid/k?x=1 HTTP/1.1\r\nHost: cdn.invalid"
    )
    assert "\r\nProxy-Authorization: Basic bWU6cHc=" in proxy.requests[0]


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        with (
            following("native", says(redirect("http://169.254.169.254/k"))) as (operations, _),
            pytest.raises(StoreError, match="metadata address"),
        ):
            read(operations, VERSION, RANGE)

    assert proxy.requests == []


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.0.3", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b:1::7f00:1", "loopback"),
        ("64:ff9b:1:2::a9fe:a9fe", "metadata"),
        ("::ffff:0:127.0.0.1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("169.254.1.2", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("febf::1", "link-local"),
        ("169.254.169.254", "metadata"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("10.0.0.1", None),
        ("192.168.1.1", None),
        ("fd00::1", None),
        ("93.184.216.34", None),
        ("2606:2800::1", None),
    ],
)
def test_the_kind_of_an_address(address: str, kind: str | None) -> None:
    assert kind_of(address) == kind


def test_the_option_is_off_by_default() -> None:
    assert not StoreConfig(bucket="b").follow_redirects

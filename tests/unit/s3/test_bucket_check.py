"""Messages for users when the mount cannot begin."""

import dataclasses
import gc
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from s3mount.config import StoreConfig
from s3mount.errors import NotFound, SetupError, StoreError
from s3mount.s3 import bucket_check
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.bucket_check import MayBeAway, is_about_region, open_store
from s3mount.s3.endpoint.credentials import Credentials, FrozenCredentials
from s3mount.s3.endpoint.messages import setup_error
from s3mount.s3.endpoint.plain_source import credential_chain
from s3mount.s3.endpoint.resolve import Endpoint, supports_native
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import ErrorResponse, ErrorResponseError, Retryable, Transport
from tests.servers import Quirk, S3Server
from tests.unit.s3.canned_server import answering, error, http, listing, silent
from tests.unit.s3.scripted_server import (
    FixedCredentials,
    Line,
    Peer,
    ScriptedServer,
    drips,
    says_and_ends,
    scripted,
    stalls_after,
    store_at,
)
from tests.waiting import wait_until

SECRET = "a/very+secret/key"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_PROFILE",
        "AWS_CA_BUNDLE",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_SESSION_TOKEN",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_check, "FIRST_PAUSE", 0.02)  # no test is about their length
    monkeypatch.setattr(bucket_check, "LONGEST_PAUSE", 0.1)


def opened(
    config: StoreConfig, transport: str = "native", may_be_away: MayBeAway | None = None
) -> Endpoint:
    """Open and close the store; return its last endpoint."""
    with closing(credential_chain(config)) as credentials:
        return opened_with(config, credentials, transport, may_be_away)


def opened_with(
    config: StoreConfig,
    credentials: Credentials,
    transport: str = "native",
    may_be_away: MayBeAway | None = None,
) -> Endpoint:
    endpoints: list[Endpoint] = []

    def connect(endpoint: Endpoint) -> Callable[[], RemoteStore]:
        endpoints.append(endpoint)
        made: Transport = (
            NativeTransport(endpoint) if transport == "native" else BotoTransport(config, endpoint)
        )
        return lambda: RemoteStore(
            BucketOperations(made, config.bucket), max_connections=4, timeout=config.timeout
        )

    async def main() -> None:
        (await open_store(config, credentials, connect, may_be_away)).close()

    try:
        trio.run(main)
    except SetupError as exc:
        exc.__traceback__ = None
        raise
    return endpoints[-1]


def at(server: ScriptedServer, **options: Any) -> StoreConfig:
    url = f"http://127.0.0.1:{server.port}"
    return StoreConfig(**{"bucket": "photos", "endpoint_url": url, **options})


def message(**options: Any) -> str:
    """Return the line of the failure; nothing is tried again unless *start_timeout* is given."""
    with pytest.raises(SetupError) as caught:
        opened(StoreConfig(**{"bucket": "photos", "start_timeout": 0.0, **options}))
    message = str(caught.value)
    assert message.isprintable()
    assert SECRET not in message
    return message


EMPTY = listing("<IsTruncated>false</IsTruncated>")
ONE_PREFIX = listing(
    "<CommonPrefixes><Prefix>2024/a/</Prefix></CommonPrefixes><IsTruncated>false</IsTruncated>"
)
BUSY = error(503, "SlowDown", retry_after="120")
WEB_PAGE = http(200, b"<html><body>Welcome</body></html>", content_type="text/html")


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (error(404, "NoSuchBucket"), "bucket 'photos' does not exist"),
        (error(403, "AccessDenied"), "s3:ListBucket"),
        (error(403, "InvalidAccessKeyId"), "does not know this access key"),
        (error(403, "SignatureDoesNotMatch"), "secret key does not match"),
        (error(400, "ExpiredToken"), "credentials have expired"),
        (error(403, "RequestTimeTooSkewed"), "clock of this machine"),
        (error(503, "SlowDown"), "SlowDown"),
        (error(301, "PermanentRedirect"), "--region and --endpoint-url"),
        (
            http(302, b"", location="http://127.0.0.1:1/?hush"),
            "redirects to http://127.0.0.1:1, which only --follow-redirects allows",
        ),
        (
            error(307, "TemporaryRedirect", location="http://h:1/"),
            "redirects to http://h:1, which only --follow-redirects allows",
        ),
        (http(400, b"Client sent an HTTP request to an HTTPS server.\n"), "is it https://?"),
        (http(407, b""), "wants a password"),
        (http(308, b"", location="https://127.0.0.1/"), "write https:// in --endpoint-url"),
        (WEB_PAGE, "does not answer like S3"),
        (
            http(200, b"<!doctype html><p>Welcome<br>", content_type="text/html"),
            "does not answer like S3",
        ),
        (http(200, b"{}", content_type="application/json"), "does not answer like S3"),
        (http(200, b""), "does not answer like S3"),
        (
            http(403, b"<html>blocked</html>", content_type="text/html"),
            "does not answer like S3 (HTTP 403 with a page for browsers)",
        ),
        (http(404, b"<html>not here</html>", content_type="text/html"), "does not answer like S3"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not answer like S3"),
        (http(407, b""), "the proxy"),
        (b"", "does not speak HTTP"),
    ],
)
def test_each_failure_has_its_message(answer: bytes, part: str) -> None:
    with answering(answer) as url:
        assert part in message(endpoint_url=url)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"endpoint_url": "127.0.0.1:80"}, "http://HOST[:PORT]"),
        ({"endpoint_url": "http://"}, "http://HOST[:PORT]"),
        ({"endpoint_url": "ftp://host"}, "http://HOST[:PORT]"),
        ({"endpoint_url": "http://host:99999"}, "http://HOST[:PORT]"),
        ({"endpoint_url": f"http://AKID:{SECRET}@host"}, "credentials belong in a profile"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "refuses connections"),
        ({"endpoint_url": "http://host.invalid"}, "is not known"),
        ({"bucket": "No_$uch"}, "no bucket can be named"),
        ({"profile": "nobody"}, "no profile 'nobody'"),
        ({"ca_bundle": Path("/missing.pem")}, "CA bundle '/missing.pem'"),
        ({"ca_bundle": Path("/etc/passwd")}, "contains no certificate"),
        (
            {"region": "Not A Region", "endpoint_url": "http://127.0.0.1:1"},
            "not the name of a region",
        ),
    ],
)
def test_each_mistake_has_its_message(options: dict[str, Any], part: str) -> None:
    assert part in message(**options)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("garbage", "http://HOST[:PORT]"),
        ("127.0.0.1:9000", "http://HOST[:PORT]"),
        ("http://", "http://HOST[:PORT]"),
        ("ftp://h", "http://HOST[:PORT]"),
        ("http://127.0.0.1:99999", "http://HOST[:PORT]"),
        ('"http://127.0.0.1:1"', "http://HOST[:PORT]"),
        ("http://127.0.0.1:1/?x=1", "http://HOST[:PORT]"),
        ("http://[::1", "http://HOST[:PORT]"),
        ("http://under_score.invalid", "cannot be addressed"),
        (f"http://AKID:{SECRET}@host", "credentials belong in a profile"),
        ("http://127.0.0.1:1", "refuses connections"),
        ("http://host.invalid", "is not known"),
    ],
)
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "profile"])
def test_an_endpoint_of_the_environment_is_named(
    url: str, part: str, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if variable == "profile":
        variable = "endpoint_url of profile 'default'"
        (tmp_path / "config").write_text(f"[default]\nendpoint_url = {url}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    else:
        monkeypatch.setenv(variable, url)

    line = message()

    assert variable in line
    assert part in line


@pytest.mark.parametrize("url", [" http://127.0.0.1:1", "http://127.0.0.1:1 "])
def test_white_space_in_an_endpoint_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)

    assert "AWS_ENDPOINT_URL" in (line := message())
    assert "http://HOST[:PORT]" in line


def test_services_of_a_profile_name_the_endpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(
        "[default]\nservices = local\n[services local]\ns3 =\n  endpoint_url = garbage\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    assert "endpoint_url of the section [services local]: 'garbage' is not" in message()


@pytest.mark.parametrize(
    ("given", "region"),
    [
        ({"AWS_REGION": "eu-north-1"}, "eu-north-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-west-1"}, "eu-north-1"),
        ({}, "us-east-1"),
    ],
)
def test_the_region_of_the_environment_is_heeded(
    given: dict[str, str], region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with answering(listing("<IsTruncated>false</IsTruncated>")) as url:
        assert opened(StoreConfig(bucket="photos", endpoint_url=url)).region == region


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("bundle", ["/missing.pem", "/etc/passwd"])
def test_a_ca_bundle_of_the_environment_is_named(
    variable: str, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, bundle)

    assert message(endpoint_url="https://127.0.0.1:1").startswith(
        f"{variable}: the CA bundle {bundle!r} cannot be used: "
    )


@pytest.mark.parametrize("text", [b"# caf\xe9\n", "[default]\n".encode("utf-16")])
def test_a_file_that_is_not_utf_8_is_named(
    text: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_bytes(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    assert "config (AWS_CONFIG_FILE): it is not UTF-8 text" in message()


def test_an_exception_of_botocore_that_nothing_names_is_no_internal_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise AttributeError(SECRET)

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # what botocore alone reads
    monkeypatch.setattr("botocore.session.Session.get_scoped_config", fail)

    assert message().startswith("the AWS configuration is not usable (AttributeError): check")


def test_a_silent_store_fails_in_time() -> None:
    with silent() as url:
        assert "no answer from" in message(endpoint_url=url, timeout=1.0)


def test_missing_credentials_have_their_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    assert "no credentials found" in message(endpoint_url="http://127.0.0.1:1")


def test_incomplete_credentials_have_their_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    assert "AWS_SECRET_ACCESS_KEY is missing" in message(endpoint_url="http://127.0.0.1:1")


def test_a_credential_process_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "config").write_text(
        f"[default]\ncredential_process = sh -c 'echo {SECRET} >&2; exit 1'\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    assert "credential_process of profile 'default': it ended with status 1" in message(
        endpoint_url="http://127.0.0.1:1"
    )


def test_a_wrong_configured_region_is_reported_with_the_right_one() -> None:
    with answering(
        error(400, "AuthorizationHeaderMalformed", "<Region>eu-north-1</Region>")
    ) as url:
        assert "use --region eu-north-1" in message(endpoint_url=url, region="us-west-2")


@pytest.mark.parametrize(
    ("answer", "region", "is_of_region"),
    [
        (error(301, "PermanentRedirect", x_amz_bucket_region="eu-north-1"), "us-west-2", True),
        (error(400, "", x_amz_bucket_region="eu-north-1"), "us-west-2", True),
        (error(301, "PermanentRedirect"), None, True),
        (error(403, "AccessDenied"), "us-west-2", False),
        (error(400, "InvalidRequest"), None, False),
    ],
)
def test_a_failure_about_the_region_can_be_told_from_others(
    answer: bytes,
    region: str | None,
    is_of_region: bool,  # noqa: FBT001 - a parameter
) -> None:
    with answering(answer) as url, pytest.raises(SetupError) as caught:
        opened(StoreConfig(bucket="photos", start_timeout=0.0, endpoint_url=url, region=region))

    assert is_about_region(caught.value) is is_of_region


@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_a_redirect_is_followed_if_no_region_is_configured(transport: str) -> None:
    redirect = error(301, "PermanentRedirect", x_amz_bucket_region="eu-north-1")
    with scripted(says_and_ends(redirect), says_and_ends(EMPTY)) as server:
        endpoint = opened(at(server), transport)

    assert ["us-east-1" in request for request in server.requests] == [True, False]
    assert endpoint.region == "eu-north-1"


@pytest.mark.parametrize("region", ["eu.example.com", "a" * 64, "é", "eu north", "eu/north"])
def test_a_redirect_to_an_invalid_region_is_not_followed(region: str) -> None:
    with answering(error(400, "AuthorizationHeaderMalformed", f"<Region>{region}</Region>")) as url:
        line = message(endpoint_url=url)

    assert "is not at" in line
    assert region not in line


def test_the_repr_of_an_endpoint_hides_credentials() -> None:
    with answering(EMPTY) as url:
        store = opened(
            StoreConfig(
                bucket="photos",
                endpoint_url=f"{url}/s3",
                requester_pays=True,
                expected_bucket_owner="12",
            )
        )

    assert (store.scheme, store.host, store.base_path, store.region) == (
        "http",
        "127.0.0.1",
        "/s3/photos",
        "us-east-1",
    )
    assert store.headers == {
        "x-amz-request-payer": "requester",
        "x-amz-expected-bucket-owner": "12",
    }
    assert supports_native(store)
    credentials = store.credentials.frozen(time.monotonic() + 30)
    assert credentials.secret_key == SECRET
    assert SECRET not in f"{store!r} {credentials!r}"


def test_invalidated_credentials_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(EMPTY) as url:
        config = StoreConfig(bucket="photos", endpoint_url=url)
        with closing(credential_chain(config)) as credentials:
            store = opened_with(config, credentials)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "newer")

            credentials.invalidate()

            assert store.credentials.frozen(time.monotonic() + 30).secret_key == "newer"


def test_credentials_that_time_out_are_reported_with_their_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "config").write_text("[default]\ncredential_process = sleep 1000\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    line = message(endpoint_url="http://127.0.0.1:1", timeout=1.0)

    assert line.startswith("no credentials within 1 s: ")
    assert "(credential_process)" in line


EACH_TRANSPORT = pytest.mark.parametrize("transport", ["native", "boto3"])


@EACH_TRANSPORT
def test_the_first_list_is_sent_as_all_later_ones(transport: str) -> None:
    with scripted(says_and_ends(EMPTY)) as server:
        opened(at(server), transport)

    path = server.requests[0].split()[1]
    assert "max-keys=1000" in path
    assert path.partition("?")[2].endswith("prefix=") or "&prefix=&" in path


PASSING = {
    "503": [says_and_ends(BUSY)] * 3,
    "429": [says_and_ends(error(429, "TooManyRequests"))] * 3,
    "500": [says_and_ends(error(500, "InternalError"))] * 3,
    "408": [says_and_ends(error(408, "RequestTimeout"))] * 3,
    "502 of a gateway": [says_and_ends(http(502, b"<html>", content_type="text/html"))] * 3,
    "404 of a gateway": [says_and_ends(http(404, b"no route", content_type="text/plain"))] * 3,
    "an empty page": [says_and_ends(http(200, b""))] * 2,
    "closed": [says_and_ends(b"")] * 3,
    "silence": [stalls_after(b"")],
    "silence within the header": [stalls_after(BUSY[:9])],
    "silence within the body": [stalls_after(EMPTY[:-9])],
    "byte by byte": [drips(EMPTY)],
}


@EACH_TRANSPORT
@pytest.mark.parametrize("name", PASSING)
def test_a_failure_that_may_pass_is_outlasted(
    transport: str, name: str, expected_warnings: list[str]
) -> None:
    expected_warnings.append("not mounted yet")
    failing: list[Line] = PASSING[name]
    with scripted(*failing, says_and_ends(EMPTY)) as server:
        is_stall = name.startswith("silence") or name == "byte by byte"
        opened(at(server, timeout=4.0 if is_stall else 60.0), transport)

    assert len(server.requests) == len(failing) + 1


def test_a_store_that_comes_up_late_is_waited_for(
    expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings.append("not mounted yet, trying for 15 s (--start-timeout)")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ready = threading.Event()

    def serve_late() -> None:
        wait_until(lambda: "not mounted yet" in caplog.text)
        with socket.create_server(("127.0.0.1", port)) as listener:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(EMPTY)
                ready.wait(10)

    thread = threading.Thread(target=serve_late)
    thread.start()
    opened(StoreConfig(bucket="photos", endpoint_url=f"http://127.0.0.1:{port}"))
    ready.set()
    thread.join()


@pytest.mark.parametrize(
    ("page", "prefix", "expected"),
    [
        (EMPTY, "2O24/", ["no key is below '2O24/' in 'photos' now: check its spelling"]),
        (EMPTY, "", []),
        (ONE_PREFIX, "2024/", []),
    ],
)
def test_a_prefix_without_keys_is_logged(
    page: bytes, prefix: str, expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "s3mount.s3.bucket_check")
    with scripted(says_and_ends(page)) as server:
        opened(at(server, prefix=prefix))

    assert caplog.messages == expected


def test_it_is_said_once_what_is_waited_for(expected_warnings: list[str]) -> None:
    expected_warnings.append("not mounted yet")  # that is, one line

    line = message(endpoint_url="http://127.0.0.1:1", start_timeout=2.0)

    assert line.endswith("(tried for 2 s, see --start-timeout)")


def test_garbage_of_attempts_is_collected_while_a_start_waits(expected_warnings: list[str]) -> None:
    """The commands turn the collector off for their imports."""
    expected_warnings.append("not mounted yet")
    gc.disable()
    try:
        message(endpoint_url="http://127.0.0.1:1", start_timeout=2.0)
        is_collected = gc.isenabled()
    finally:
        gc.enable()

    assert is_collected


@pytest.mark.parametrize(
    "answer",
    [
        error(403, "AccessDenied"),
        error(404, "NoSuchBucket"),
        error(400, "InvalidToken"),  # of keys in the environment, which has no others
    ],
)
def test_a_refusal_is_not_tried_again(answer: bytes) -> None:
    with scripted(*[says_and_ends(answer)] * 3) as server:
        message(endpoint_url=f"http://127.0.0.1:{server.port}", start_timeout=15.0)

    assert len(server.requests) == 1


def test_an_invalid_page_is_tried_three_times(expected_warnings: list[str]) -> None:
    expected_warnings.append("not mounted yet")
    cut = listing("<IsTruncated>true</IsTruncated>")
    with scripted(*[says_and_ends(cut)] * 5) as server:
        line = message(endpoint_url=f"http://127.0.0.1:{server.port}", start_timeout=15.0)

    assert len(server.requests) == 3
    assert "does not answer like S3" in line


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_NONAME])
def test_a_name_that_is_not_known_yet_is_waited_for(
    code: int, expected_warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine boots before its network, a container before that of its store."""
    expected_warnings.append("the host 'store.test' is not known")
    real, failures = socket.getaddrinfo, [1, 2]

    def look_up(_host: str, *args: Any, **options: Any) -> Any:
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        if failures:
            failures.pop()
            raise socket.gaierror(code, "no name server")
        return real("127.0.0.1", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with scripted(says_and_ends(EMPTY)) as server:
        config = at(server, endpoint_url=f"http://store.test:{server.port}", path_style=True)
        opened(config)

    assert failures == []


def test_a_source_of_credentials_that_does_not_answer_yet_is_waited_for(
    expected_warnings: list[str],
) -> None:
    """A machine's metadata service answers some seconds after the machine boots."""
    expected_warnings.append("the source is away")
    failures = [Retryable(StoreError("the source is away")) for _ in range(2)]

    class LateCredentials(FixedCredentials):
        def frozen(
            self, deadline: float, cancel_token: CancelToken | None = None
        ) -> FrozenCredentials:
            if failures:
                raise failures.pop()
            return super().frozen(deadline, cancel_token)

    with answering(EMPTY) as url:
        opened_with(
            StoreConfig(bucket="photos", endpoint_url=url),
            LateCredentials(FrozenCredentials("AKID", SECRET)),
        )

    assert failures == []


class SlowContext(ssl.SSLContext):
    """TLS of a server that begins each handshake late."""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        time.sleep(1.0)  # latency of the server
        return super().wrap_socket(*args, **options)


@EACH_TRANSPORT
def test_a_slow_handshake_has_the_idle_timeout(transport: str, tmp_path: Path) -> None:
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = SlowContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("127.0.0.1").configure_cert(context)
    with scripted(says_and_ends(EMPTY), context=context) as server:
        url = f"https://127.0.0.1:{server.port}"
        bundle = tmp_path / "ca.pem"
        config = at(server, endpoint_url=url, ca_bundle=bundle, connect_timeout=0.5)
        opened(dataclasses.replace(config, start_timeout=0.0), transport)


@EACH_TRANSPORT
def test_a_store_that_is_slower_than_half_of_the_timeout_is_opened(transport: str) -> None:
    with scripted(slow(2.0, EMPTY)) as server:
        opened(at(server, timeout=3.0, idle_timeout=3.0, start_timeout=0.0), transport)


@pytest.mark.parametrize(
    ("given", "connect", "idle"),
    [
        ({}, 10.0, 30.0),
        ({"timeout": 4.0}, 2.0, 2.0),
        ({"timeout": 120.0}, 10.0, 60.0),
        ({"timeout": 4.0, "connect_timeout": 3.0, "idle_timeout": 4.0}, 3.0, 4.0),
        ({"timeout": 1e9, "connect_timeout": 1e9}, 86_400.0, 86_400.0),
    ],
)
def test_an_attempt_has_half_of_the_timeout_unless_told_otherwise(
    given: dict[str, float], connect: float, idle: float
) -> None:
    with answering(EMPTY) as url:
        endpoint = opened(StoreConfig(bucket="photos", endpoint_url=url, **given))  # type: ignore[arg-type]  # floats only

    assert (endpoint.connect_timeout, endpoint.idle_timeout) == (connect, idle)


def slow(seconds: float, answer: bytes) -> Line:
    def line(peer: Peer) -> None:
        peer.ended.wait(seconds)
        peer.socket.sendall(answer)
        raise StopIteration

    return line


def test_the_message_for_an_untrusted_certificate_says_how_to_trust_it(
    seaweedfs_https: S3Server,
) -> None:
    assert "--ca-bundle" in message(endpoint_url=seaweedfs_https.endpoint_url)


@pytest.mark.parametrize("way", ["option", "environment", "none"])
def test_a_trusted_certificate_is_accepted(
    way: str, seaweedfs_https: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in seaweedfs_https.environment().items():
        monkeypatch.setenv(name, value)
    if way == "environment":
        monkeypatch.setenv("AWS_CA_BUNDLE", str(seaweedfs_https.ca_bundle))
    bundle = seaweedfs_https.ca_bundle if way == "option" else None

    store = opened(
        StoreConfig(
            bucket=seaweedfs_https.make_bucket(),
            endpoint_url=seaweedfs_https.endpoint_url,
            ca_bundle=bundle,
            verify_ssl=way != "none",
        )
    )

    assert store.scheme == "https"


def test_messages_for_errors_of_real_servers(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"endpoint_url": s3_server.endpoint_url, "ca_bundle": s3_server.ca_bundle}
    if Quirk.ANYBODY_MAY_READ not in s3_server.quirks:
        assert "does not know this access key" in message(**where)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)

    assert "bucket 'photos' does not exist" in message(**where)


def endpoint_at(host: str) -> Endpoint:
    return store_at(443, bucket="photos", scheme="https", host=host, base_path="/photos")


@pytest.mark.parametrize(
    "code",
    [
        "SecondLevelDomainForbidden",
        "PathStyleDomainForbidden",
        "InvalidPathAccess",
        "VirtualHostDomainRequired",
    ],
)
def test_a_store_that_wants_virtual_hosts_is_reported_with_the_option(code: str) -> None:
    with answering(error(403, code)) as url:
        assert message(endpoint_url=url) == (
            f"{url} wants the bucket in the host name: use --addressing-style virtual"
        )


@pytest.mark.parametrize(
    ("path", "is_twice"), [("/photos", True), ("/photos/", True), ("/s3", False), ("", False)]
)
def test_a_bucket_in_the_endpoint_is_asked_about(path: str, *, is_twice: bool) -> None:
    with answering(error(404, "NoSuchKey")) as url:
        assert message(endpoint_url=url + path).endswith("the bucket, too?") is is_twice


def test_a_bucket_in_the_host_of_the_endpoint_is_asked_about() -> None:
    endpoint = endpoint_at("photos.s3.amazonaws.com")
    failure = NotFound("x", code="NoSuchKey", status=404)
    failure.__cause__ = ErrorResponseError(ErrorResponse(status=404, code="NoSuchKey"))

    said = str(setup_error(StoreConfig(bucket="photos"), endpoint, failure))

    assert said.endswith("does --endpoint-url contain the name of the bucket, too?")


@pytest.mark.parametrize("reason", ["TLSV1_ALERT_PROTOCOL_VERSION", "DH_KEY_TOO_SMALL"])
def test_an_old_tls_has_its_message(reason: str) -> None:
    cause = ssl.SSLError("x")
    cause.reason = reason
    failure = Retryable(StoreError("x"))
    failure.__cause__ = cause

    said = str(setup_error(StoreConfig(bucket="photos"), endpoint_at("store.test"), failure))

    assert "no TLS that is still safe" in said


def test_a_virtual_host_below_a_virtual_host_is_asked_about() -> None:
    said = message(endpoint_url="http://photos.host.invalid", addressing_style="virtual")

    assert said.startswith("the host 'photos.photos.host.invalid' is not known")
    assert said.endswith("does --endpoint-url contain the name of the bucket, too?")


def test_an_unknown_virtual_host_is_reported_with_the_other_style() -> None:
    said = message(endpoint_url="http://host.invalid", addressing_style="virtual")

    assert said == (
        "the host 'photos.host.invalid' is not known: check --endpoint-url, and the network (DNS), "
        "or use --addressing-style path"
    )


@pytest.mark.parametrize(
    "host",
    [
        "photos.s3-accelerate.amazonaws.com",
        "photos.s3-accelerate.dualstack.amazonaws.com",
        "photos.s3express-use1-az4.us-east-1.amazonaws.com",
    ],
)
def test_no_other_style_is_suggested_for_hosts_that_have_none(host: str) -> None:
    endpoint = store_at(443, bucket="photos", scheme="https", host=host)
    failure = Retryable(StoreError("x"))
    failure.__cause__ = socket.gaierror(socket.EAI_NONAME, "unknown")

    said = str(setup_error(StoreConfig(bucket="photos"), endpoint, failure))

    assert said == f"the host {host!r} is not known: check --endpoint-url, and the network (DNS)"


@pytest.mark.parametrize(
    ("code", "part"),
    [
        (10, "has expired"),
        (62, "no such host"),
        (64, "no such address"),
        (19, "--ca-bundle"),
    ],
)
def test_each_fault_of_a_certificate_has_its_message(code: int, part: str) -> None:
    cause = ssl.SSLCertVerificationError("x")
    cause.verify_code = code
    failure = Retryable(StoreError("x"))
    failure.__cause__ = cause

    said = str(setup_error(StoreConfig(bucket="photos"), endpoint_at("store.test"), failure))

    assert part in said


@pytest.mark.parametrize(
    ("answer", "is_away"),
    [
        (BUSY, True),
        (http(502, b"<html>", content_type="text/html"), True),
        (b"", True),
        (error(403, "AccessDenied"), False),
        (error(403, "RequestTimeTooSkewed"), False),
        (error(404, "NoSuchBucket"), False),
        (WEB_PAGE, False),
    ],
)
def test_a_store_that_is_away_may_be_done_without_and_one_that_refuses_may_not(
    answer: bytes,
    is_away: bool,  # noqa: FBT001
) -> None:
    asked: list[str] = []

    async def may_be_away(origin: str, reason: str) -> bool:
        asked.append(reason)
        return origin.startswith("http://127.0.0.1:")

    with answering(answer) as url:
        config = StoreConfig(bucket="photos", endpoint_url=url, start_timeout=0.0)
        if is_away:
            opened(config, may_be_away=may_be_away)
        else:
            with pytest.raises(SetupError):
                opened(config, may_be_away=may_be_away)

    assert len(asked) == int(is_away)

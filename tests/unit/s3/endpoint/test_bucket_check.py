"""Messages for users when the mount cannot begin."""

import ssl
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import NotFound, SetupError, StoreError
from s3mount.s3.endpoint import bucket_check
from s3mount.s3.endpoint.bucket_check import check_bucket
from s3mount.s3.endpoint.credential_source import credential_chain
from s3mount.s3.endpoint.messages import setup_error
from s3mount.s3.endpoint.resolve import Endpoint, supports_native
from s3mount.s3.transport import ErrorResponse, ErrorResponseError, Retryable
from tests.servers import Quirk, S3Server
from tests.unit.s3.canned_server import answering, error, http, listing, silent
from tests.unit.s3.scripted_server import store_at

SECRET = "a/very+secret/key"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_PROFILE",
        "AWS_CA_BUNDLE",
        "AWS_DEFAULT_REGION",
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


def probed(config: StoreConfig) -> Endpoint:
    with closing(credential_chain(config)) as credentials:
        return check_bucket(config, credentials)


def message(**options: Any) -> str:
    """Return the line of the failure."""
    with pytest.raises(SetupError) as caught:
        probed(StoreConfig(**{"bucket": "photos", **options}))
    message = str(caught.value)
    assert message.isprintable()
    assert SECRET not in message
    return message


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
        (http(404, b"<html>not here</html>", content_type="text/html"), "does not answer like S3"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"", "does not speak HTTP"),
    ],
)
def test_each_failure_has_its_message(
    answer: bytes, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_check, "PAUSES", (0.0, None))
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
        ({"bucket": ""}, "no bucket can be named"),
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


def test_a_silent_store_fails_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_check, "STORE_LIMIT", 1.5)
    with silent() as url:
        assert "no answer from" in message(endpoint_url=url)


def test_missing_credentials_have_their_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    assert "no credentials found" in message(endpoint_url="http://127.0.0.1:1")


def test_incomplete_credentials_have_their_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    assert "both" in message(endpoint_url="http://127.0.0.1:1")


def test_a_credential_process_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "config").write_text(
        f"[default]\ncredential_process = sh -c 'echo {SECRET} >&2; exit 1'\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    assert "source of credentials" in message(endpoint_url="http://127.0.0.1:1")


def test_a_wrong_configured_region_is_reported_with_the_right_one() -> None:
    with answering(
        error(400, "AuthorizationHeaderMalformed", "<Region>eu-north-1</Region>")
    ) as url:
        assert "use --region eu-north-1" in message(endpoint_url=url, region="us-west-2")


def test_a_redirect_is_followed_if_no_region_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    regions: list[str] = []
    knock = bucket_check._list_once

    def notice(config: StoreConfig, store: Any, session: Any) -> str | None:
        regions.append(store.region)
        return knock(config, store, session) if len(regions) == 1 else None

    monkeypatch.setattr(bucket_check, "_list_once", notice)
    with answering(error(301, "PermanentRedirect", x_amz_bucket_region="eu-north-1")) as url:
        store = probed(StoreConfig(bucket="photos", endpoint_url=url))

    assert regions == ["us-east-1", "eu-north-1"]
    assert store.region == "eu-north-1"


@pytest.mark.parametrize("region", ["eu.example.com", "a" * 64, "é", "eu north", "eu/north"])
def test_a_redirect_to_an_invalid_region_is_not_followed(region: str) -> None:
    with answering(error(400, "AuthorizationHeaderMalformed", f"<Region>{region}</Region>")) as url:
        line = message(endpoint_url=url)

    assert "is not at" in line
    assert region not in line


def test_the_repr_of_an_endpoint_hides_credentials() -> None:
    empty = listing("<IsTruncated>false</IsTruncated>")
    with answering(empty) as url:
        store = probed(
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
    with answering(listing("<IsTruncated>false</IsTruncated>")) as url:
        config = StoreConfig(bucket="photos", endpoint_url=url)
        with closing(credential_chain(config)) as credentials:
            store = check_bucket(config, credentials)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "newer")

            store.credentials.invalidate()

            assert store.credentials.frozen(time.monotonic() + 30).secret_key == "newer"


@pytest.mark.parametrize(("timeout", "limit"), [(1.0, "1 s"), (60.0, "2 s")])
def test_credentials_that_time_out_are_reported_with_their_source(
    timeout: float, limit: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bucket_check, "CREDENTIALS_LIMIT", 2.0)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "config").write_text("[default]\ncredential_process = sleep 1000\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    line = message(endpoint_url="http://127.0.0.1:1", timeout=timeout)

    assert line.startswith(f"no credentials within {limit}: ")
    assert "(credential_process)" in line


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

    store = probed(
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

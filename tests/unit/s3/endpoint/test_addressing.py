"""URLs of a bucket: named in the path or in the host, of a tenant, below a path."""

from pathlib import Path

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import SetupError
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.boto_session import open_session
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint, supports_native
from s3mount.s3.model import ListQuery
from s3mount.s3.native.request_encoding import RequestEncoder
from s3mount.s3.transport import StoreRequest
from tests.unit.s3.clients import operations_over, soon
from tests.unit.s3.scripted_server import FixedCredentials, head, says, scripted

KEYS = FrozenCredentials("AKID", "secret")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


def resolved(**options: object) -> Endpoint:
    config = StoreConfig(**{"bucket": "photos", **options})  # type: ignore[arg-type]  # the tests' own spelling
    return resolve_endpoint(
        config, open_session(config), region="us-east-1", credentials=FixedCredentials(KEYS)
    )


def url_of(**options: object) -> str:
    endpoint = resolved(**options)
    return f"{endpoint.origin}{endpoint.base_path}"


OWN = "https://oss.example.com"


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://photos.s3.amazonaws.com"),
        ({"addressing_style": "path"}, "https://s3.amazonaws.com/photos"),
        ({"endpoint_url": OWN}, f"{OWN}/photos"),
        ({"endpoint_url": OWN, "addressing_style": "virtual"}, "https://photos.oss.example.com"),
        ({"endpoint_url": f"{OWN}/s3/"}, f"{OWN}/s3/photos"),
        (
            {"endpoint_url": f"{OWN}/s3/", "addressing_style": "virtual"},
            "https://photos.oss.example.com/s3",
        ),
        ({"endpoint_url": "https://OSS.Example.com:443/"}, f"{OWN}/photos"),
        ({"endpoint_url": "http://[::1]:9000"}, "http://[::1]:9000/photos"),
        ({"bucket": "pho.tos"}, "https://s3.amazonaws.com/pho.tos"),
        (
            {"bucket": "a.b", "endpoint_url": "http://oss.test", "addressing_style": "virtual"},
            "http://a.b.oss.test",
        ),
        ({"bucket": "tenant:photos", "endpoint_url": OWN}, f"{OWN}/tenant%3Aphotos"),
        ({"bucket": ":photos", "endpoint_url": OWN}, f"{OWN}/%3Aphotos"),
    ],
)
def test_the_url_of_a_bucket(options: dict[str, object], url: str) -> None:
    assert url_of(**options) == url


@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize("bucket", ["photos", "tenant", ""])
def test_the_url_of_a_service_has_its_path_and_no_bucket(style: str, bucket: str) -> None:
    def service_url(url: str) -> str:
        return resolved(bucket=bucket, endpoint_url=url, addressing_style=style).service_url

    is_in_host = style == "virtual" and bucket
    expected = f"https://{bucket}.oss.example.com" if is_in_host else OWN
    assert service_url(OWN) == expected
    assert service_url(f"{OWN}/s3") == f"{expected}/s3"
    assert service_url(f"{OWN}/tenant/") == f"{expected}/tenant"


def test_the_url_of_a_service_has_no_bucket_of_a_tenant() -> None:
    assert resolved(bucket="tenant:photos", endpoint_url=OWN).service_url == OWN


def test_the_profile_s_style_is_heeded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\ns3 =\n    addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    assert url_of(endpoint_url=OWN) == "https://photos.oss.example.com"
    assert url_of(endpoint_url=OWN, addressing_style="path") == f"{OWN}/photos"
    assert url_of(endpoint_url="http://127.0.0.1:1") == "http://127.0.0.1:1/photos"


@pytest.mark.parametrize(
    ("bucket", "endpoint_url", "reason"),
    [
        ("photos", "http://127.0.0.1:9000", "an address has no names below it"),
        ("a.b", "http://127.0.0.1:9000", "an address has no names below it"),
        ("photos", "http://[::1]:9000", "an address has no names below it"),
        ("a.b", OWN, "no certificate of a store is for a bucket with dots"),
        ("Photos", OWN, "no host can have its name"),
        ("tenant:photos", OWN, "no host can have its name"),
    ],
)
def test_a_bucket_that_no_host_can_name_is_refused(
    bucket: str, endpoint_url: str, reason: str
) -> None:
    with pytest.raises(SetupError) as caught:
        resolved(bucket=bucket, endpoint_url=endpoint_url, addressing_style="virtual")

    assert str(caught.value) == (
        f"bucket {bucket!r} cannot be named in the host of {endpoint_url}: {reason}; "
        "use --addressing-style path"
    )


def test_a_tenant_s_bucket_is_asked_for_alike_by_both_transports() -> None:
    page = (
        b"<ListBucketResult><Name>photos</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
    )
    answer = head(Content_Length=len(page), ETag=None, Last_Modified=None) + page
    with scripted(*[says(answer)] * 1) as server:
        config = StoreConfig(bucket="tenant:photos", endpoint_url=f"http://127.0.0.1:{server.port}")
        session = open_session(config)
        endpoint = resolve_endpoint(
            config, session, region="us-east-1", credentials=FixedCredentials(KEYS)
        )
        with operations_over(BotoTransport(config, endpoint, session)) as operations:
            operations.list_page(ListQuery(""), deadline=soon())
        request = server.requests[0]
    encoder = RequestEncoder(endpoint, lambda: 0.0)
    own = encoder.encode(StoreRequest("ListObjectsV2", None), KEYS).decode()

    assert request.startswith("GET /tenant%3Aphotos?")
    assert own.startswith("GET /tenant%3Aphotos HTTP/1.1")


def test_a_store_that_knows_only_the_old_signature_gets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\ns3 =\n    signature_version = s3\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with scripted(says(head(Content_Length=5))) as server:
        config = StoreConfig(bucket="photos", endpoint_url=f"http://127.0.0.1:{server.port}")
        session = open_session(config)
        endpoint = resolve_endpoint(
            config, session, region="us-east-1", credentials=FixedCredentials(KEYS)
        )
        with operations_over(BotoTransport(config, endpoint, session)) as operations:
            operations.head("key", deadline=soon())

    assert not supports_native(endpoint)
    assert "\r\nAuthorization: AWS AKID:" in server.requests[0]

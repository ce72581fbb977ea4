"""What is read and resolved without botocore equals what botocore reads and resolves."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from s3mount.config import AddressingStyle, EndpointVariant, StoreConfig
from s3mount.errors import SetupError
from s3mount.s3.endpoint.address import Address, usual_address
from s3mount.s3.endpoint.boto_address import prepared_address
from s3mount.s3.endpoint.boto_session import open_client, open_session
from s3mount.s3.endpoint.configuration import configured_ca_bundle, configured_endpoint
from s3mount.s3.endpoint.credential_source import ChainSource
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.plain_configuration import read_plain
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint
from tests.unit.s3.scripted_server import FixedCredentials

FROZEN = FrozenCredentials("AKID", "secret")
KEYS = FixedCredentials(FROZEN)
REGIONS = (
    *("us-east-1", "us-east-2", "eu-central-1", "ap-southeast-3", "me-south-1", "il-central-1"),
    *("cn-north-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1", "eu-isoe-west-1"),
    *("aws-global", "fips-us-east-1", "us-west-2-fips", "s3-external-1", "us-nowhere-9"),
    *("garage", "default", "auto", "de", "RegionOne", "a_b", "-", "eu-central-1-lax-1a"),
)
URLS = (
    *("http://127.0.0.1:9000", "http://127.0.0.1:9000/", "https://oss.example.com"),
    *("https://oss.example.com:443", "https://oss.example.com:8443/", "http://oss:80"),
    *("https://OSS.example.com", "https://oss.example.com/s3", "http://[::1]:9000"),
    *("https://s3.amazonaws.com", "https://s3.eu-central-1.amazonaws.com", "http://localhost"),
    *("https://bucket.vpce-1-2.s3.us-east-1.vpce.amazonaws.com", "https://store.local."),
    *("ftp://oss.example.com", "oss.example.com", "http://u:p@oss", "http://a..b", "http://1.2"),
    *("http://a_b:1", "http://oss:99999", "http://oss:0", "http://oss?x", "http://xn--e1a.test"),
)
PLACES = (
    *((region, None) for region in REGIONS),
    *((region, "http://127.0.0.1:9000") for region in REGIONS),
    *(("eu-central-1", url) for url in URLS),
)
BUCKETS = (
    "",  # all of them
    *("photos", "pho.tos", "a.b", "abc", "ab", "my-photos-2024", "1photos", "a" * 63, "a" * 64),
    *("Photos", "pho_tos", "photos-", ".photos", "pho..tos", "192.168.0.1", "pho.-tos"),
    *("photos--usw2-az1--x-s3", "photos-s3alias", "photos--ol-s3", "xn--photos", "tenant:photos"),
    *("photos--table-s3", "photos--op-s3", "a--b", "photos-s3", "sthree-photos", "amzn-s3-demo-x"),
    "arn:aws:s3:us-east-1:123456789012:accesspoint/photos",
    "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
)
PARTS = (
    *("AKID", "s/+=cret", "s#cret;", "x", "%(region)s", "$HOME", "a=b:c", "1"),
    *("se cret", "'quoted'", '"', "é"),
)


def mapping(
    values: Mapping[str, tuple[str, ...]], usual: tuple[str, ...]
) -> st.SearchStrategy[dict[str, str]]:
    """Some of *values*, more often those that are *usual*."""
    return st.fixed_dictionaries(
        {},
        optional={
            name: st.sampled_from(known if name in usual else known + (None,) * 20)
            for name, known in values.items()
        },
    ).map(lambda made: {name: value for name, value in made.items() if value is not None})


VARIABLES = {
    "AWS_ACCESS_KEY_ID": PARTS,
    "AWS_SECRET_ACCESS_KEY": PARTS,
    "AWS_SESSION_TOKEN": PARTS,
    "AWS_REGION": REGIONS,
    "AWS_DEFAULT_REGION": REGIONS,
    "AWS_ENDPOINT_URL": URLS,
    "AWS_ENDPOINT_URL_S3": URLS,
    "AWS_PROFILE": ("default", "work", "missing"),
    "AWS_DEFAULT_PROFILE": ("default", "work"),
    "AWS_CA_BUNDLE": ("/etc/ca.pem",),
    "REQUESTS_CA_BUNDLE": ("/etc/others.pem",),
    "AWS_SECURITY_TOKEN": PARTS,
    "AWS_CREDENTIAL_EXPIRATION": ("2100-01-01T00:00:00Z",),
    "AWS_USE_DUALSTACK_ENDPOINT": ("true", "false"),
    "AWS_USE_FIPS_ENDPOINT": ("true", "false"),
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": ("true", "false"),
    "AWS_RESPONSE_CHECKSUM_VALIDATION": ("when_required", "when_supported"),
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": ("regional", "legacy"),
    "AWS_EXECUTION_ENV": ("AWS_Lambda_python3.11",),
    "HTTPS_PROXY": ("http://proxy:3128",),
    "http_proxy": ("http://proxy:3128", "socks5://proxy"),
    "NO_PROXY": ("oss.example.com", "*"),
}
USUAL_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_PROFILE")
SETTINGS = {
    "aws_access_key_id": PARTS,
    "aws_secret_access_key": PARTS,
    "aws_session_token": PARTS,
    "region": REGIONS,
    "output": ("json",),
    "endpoint_url": URLS,
    "ca_bundle": ("/etc/ca.pem", "~/ca.pem", ""),
    "aws_security_token": PARTS,
    "AWS_Session_Token": PARTS,
    "s3": ("\n  addressing_style = virtual", "\n  addressing_style = path", "\n  odd", "odd"),
    "services": ("local", "missing"),
    "use_dualstack_endpoint": ("true", "no"),
    "use_fips_endpoint": ("true",),
    "ignore_configured_endpoint_urls": ("true",),
    "response_checksum_validation": ("when_required",),
    "s3_us_east_1_regional_endpoint": ("regional",),
    "sso_session": ("corporate",),
    "duration": ("",),
}
USUAL_SETTINGS = ("aws_access_key_id", "aws_secret_access_key", "region")
HEADS = ("default", "profile work", 'profile "work"', "work", "profile default", "DEFAULT", "other")


def section(head: str, lines: Mapping[str, str]) -> str:
    return f"[{head}]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())


ENVIRONMENTS = mapping(VARIABLES, USUAL_VARIABLES)
FILES = st.none() | st.lists(
    st.builds(section, st.sampled_from(HEADS), mapping(SETTINGS, USUAL_SETTINGS))
    | st.sampled_from(
        ("[services local]\ns3 =\n  endpoint_url = http://oss:1\n", "x = 1\n", "é\n")
    ),
    max_size=3,
).map("".join)
OPTIONS = st.fixed_dictionaries(
    {"bucket": st.sampled_from(BUCKETS)},
    optional={
        "endpoint_url": st.sampled_from(URLS),
        "region": st.sampled_from(REGIONS),
        "profile": st.sampled_from(("default", "work", "")),
        "sign_requests": st.booleans(),
        "addressing_style": st.sampled_from(("auto", "path", "virtual")),
        "requester_pays": st.booleans(),
        "endpoint_variants": st.frozensets(st.sampled_from(EndpointVariant), max_size=2),
        "ca_bundle": st.just(Path("/etc/ca.pem")),
    },
)


@contextmanager
def environment(
    home: Path, variables: Mapping[str, str], ours: str | None, shared: str | None
) -> Iterator[None]:
    """Set *variables*, and write the files of AWS tools, for the block."""
    for name, text in {"config": ours, "credentials": shared}.items():
        (home / ".aws").mkdir(exist_ok=True)
        (home / ".aws" / name).unlink(missing_ok=True)
        if text is not None:
            (home / ".aws" / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_") or "proxy" in name.lower() or name == "REQUESTS_CA_BUNDLE":
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def without_query(address: Address) -> Address:
    return replace(address, url=address.url.partition("?")[0])


def resolved(config: StoreConfig, configuration: object, region: str) -> Endpoint | str:
    """Return the endpoint, or the message of its failure."""
    try:
        return resolve_endpoint(config, configuration, region=region, credentials=KEYS)  # type: ignore[arg-type]
    except SetupError as exc:
        return str(exc)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(variables={}, ours=None, shared="[default]\n", options={"bucket": "b", "profile": ""})
@example(variables={}, ours="[default]\nca_bundle =\n", shared=None, options={"bucket": "photos"})
@given(variables=ENVIRONMENTS, ours=FILES, shared=FILES, options=OPTIONS)
def test_a_plain_configuration_is_what_botocore_makes_of_it(
    tmp_path: Path,
    variables: Mapping[str, str],
    ours: str | None,
    shared: str | None,
    options: Mapping[str, object],
) -> None:
    config = StoreConfig(**options)  # type: ignore[arg-type]  # the tests' own spelling
    with environment(tmp_path, variables, ours, shared):
        plain = read_plain(config)
        event("plain" if plain else "left to botocore")
        if plain is None:
            return
        session = open_session(config)

        assert session.profile == plain.profile
        assert session.setting("region") == plain.setting("region")
        assert configured_endpoint(config, session) == configured_endpoint(config, plain)
        assert configured_ca_bundle(config, session) == configured_ca_bundle(config, plain)
        region = config.region or plain.setting("region") or "us-east-1"
        assert resolved(config, session, region) == resolved(config, plain, region)
        if plain.keys is not None:
            source = ChainSource(lambda: open_session(config).below)
            assert source.look_up(fresh=True).frozen == plain.keys
            assert source.may_have_changed() is False


@pytest.mark.parametrize("style", ["auto", "path", "virtual"])
@pytest.mark.parametrize("signs", [True, False])
def test_a_usual_address_is_what_botocore_resolves(
    tmp_path: Path, style: AddressingStyle, *, signs: bool
) -> None:
    compared = 0
    with environment(tmp_path, {}, None, None):
        session = open_session(StoreConfig(bucket="photos"))
        for region, url in PLACES:
            usual = {
                bucket: usual_address(bucket, url, region=region, style=style, signs=signs)
                for bucket in BUCKETS
            }
            wanted = {bucket: address for bucket, address in usual.items() if address}
            if not wanted:
                continue
            config = StoreConfig(
                bucket="photos", endpoint_url=url, addressing_style=style, sign_requests=signs
            )
            client = open_client(config, session, region=region, credentials=lambda: FROZEN)
            for bucket, address in wanted.items():
                found = prepared_address(replace(config, bucket=bucket), session, client)
                assert without_query(found) == address
                compared += 1

    assert compared > 50

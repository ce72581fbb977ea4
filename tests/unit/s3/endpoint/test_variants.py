"""Endpoints of AWS's by their variants: the hosts are those of botocore's own rule set.

The rules are evaluated as botocore ships them, by a resolver of its own for each test: neither a
client nor the network takes part.
"""

import importlib.util
from collections.abc import Iterator
from functools import cache
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError

from s3mount.config import AddressingStyle, EndpointVariant, StoreConfig
from s3mount.errors import SetupError
from s3mount.s3.composition import is_native
from s3mount.s3.endpoint.boto_session import open_session
from s3mount.s3.endpoint.configuration import Configuration
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.plain_configuration import open_configuration
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint
from tests.unit.s3.scripted_server import FixedCredentials

KEYS = FixedCredentials(FrozenCredentials("AKID", "secret"))
ACCESS_POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint/photos"
MULTI_REGION = "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap"
OUTPOST = "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01234567890123456/accesspoint/ap"
DIRECTORY = "photos--usw2-az1--x-s3"
BUCKETS = (
    *("photos", "pho.tos", "my-ap-abcdef-s3alias", DIRECTORY),
    *(ACCESS_POINT, OUTPOST, "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/photos"),
)
REGIONS = ("us-east-1", "us-west-2", "eu-central-1", "cn-north-1", "us-gov-west-1")
DUALSTACK, FIPS, ACCELERATE = EndpointVariant
_SIGNED = ("sigv4", "sigv4-s3express")
VARIANTS = [
    frozenset(chosen)
    for chosen in chain.from_iterable(combinations(EndpointVariant, count) for count in range(4))
]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


@cache
def rules() -> EndpointProvider:
    loader = botocore.session.get_session().get_component("data_loader")
    return EndpointProvider(
        loader.load_service_model("s3", "endpoint-rule-set-1"), loader.load_data("partitions")
    )


def resolved(
    bucket: str,
    region: str = "us-west-2",
    /,
    configuration: Configuration | None = None,
    **options: object,
) -> Endpoint:
    config = StoreConfig(bucket=bucket, **options)  # type: ignore[arg-type]  # the tests' own spelling
    configuration = configuration or open_configuration(config)
    return resolve_endpoint(config, configuration, region=region, credentials=KEYS)


def url_of(endpoint: Endpoint) -> str:
    return f"{endpoint.origin}{endpoint.base_path}"


def by_the_rules(
    bucket: str, region: str, variants: frozenset[EndpointVariant], style: AddressingStyle
) -> tuple[str, str, str] | None:
    """Return URL, region and signing name by the rules; None if they refuse."""
    parameters: dict[str, Any] = {
        "Bucket": bucket,
        "Region": region,
        "UseDualStack": DUALSTACK in variants,
        "UseFIPS": FIPS in variants,
        "Accelerate": ACCELERATE in variants,
        "ForcePathStyle": style == "path",
        "UseGlobalEndpoint": region == "us-east-1",  # as boto3 has it by default
        "UseArnRegion": True,
    }
    try:
        found = rules().resolve_endpoint(**parameters)
    except EndpointProviderError:
        return None
    scheme = next(each for each in found.properties["authSchemes"] if each["name"] in _SIGNED)
    region = scheme.get("signingRegion", region)
    return found.url.rstrip("/"), region, scheme["signingName"]


def cases() -> Iterator[tuple[str, str, frozenset[EndpointVariant], AddressingStyle]]:
    for variants in VARIANTS:
        for region in REGIONS:
            yield "photos", region, variants, "auto"
            yield "photos", region, variants, "path"
        for bucket in BUCKETS[1:]:
            yield bucket, "us-west-2", variants, "auto"
            yield bucket, "cn-north-1", variants, "auto"


@pytest.mark.parametrize("variants", VARIANTS, ids=lambda chosen: "+".join(sorted(chosen)))
def test_an_endpoint_is_that_of_the_rules_or_refused_as_by_them(
    variants: frozenset[EndpointVariant],
) -> None:
    compared = 0
    session = open_session(StoreConfig(bucket="photos"))  # once, since it is slow
    for bucket, region, chosen, style in cases():
        if chosen != variants:
            continue
        wanted = by_the_rules(bucket, region, variants, style)
        options: dict[str, Any] = {"endpoint_variants": variants, "addressing_style": style}
        if wanted is None or (style == "path" and ACCELERATE in variants):
            with pytest.raises(SetupError):
                resolved(bucket, region, session, **options)
        else:
            found = resolved(bucket, region, session, **options)
            assert (url_of(found), found.region, found.service) == wanted, (bucket, region)
            compared += 1

    assert (compared == 0) == ({ACCELERATE, FIPS} <= variants)


@pytest.mark.parametrize(
    ("variables", "setting", "url"),
    [
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "", "https://photos.s3.dualstack.us-west-2"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "", "https://photos.s3-fips.us-west-2"),
        ({}, "use_dualstack_endpoint = true", "https://photos.s3.dualstack.us-west-2"),
        ({}, "use_fips_endpoint = true", "https://photos.s3-fips.us-west-2"),
        ({}, "s3 =\n  use_dualstack_endpoint = true", "https://photos.s3.dualstack.us-west-2"),
        ({}, "s3 =\n  use_accelerate_endpoint = true", "https://photos.s3-accelerate"),
        (
            {"AWS_USE_FIPS_ENDPOINT": "true"},
            "use_dualstack_endpoint = true",
            "https://photos.s3-fips.dualstack.us-west-2",
        ),
    ],
)
def test_the_environment_and_the_profile_choose_variants(
    variables: dict[str, str],
    setting: str,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "config").write_text(f"[default]\n{setting}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert url_of(resolved("photos")) == f"{url}.amazonaws.com"


def test_an_option_adds_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    chosen = frozenset((ACCELERATE,))

    assert url_of(resolved("photos", endpoint_variants=chosen)) == (
        "https://photos.s3-accelerate.dualstack.amazonaws.com"
    )


@pytest.mark.parametrize("variants", [{DUALSTACK}, {FIPS}, {ACCELERATE}, {DUALSTACK, FIPS}])
def test_variants_are_served_without_boto3(variants: set[EndpointVariant]) -> None:
    config = StoreConfig(bucket="photos", endpoint_variants=frozenset(variants))

    assert is_native(config, resolved("photos", endpoint_variants=frozenset(variants)))


OWN = {"endpoint_url": "https://oss.example.com"}


@pytest.mark.parametrize(
    ("bucket", "variants", "options", "message"),
    [
        ("photos", {DUALSTACK}, OWN, "dualstack is a host of AWS, --endpoint-url names another"),
        ("photos", {ACCELERATE}, OWN, "accelerate is a host of AWS, --endpoint-url names another"),
        ("photos", {ACCELERATE, FIPS}, {}, "accelerate has no FIPS endpoint"),
        ("photos", {ACCELERATE}, {"path_style": True}, "leave the path style out"),
        ("pho.tos", {ACCELERATE}, {}, "accelerate serves no bucket that is named 'pho.tos'"),
        (ACCESS_POINT, {ACCELERATE}, {}, "an access point has no accelerate endpoint"),
        (MULTI_REGION, {DUALSTACK}, {}, "a multi-region access point has no dualstack endpoint"),
        (OUTPOST, {FIPS}, {}, "an access point of an Outpost has no fips endpoint"),
        (DIRECTORY, {ACCELERATE}, {}, "a directory bucket has no accelerate endpoint"),
    ],
)
def test_an_impossible_combination_says_what_to_leave_out(
    bucket: str, variants: set[EndpointVariant], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SetupError) as caught:
        resolved(bucket, **{"endpoint_variants": frozenset(variants), **options})

    assert str(caught.value).startswith("--endpoint-variant: ")
    assert message in str(caught.value)
    assert " out" in str(caught.value)


def test_a_setting_that_makes_a_combination_impossible_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    with pytest.raises(SetupError, match="leave it or AWS_USE_FIPS_ENDPOINT out"):
        resolved("photos", endpoint_variants=frozenset((ACCELERATE,)))

    with pytest.raises(SetupError, match=r"^AWS_USE_FIPS_ENDPOINT: a multi-region access point"):
        resolved(MULTI_REGION)


def test_a_multi_region_access_point_needs_another_signature() -> None:
    if importlib.util.find_spec("awscrt") is not None:
        endpoint = resolved(MULTI_REGION)
        assert url_of(endpoint) == "https://mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"
        assert not is_native(StoreConfig(bucket=MULTI_REGION), endpoint)
        return
    with pytest.raises(SetupError) as caught:
        resolved(MULTI_REGION)

    assert str(caught.value) == (
        f"bucket {MULTI_REGION!r} needs a signature that takes another package: "
        "pip install 'botocore[crt]'"
    )

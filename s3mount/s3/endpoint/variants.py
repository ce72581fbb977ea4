"""Variants of AWS's endpoints: dual stack, FIPS and accelerate; which combinations have a host.

What chooses a variant is the option, a variable or a setting of the profile; each is named as the
user wrote it. Botocore makes the addresses. It refuses some combinations without saying what to do,
and ignores others.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/transfer-acceleration.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/MultiRegionAccessPointRequests.html
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from s3mount.config import EndpointVariant, StoreConfig
from s3mount.errors import SetupError
from s3mount.s3.endpoint.aws_settings import Profile
from s3mount.s3.endpoint.configuration import Configuration, configured_endpoint

OPTION: Final = "--endpoint-variant"
_SETTINGS: Final = (
    ("use_dualstack_endpoint", ("AWS_USE_DUALSTACK_ENDPOINT",), EndpointVariant.DUALSTACK),
    ("s3.use_dualstack_endpoint", (), EndpointVariant.DUALSTACK),
    ("use_fips_endpoint", ("AWS_USE_FIPS_ENDPOINT",), EndpointVariant.FIPS),
    ("s3.use_accelerate_endpoint", (), EndpointVariant.ACCELERATE),
)
_MULTI_REGION: Final = re.compile(r"arn:[^:]*:s3::.*")
_OUTPOST: Final = re.compile(r"arn:[^:]*:s3-outposts:.*")
_HOST_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def chosen_variants(config: StoreConfig, profile: Profile) -> Mapping[EndpointVariant, str]:
    """Return the variants that are chosen, each with what chooses it."""
    chosen = dict.fromkeys(sorted(config.endpoint_variants), OPTION)
    for key, variables, variant in _SETTINGS:
        setting = profile.find(key, *variables)
        if setting is not None and str(setting.value).lower() == "true":
            chosen.setdefault(variant, setting.where)
    return chosen


def check_variants(config: StoreConfig, configuration: Configuration) -> None:
    """Raise SetupError if the chosen variants have no host for the bucket."""
    chosen = chosen_variants(config, configuration.profile)
    for variant, where in chosen.items():
        problem = next(_problems(config, configuration, variant, where, chosen), None)
        if problem is not None:
            raise SetupError(f"{where}: {problem}", bucket=config.bucket)


def _problems(
    config: StoreConfig,
    configuration: Configuration,
    variant: EndpointVariant,
    where: str,
    chosen: Mapping[EndpointVariant, str],
) -> Iterator[str]:
    """Yield what is against *variant*, which *where* chooses, and what to do."""
    is_accelerate, bucket = variant is EndpointVariant.ACCELERATE, config.bucket
    endpoint = configured_endpoint(config, configuration)
    if endpoint is not None and (is_accelerate or where == OPTION):
        yield f"{variant} is a host of AWS, {endpoint.where} names another: leave one of them out"
    if is_accelerate and EndpointVariant.FIPS in chosen:
        yield f"accelerate has no FIPS endpoint: leave it or {chosen[EndpointVariant.FIPS]} out"
    if _MULTI_REGION.fullmatch(bucket):
        yield f"a multi-region access point has no {variant} endpoint: leave it out"
    if _OUTPOST.fullmatch(bucket):
        yield f"an access point of an Outpost has no {variant} endpoint: leave it out"
    if is_accelerate and config.style == "path":
        yield "accelerate names the bucket in the host: leave the path style out"
    if is_accelerate and bucket.startswith("arn:"):
        yield "an access point has no accelerate endpoint: leave it out, or name the bucket"
    if is_accelerate and bucket.endswith("--x-s3"):
        yield "a directory bucket has no accelerate endpoint: leave it out"
    if is_accelerate and bucket and not _HOST_LABEL.fullmatch(bucket):
        yield (
            f"accelerate serves no bucket that is named {bucket!r}, with other characters than "
            "small letters, digits and dashes: leave it out"
        )

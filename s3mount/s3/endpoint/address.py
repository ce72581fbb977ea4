"""The address of a bucket, or of all buckets: the value, and rules without botocore.

What is returned here equals what botocore resolves; all that is unusual is left to `boto_address`.
tests/property/test_plain_configuration.py compares the two.
"""

import re
from typing import Final

from s3mount.config import AddressingStyle
from s3mount.frozen_dataclass import dataclass

# no access point, no directory bucket ("--x-s3"), no ARN, no bucket of a tenant
_BUCKET: Final = re.compile(r"(?!xn--|.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9](?<!-s3alias)")
_DOTTED: Final = re.compile(r"(?!xn--|.*--)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?<!-s3alias)")
# of AWS's first partition, with names as they have been so far
_AWS_REGION: Final = re.compile(
    r"(?:af|ap|ca|eu|il|me|mx|sa|us)-(?:north|south|east|west|central)(?:east|west)?-[1-9]"
)
_GLOBAL_REGION: Final = "us-east-1"
_OTHER_REGION: Final = re.compile(r"(?!.*fips|.*global|s3-)[a-z0-9](?:[a-z0-9-]{0,40}[a-z0-9])?")
# host names and IPv4 addresses, with a port; no path
_LABEL: Final = r"(?!xn--)[a-z0-9](?:[a-z0-9-]{0,40}[a-z0-9])?"
_URL: Final = re.compile(
    rf"(https?)://(?!.*amazonaws)({_LABEL}(?:\.{_LABEL}){{0,8}})"
    r"(:(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}))?/?"
)
_ADDRESS: Final = re.compile(r"[0-9.]+")


@dataclass(frozen=True, slots=True)
class Address:
    """Destination and signature of a request to the bucket; *signature* as in `Endpoint`."""

    url: str
    region: str
    service: str
    signature: str


def usual_address(
    bucket: str, endpoint_url: str | None, *, region: str, style: AddressingStyle, signs: bool
) -> Address | None:
    """Return the address of *bucket* at *endpoint_url*, None for AWS's own; None if unusual.

    Without a *bucket* it is that of requests about all of them.
    """
    if not bucket:
        url = _service_url(endpoint_url, region)
    elif endpoint_url is None:
        url = _aws_url(bucket, region, style)
    else:
        url = _own_url(bucket, endpoint_url, region, style)
    return None if url is None else Address(url, region, "s3", "v4" if signs else "none")


def _service_url(endpoint_url: str | None, region: str) -> str | None:
    if endpoint_url is None:
        is_usual = _AWS_REGION.fullmatch(region) is not None
        return f"https://{_aws_host(region)}/" if is_usual else None
    match = _URL.fullmatch(endpoint_url)
    if match is None or _OTHER_REGION.fullmatch(region) is None:
        return None
    return f"{match[1]}://{match[2]}{match[3] or ''}/"


def _aws_host(region: str) -> str:
    """Return S3's host; it signs for us-east-1 at the global one, as botocore has it."""
    return "s3.amazonaws.com" if region == _GLOBAL_REGION else f"s3.{region}.amazonaws.com"


def _aws_url(bucket: str, region: str, style: AddressingStyle) -> str | None:
    if _BUCKET.fullmatch(bucket) is None or _AWS_REGION.fullmatch(region) is None:
        return None
    host = _aws_host(region)
    return f"https://{host}/{bucket}" if style == "path" else f"https://{bucket}.{host}/"


def _own_url(bucket: str, endpoint_url: str, region: str, style: AddressingStyle) -> str | None:
    match = _URL.fullmatch(endpoint_url)
    if match is None or _OTHER_REGION.fullmatch(region) is None:
        return None
    scheme, host, port = match[1], match[2], match[3] or ""
    if style == "virtual":
        if _BUCKET.fullmatch(bucket) is None or _ADDRESS.fullmatch(host):
            return None
        return f"{scheme}://{bucket}.{host}{port}/"
    return f"{scheme}://{host}{port}/{bucket}" if _DOTTED.fullmatch(bucket) else None

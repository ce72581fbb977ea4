"""The address of a bucket: the value, and the rules for usual endpoints, without botocore.

What is returned here equals what botocore resolves; all that is unusual is left to `boto_address`.
tests/property/test_plain_configuration.py compares the two.
"""

import re
from dataclasses import dataclass
from typing import Final

from s3mount.config import AddressingStyle

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
    """Return the address of *bucket* at *endpoint_url*, None for AWS's own; None if unusual."""
    if endpoint_url is None:
        url = _aws_url(bucket, region, style)
    else:
        url = _own_url(bucket, endpoint_url, region, style)
    return None if url is None else Address(url, region, "s3", "v4" if signs else "none")


def _aws_url(bucket: str, region: str, style: AddressingStyle) -> str | None:
    if _BUCKET.fullmatch(bucket) is None or _AWS_REGION.fullmatch(region) is None:
        return None
    # S3 signs for us-east-1 at its global host, which botocore uses for virtual hosts, too
    host = "s3.amazonaws.com" if region == _GLOBAL_REGION else f"s3.{region}.amazonaws.com"
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

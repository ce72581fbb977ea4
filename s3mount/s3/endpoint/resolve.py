"""The endpoint of a bucket: address, signature, credentials, TLS and proxy, by botocore's rules.

Without a bucket it is that of requests about all buckets of the account.

Sends nothing. Credentials come from boto3's chain only; they are in no message and in no `repr`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Literal
from urllib.parse import SplitResult, quote, urlsplit

from s3mount.config import AddressingStyle, StoreConfig
from s3mount.errors import SetupError
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.endpoint.address import Address, usual_address
from s3mount.s3.endpoint.configuration import (
    USER_AGENT,
    Configuration,
    configured_ca_bundle,
    configured_endpoint,
)
from s3mount.s3.endpoint.credentials import Credentials
from s3mount.s3.endpoint.plain_configuration import PlainConfiguration
from s3mount.s3.endpoint.proxy import proxy_for
from s3mount.s3.tcp_connect import ChooseAddresses

CONNECT_TIMEOUT = 10.0  # seconds; resolv.conf(5) asks the second name server after 5
LONGEST_WAIT = 86_400.0  # seconds, in effect for ever; poll(2) takes no more than 24 days


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """All that is needed to send a request to one bucket.

    A request for *key* goes to `{scheme}://{host}:{port}{base_path}/{quoted key}`. *base_path* is
    "" or "/bucket", quoted already, after the path of an endpoint URL. *headers* are sent and
    signed with every request (requester pays, expected owner). *proxy* is a URL. *signature* is
    "v4", "none", or another that only botocore can make. An attempt fails after *connect_timeout*
    seconds without a TCP connection. It fails after *idle_timeout* seconds without TLS, without the
    header of a response, or without a byte of its body. *keys_over_http*: customer keys (SSE-C) may
    be sent over plain HTTP, and connections lead to loopback addresses only.
    """

    bucket: str
    scheme: Literal["http", "https"]
    host: str
    port: int
    base_path: str
    region: str
    credentials: Credentials = field(repr=False)
    service: str = "s3"  # the signing name
    signature: str = "v4"
    # names in lower case
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ca_bundle: str | None = None  # None: the system's, see `tls`
    verify_ssl: bool = True
    requests_checksums: bool = True  # unless botocore's configuration says "when_required"
    proxy: str | None = field(default=None, repr=False)  # may contain a password
    style: AddressingStyle = "auto"  # as the bucket was named, or may be named
    user_agent: str = USER_AGENT
    connect_timeout: float = CONNECT_TIMEOUT
    idle_timeout: float = 30.0
    keys_over_http: bool = False
    named_by: str = "--endpoint-url"  # the option, variable or setting to change, for messages

    @property
    def host_header(self) -> str:
        """The Host header: without the port if it is the default of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.port == {"http": 80, "https": 443}[self.scheme]
        return host if is_default else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and host, for messages."""
        return f"{self.scheme}://{self.host_header}"

    @property
    def service_url(self) -> str:
        """Scheme, host, and the path that an endpoint URL has before the bucket.

        Two of one host with other paths are other stores, in which one name is other buckets.
        """
        is_in_path = not self.host.startswith(f"{self.bucket}.")
        bucket = f"/{quote(self.bucket, safe='')}" if is_in_path else ""
        return f"{self.origin}{self.base_path.removesuffix(bucket)}"


def supports_native(endpoint: Endpoint) -> bool:
    """Whether the native transport can reach it: plain SigV4, directly or by an HTTP proxy."""
    return endpoint.signature in ("v4", "none") and (
        endpoint.proxy is None or endpoint.proxy.startswith("http://")
    )


ResolveAddress = Callable[[StoreConfig, Configuration, str], Address]
"""Makes the address of a bucket in a region by botocore's own rules; see `boto_address`."""


def allowed_addresses(endpoint: Endpoint) -> ChooseAddresses | None:
    """Return what chooses the addresses to connect to; None for any of them."""
    if not endpoint.keys_over_http:
        return None
    from s3mount.s3.endpoint.key_protection import loopback_addresses  # noqa: PLC0415 - rare

    return loopback_addresses


def resolve_endpoint(
    config: StoreConfig,
    configuration: Configuration,
    *,
    region: str,
    credentials: Credentials,
    by_botocore: ResolveAddress | None = None,
) -> Endpoint:
    """Resolve the endpoint. Raises SetupError if a bucket, an endpoint or a proxy is unusable.

    *by_botocore* resolves unusual addresses of many buckets, for less than one by one.
    """
    address = _address(config, configuration, region, by_botocore)
    setting = configured_endpoint(config, configuration)
    ca_bundle = configured_ca_bundle(config, configuration)
    parts = urlsplit(address.url)
    _check_style(config, parts)
    scheme: Literal["http", "https"] = "http" if parts.scheme == "http" else "https"
    return Endpoint(
        bucket=config.bucket,
        scheme=scheme,
        host=parts.hostname or "",
        port=parts.port or {"http": 80, "https": 443}[scheme],
        base_path=parts.path.rstrip("/"),
        region=address.region,
        service=address.service,
        signature=address.signature,
        credentials=credentials,
        style=config.style,
        headers=MappingProxyType(_common_headers(config)),
        ca_bundle=str(ca_bundle.value) if ca_bundle else None,
        verify_ssl=config.verify_ssl,
        requests_checksums=not _is_when_required(configuration),
        proxy=proxy_for(address.url),
        connect_timeout=_connect_timeout(config),
        idle_timeout=_idle_timeout(config),
        keys_over_http=_sends_keys_over_http(config, scheme),
        named_by=setting.where if setting else "--endpoint-url",
    )


def _address(
    config: StoreConfig,
    configuration: Configuration,
    region: str,
    by_botocore: ResolveAddress | None,
) -> Address:
    if isinstance(configuration, PlainConfiguration) and not config.endpoint_variants:
        setting = configured_endpoint(config, configuration)
        usual = usual_address(
            config.bucket,
            str(setting.value) if setting else None,
            region=region,
            style=config.style,
            signs=config.sign_requests,
        )
        if usual is not None:
            return usual
    if by_botocore is not None:
        return by_botocore(config, configuration, region)
    # half of a start's time, for what few mounts need
    from s3mount.s3.endpoint.boto_address import botocore_address  # noqa: PLC0415

    return botocore_address(config, configuration, region)


def _connect_timeout(config: StoreConfig) -> float:
    """Half of the time limit at most: after an attempt without a response, another has time."""
    default = min(CONNECT_TIMEOUT, config.timeout / 2)
    return min(config.connect_timeout or default, LONGEST_WAIT)


def _idle_timeout(config: StoreConfig) -> float:
    return min(config.idle_timeout or config.timeout / 2, LONGEST_WAIT)


def _sends_keys_over_http(config: StoreConfig, scheme: str) -> bool:
    return scheme == "http" and config.sse_c_allow_http and bool(config.sse_c_key_files)


def _check_style(config: StoreConfig, url: SplitResult) -> None:
    """Raise SetupError if the bucket is to be named in the host of *url*, and cannot be."""
    bucket, host = config.bucket, url.netloc
    if config.is_account:
        if config.style == "virtual" and _is_address(host):
            raise SetupError(
                f"buckets cannot be named in the host of {url.scheme}://{host}: "
                "an address has no names below it; use --addressing-style path"
            )
        return
    rest = host.lower().removeprefix(f"{bucket.lower()}.")
    is_of_address = rest != host.lower() and _is_address(rest)
    if not is_of_address and (config.style != "virtual" or bucket.startswith("arn:")):
        return
    if is_of_address or _is_address(host):
        reason = "an address has no names below it"
    elif rest != host.lower():
        return
    elif "." in bucket and url.scheme == "https":
        reason = "no certificate of a store is for a bucket with dots"
    else:
        reason = "no host can have its name"
    raise SetupError(
        f"bucket {bucket!r} cannot be named in the host of {url.scheme}://{rest}: {reason}; "
        "use --addressing-style path",
        bucket=bucket,
    )


def _is_address(netloc: str) -> bool:
    return re.fullmatch(r"(\[.*\]|[0-9.]+)(:[0-9]*)?", netloc) is not None


def _is_when_required(configuration: Configuration) -> bool:
    """Whether AWS_RESPONSE_CHECKSUM_VALIDATION, or the profile, wants no checksum of responses."""
    return (configuration.setting("response_checksum_validation") or "").lower() == "when_required"


def _common_headers(config: StoreConfig) -> dict[str, str]:
    """Return what goes with every request; to the list of all buckets, nothing does."""
    headers: dict[str, str] = {}
    if config.is_account:
        return headers
    if config.requester_pays:
        headers["x-amz-request-payer"] = "requester"
    if config.expected_bucket_owner is not None:
        headers["x-amz-expected-bucket-owner"] = config.expected_bucket_owner
    return headers

"""Where and as whom the bucket is reached: from a StoreConfig to a Endpoint, and to a boto3 client.

Credentials come from boto3's whole chain and from nowhere else; they are in no message and in no `repr`. Sends nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

import boto3.session
import botocore
import botocore.config
import botocore.session
from botocore import exceptions
from botocore.utils import parse_timestamp

from s3mount import __version__
from s3mount.config import StoreConfig
from s3mount.errors import SetupError
from s3mount.s3.endpoint.credential_source import ChainSource
from s3mount.s3.endpoint.credentials import (
    BotoCredentialAdapter,
    CredentialChain,
    Credentials,
    FrozenCredentials,
)
from s3mount.s3.endpoint.tls import proxy_for

__all__ = [
    "Endpoint",
    "FrozenCredentials",
    "Session",
    "credential_chain",
    "open_client",
    "open_session",
    "resolved_store",
    "standing_parameters",
    "supports_native",
]

USER_AGENT = f"s3mount/{__version__}"
FIRST_GUESS = "us-east-1"  # where a bucket of no known region is asked for first; what private stores sign with
CONNECT_LIMIT = 5.0  # seconds
IDLE_LIMIT = 15.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """All that is needed to send a request to one bucket, with the choices made.

    A request for *key* goes to `{scheme}://{host}:{port}{base_path}/{quoted key}`; *base_path* is "" or "/bucket", quoted
    already, with an endpoint's own path before it. *headers* go with every request, and are signed (requester pays, expected
    owner). *credentials* are asked before each request. *proxy* is a URL.
    *signature*: "v4", "none", or another that only botocore can make. An attempt has failed when it has no connection within
    *connect_timeout* seconds, or no byte for *idle_timeout*.
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
    headers: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({})
    )  # names in lower case
    ca_bundle: str | None = None  # None: this machine's, see `trust`
    verify_ssl: bool = True
    proxy: str | None = field(default=None, repr=False)  # may hold a password
    user_agent: str = USER_AGENT
    connect_timeout: float = CONNECT_LIMIT
    idle_timeout: float = IDLE_LIMIT

    @property
    def host_header(self) -> str:
        """The Host header: the port is named unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.port == {"http": 80, "https": 443}[self.scheme]
        return host if is_default else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and host, as messages name the store."""
        return f"{self.scheme}://{self.host_header}"


def supports_native(store: Endpoint) -> bool:
    """Whether plain SigV4 reaches *store*, directly or through a proxy that is spoken to in clear; the rest is boto3's."""
    return store.signature in ("v4", "none") and (
        store.proxy is None or store.proxy.startswith("http://")
    )


@dataclass(frozen=True, slots=True)
class Session:
    """boto3's session, and botocore's below it, which has the joints."""

    above: boto3.session.Session
    below: Any

    def setting(self, name: str) -> str | None:
        """What environment and profile say of *name*, one of botocore's configuration variables."""
        value: str | None = self.below.get_config_variable(name)
        return value


def open_session(config: StoreConfig) -> Session:
    """A session of the profile, with no credentials looked up. SetupError where its configuration is wrong."""
    session = botocore.session.Session(profile=config.profile)
    session.get_component("response_parser_factory").set_parser_defaults(
        timestamp_parser=quick_timestamp
    )
    if config.ca_bundle is not None:
        session.set_config_variable(
            "ca_bundle", str(config.ca_bundle)
        )  # for token services behind the same proxy too
    try:
        session.get_scoped_config()
    except exceptions.ProfileNotFound as exc:
        raise SetupError(_no_such_profile(session)) from exc
    except (exceptions.ConfigParseError, UnicodeDecodeError) as exc:
        raise SetupError(
            "the AWS configuration (~/.aws/config, ~/.aws/credentials) cannot be read: malformed"
        ) from exc
    return Session(boto3.session.Session(botocore_session=session), session)


def credential_chain(config: StoreConfig) -> CredentialChain:
    """The credentials of the profile; nothing is looked up yet. To be closed."""
    return CredentialChain(
        ChainSource(lambda: open_session(config).below), sign=config.sign_requests
    )


def open_client(
    config: StoreConfig,
    session: Session,
    *,
    region: str,
    credentials: Callable[[], FrozenCredentials],
) -> Any:
    """A boto3 client that asks once, checks no parameter, and signs with *credentials*.

    SetupError where a bucket or endpoint cannot be addressed.
    """
    _check_endpoint(config.endpoint_url)
    session.below.register_component(
        "credential_provider", BotoCredentialAdapter(credentials if config.sign_requests else None)
    )
    session.below._credentials = None  # noqa: SLF001 - else those of the session's first client, which it keeps
    try:
        client = session.above.client(
            "s3",
            region_name=region,
            endpoint_url=config.endpoint_url,
            config=_client_config(config),
        )
    except (ValueError, exceptions.BotoCoreError) as exc:
        raise _no_such_place(config, region, exc) from exc
    client.meta.events.register_first("needs-retry.s3", _never)
    client.meta.events.register("before-call.s3", _never_redirect)
    return client


def resolved_store(
    config: StoreConfig,
    session: Session,
    *,
    region: str,
    credentials: Credentials,
) -> Endpoint:
    """What botocore's rules make of *config*: learnt from the request that it would send. SetupError as `open_client`."""
    seen = _learn(
        config, open_client(config, session, region=region, credentials=_nothing_is_signed)
    )
    parts = urlsplit(seen.url)
    scheme: Literal["http", "https"] = "http" if parts.scheme == "http" else "https"
    return Endpoint(
        bucket=config.bucket,
        scheme=scheme,
        host=parts.hostname or "",
        port=parts.port or {"http": 80, "https": 443}[scheme],
        base_path=parts.path.rstrip("/"),
        region=seen.region,
        service=seen.service,
        signature=seen.signature,
        credentials=credentials,
        headers=MappingProxyType(_standing_headers(config)),
        ca_bundle=session.setting("ca_bundle"),
        verify_ssl=config.verify_ssl,
        proxy=proxy_for(seen.url),
        # half: a slow answer may take its time, and behind one that never comes there is time for another attempt
        connect_timeout=min(CONNECT_LIMIT, config.timeout / 2),
        idle_timeout=min(IDLE_LIMIT, config.timeout / 2),
    )


def standing_parameters(config: StoreConfig) -> dict[str, str]:
    """What each of botocore's calls is given besides its question."""
    parameters = {"Bucket": config.bucket}
    if config.requester_pays:
        parameters["RequestPayer"] = "requester"
    if config.expected_bucket_owner is not None:
        parameters["ExpectedBucketOwner"] = config.expected_bucket_owner
    return parameters


def quick_timestamp(value: Any) -> datetime:
    """What botocore's own parser makes of *value*, without dateutil for ISO 8601: that costs more than all else of a page."""
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        try:
            parsed = parse_timestamp(value)
        except (RuntimeError, ArithmeticError) as exc:  # of a number that is no moment
            raise ValueError("no timestamp") from exc
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _standing_headers(config: StoreConfig) -> dict[str, str]:
    headers = {}
    if config.requester_pays:
        headers["x-amz-request-payer"] = "requester"
    if config.expected_bucket_owner is not None:
        headers["x-amz-expected-bucket-owner"] = config.expected_bucket_owner
    return headers


def _client_config(config: StoreConfig) -> Any:
    return botocore.config.Config(
        signature_version=None if config.sign_requests else botocore.UNSIGNED,
        user_agent=USER_AGENT,
        parameter_validation=False,
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if config.path_style else None,
    )


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a request was about to go, and how it was about to be signed."""

    url: str
    region: str
    service: str
    signature: str


class _StoppedError(Exception):
    """The way out of a request that is not to be sent."""

    def __init__(self, address: _Address) -> None:
        super().__init__()
        self.address = address


def _nothing_is_signed() -> FrozenCredentials:
    raise AssertionError("a request was signed that is not to be sent")


def _learn(config: StoreConfig, client: Any) -> _Address:
    client.meta.events.register("before-sign.s3.ListObjectsV2", _stop_before_signing)
    try:
        client.list_objects_v2(**standing_parameters(config))
    except _StoppedError as stopped:
        return stopped.address
    except exceptions.MissingDependencyException as exc:
        message = f"bucket {config.bucket!r} needs a signature that takes another package: pip install 'botocore[crt]'"
        raise SetupError(message, bucket=config.bucket) from exc
    except (ValueError, exceptions.BotoCoreError) as exc:
        raise _no_such_place(config, client.meta.region_name, exc) from exc
    raise AssertionError("a request was sent that nobody signed")


def _stop_before_signing(
    *, request: Any, region_name: str, signing_name: str, signature_version: Any, **_: Any
) -> None:
    context = request.context.get("signing", {})
    names = {"s3v4": "v4", botocore.UNSIGNED: "none"}
    raise _StoppedError(
        _Address(
            url=request.url,
            region=context.get("region", region_name),
            service=context.get("signing_name", signing_name),
            signature=names.get(signature_version, signature_version),
        )
    )


def _never(**_: Any) -> bool:
    """No second attempt inside of botocore: `remote` decides."""
    return False


def _never_redirect(*, context: dict[str, Any], **_: Any) -> None:
    """No search for another region either: `probe` does that. botocore's asks HEAD for each, and for the answer to that again."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _no_such_profile(session: Any) -> str:
    known = ", ".join(repr(name) for name in session.available_profiles) or "none"
    return f"no profile {session.profile!r} in the AWS configuration (profiles there: {known})"


def _check_endpoint(url: str | None) -> None:
    if url is None:
        return
    if "@" in url:
        raise SetupError(
            "the endpoint's URL holds a user name or a password: credentials belong in a profile or the environment"
        )
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port out of range, half an IPv6 address
        is_sound = False
    if not is_sound or any(c.isspace() for c in url):
        raise SetupError(
            f"the endpoint {url!r} is no address of a server: http://HOST[:PORT] or https://HOST[:PORT] is needed"
        )


def _no_such_place(config: StoreConfig, region: str, exc: Exception) -> SetupError:
    if isinstance(exc, exceptions.InvalidRegionError):
        message = f"{region!r} is not the name of a region"
    elif isinstance(exc, exceptions.ParamValidationError):
        message = f"no bucket can be named {config.bucket!r}: check how it is spelt"
    else:
        message = f"bucket {config.bucket!r} in region {region!r} cannot be addressed ({type(exc).__name__}): check both names"
    return SetupError(message, bucket=config.bucket)

"""boto3 sessions and clients of one mount: profile, configuration, credentials, no retries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3.session
import botocore
import botocore.config
import botocore.session
from botocore import exceptions
from botocore.handlers import validate_bucket_name

from s3mount import __version__
from s3mount.config import StoreConfig
from s3mount.errors import SetupError
from s3mount.s3.endpoint.credentials import BotoCredentialAdapter, FrozenCredentials

USER_AGENT = f"s3mount/{__version__}"


@dataclass(frozen=True, slots=True)
class Session:
    """A session of boto3, *above*, and the session of botocore that it wraps, *below*."""

    above: boto3.session.Session
    below: Any

    def setting(self, name: str) -> str | None:
        """Return botocore's configuration variable *name*, from the environment or the profile."""
        value: str | None = self.below.get_config_variable(name)
        return value


def open_session(config: StoreConfig) -> Session:
    """Open a session of the profile; no credentials are looked up.

    Raises SetupError if the AWS configuration is wrong.
    """
    session = botocore.session.Session(profile=config.profile)
    if config.ca_bundle is not None:  # also for token services behind the same proxy
        session.set_config_variable("ca_bundle", str(config.ca_bundle))
    try:
        session.get_scoped_config()
    except exceptions.ProfileNotFound as exc:
        raise SetupError(_no_such_profile(session)) from exc
    except (exceptions.ConfigParseError, UnicodeDecodeError) as exc:
        raise SetupError(
            "the AWS configuration (~/.aws/config, ~/.aws/credentials) cannot be read: malformed"
        ) from exc
    return Session(boto3.session.Session(botocore_session=session), session)


def open_client(
    config: StoreConfig,
    session: Session,
    *,
    region: str,
    credentials: Callable[[], FrozenCredentials],
) -> Any:
    """Return a boto3 client that sends a request once and validates no parameter.

    *credentials* sign its requests. Raises SetupError if a bucket or endpoint cannot be addressed.
    """
    _check_endpoint_url(config.endpoint_url)
    session.below.register_component(
        "credential_provider", BotoCredentialAdapter(credentials if config.sign_requests else None)
    )
    # else it keeps the credentials of the session's first client
    session.below._credentials = None  # noqa: SLF001
    try:
        client = session.above.client(
            "s3",
            region_name=region,
            endpoint_url=config.endpoint_url,
            config=_client_config(config, session),
        )
    except (ValueError, exceptions.BotoCoreError) as exc:
        raise not_addressable(config, region, exc) from exc
    client.meta.events.register_first("needs-retry.s3", _never_retry)
    client.meta.events.register("before-call.s3", _never_redirect)
    if is_of_tenant(config.bucket):
        client.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    return client


def common_parameters(config: StoreConfig) -> dict[str, str]:
    """Return the parameters that every call of a client needs."""
    parameters = {"Bucket": config.bucket}
    if config.requester_pays:
        parameters["RequestPayer"] = "requester"
    if config.expected_bucket_owner is not None:
        parameters["ExpectedBucketOwner"] = config.expected_bucket_owner
    return parameters


def is_of_tenant(bucket: str) -> bool:
    """Whether *bucket* is TENANT:BUCKET, as Ceph names the buckets of others."""
    return ":" in bucket and not bucket.startswith("arn:")


def not_addressable(config: StoreConfig, region: str, exc: Exception) -> SetupError:
    """Return the error for a bucket or region that botocore makes no address of."""
    if isinstance(exc, exceptions.InvalidRegionError):
        message = f"{region!r} is not the name of a region"
    elif isinstance(exc, exceptions.ParamValidationError):
        message = f"no bucket can be named {config.bucket!r}: check its spelling"
    else:
        message = (
            f"bucket {config.bucket!r} in region {region!r} cannot be addressed "
            f"({type(exc).__name__}): check both names"
        )
    return SetupError(message, bucket=config.bucket)


def _client_config(config: StoreConfig, session: Session) -> Any:
    style = config.style
    return botocore.config.Config(
        signature_version=_signature(session) if config.sign_requests else botocore.UNSIGNED,
        user_agent=USER_AGENT,
        parameter_validation=False,
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # None: the profile may say something
        s3={"addressing_style": style} if style != "auto" else None,
    )


def _signature(session: Session) -> str | None:
    """Return "s3", the old signature, if the profile demands it; botocore itself ignores that."""
    settings = session.below.get_scoped_config().get("s3")
    is_old = isinstance(settings, dict) and settings.get("signature_version") == "s3"
    return "s3" if is_old else None


def _never_retry(**_: Any) -> bool:
    """`remote_store` retries, not botocore."""
    return False


def _never_redirect(*, context: dict[str, Any], **_: Any) -> None:
    """`bucket_check` finds the region; botocore would send a HEAD for each error, and recurse."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _no_such_profile(session: Any) -> str:
    known = ", ".join(repr(name) for name in session.available_profiles) or "none"
    return f"no profile {session.profile!r} in the AWS configuration (profiles there: {known})"


def _check_endpoint_url(url: str | None) -> None:
    if url is None:
        return
    if "@" in url:
        raise SetupError(
            "the URL of the endpoint contains a user name or a password: "
            "credentials belong in a profile or the environment"
        )
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port out of range, half an IPv6 address
        is_valid = False
    if not is_valid or any(c.isspace() for c in url):
        raise SetupError(
            f"the endpoint {url!r} is not the address of a server: "
            "http://HOST[:PORT] or https://HOST[:PORT] is needed"
        )

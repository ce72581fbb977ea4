"""boto3 sessions and clients of one mount: profile, configuration, credentials, no retries."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3.session
import botocore
import botocore.config
import botocore.session
from botocore import exceptions
from botocore.handlers import validate_bucket_name

from s3mount.config import EndpointVariant, StoreConfig
from s3mount.errors import SetupError
from s3mount.frozen_dataclass import dataclass
from s3mount.printable import printable
from s3mount.s3.endpoint.aws_files import check_files, file_problems, malformed
from s3mount.s3.endpoint.aws_settings import (
    Profile,
    check_services,
    check_settings,
    region_setting,
)
from s3mount.s3.endpoint.configuration import (
    USER_AGENT,
    check_endpoint_url,
    configured_endpoint,
)
from s3mount.s3.endpoint.credentials import BotoCredentialAdapter, FrozenCredentials
from s3mount.s3.endpoint.variants import chosen_variants


@dataclass(frozen=True, slots=True)
class Session:
    """`Configuration` by botocore: a session of boto3, *above*, and the one it wraps, *below*."""

    above: boto3.session.Session
    below: Any

    @property
    def profile(self) -> Profile:
        return Profile(self.below.profile or "default", self.below.get_scoped_config())

    @property
    def services(self) -> Mapping[str, Any]:
        services: Mapping[str, Any] = self.below.full_config.get("services", {})
        return services

    def setting(self, name: str) -> str | None:
        with unknown_failures_named():
            value: str | None = self.below.get_config_variable(name)
        return value


def open_session(config: StoreConfig) -> Session:
    """Open a session of the profile; no credentials are looked up.

    Raises SetupError if the AWS configuration is wrong, with the name of what is.
    """
    session = botocore.session.Session(profile=config.profile)
    if config.ca_bundle is not None:  # also for token services behind the same proxy
        session.set_config_variable("ca_bundle", str(config.ca_bundle))
    check_files()
    with unknown_failures_named():
        try:
            profile = Profile(session.profile or "default", session.get_scoped_config())
        except exceptions.ProfileNotFound as exc:
            raise SetupError(_no_such_profile(config, session)) from exc
        except exceptions.ConfigParseError as exc:
            raise SetupError(malformed(str(exc.kwargs["path"]), exc.kwargs["error"])) from exc
        check_settings(profile)
        check_services(profile, session.full_config.get("services", {}))
        region = region_setting(profile)
        if region is not None or config.region is not None:  # also for token services
            session.set_config_variable("region", region.value if region else config.region)
        return Session(boto3.session.Session(botocore_session=session), session)


@contextmanager
def unknown_failures_named() -> Iterator[None]:
    """Raise SetupError for an exception of botocore that nothing else gives a name.

    Around calls of botocore that only read the configuration: no bug of ours raises there.
    """
    try:
        yield
    except SetupError:
        raise
    except Exception as exc:  # botocore raises anything, a ValueError too
        raise SetupError(
            f"the AWS configuration is not usable ({type(exc).__name__}): "
            "check the variables AWS_* and ~/.aws/config"
        ) from exc


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
    endpoint_url = configured_endpoint(config, session)
    if endpoint_url is not None:
        check_endpoint_url(str(endpoint_url.value), endpoint_url.where)
    session.below.register_component(
        "credential_provider", BotoCredentialAdapter(credentials if config.sign_requests else None)
    )
    # else it keeps the credentials of the session's first client
    session.below._credentials = None  # noqa: SLF001
    with unknown_failures_named():
        try:
            client = session.above.client(
                "s3",
                region_name=region,
                endpoint_url=config.endpoint_url,
                config=_client_config(config, session),
            )
        except (ValueError, exceptions.BotoCoreError) as exc:
            raise not_addressable(config, session, region, exc) from exc
    client.meta.events.register_first("needs-retry.s3", _never_retry)
    client.meta.events.register("before-call.s3", _never_redirect)
    if is_of_tenant(config.bucket):
        client.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    return client


def common_parameters(config: StoreConfig) -> dict[str, str]:
    """Return the parameters that every call of a client needs; none of a call about all buckets."""
    if config.is_account:
        return {}
    parameters = {"Bucket": config.bucket}
    if config.requester_pays:
        parameters["RequestPayer"] = "requester"
    if config.expected_bucket_owner is not None:
        parameters["ExpectedBucketOwner"] = config.expected_bucket_owner
    return parameters


def is_of_tenant(bucket: str) -> bool:
    """Whether *bucket* is TENANT:BUCKET, as Ceph names the buckets of others."""
    return ":" in bucket and not bucket.startswith("arn:")


def not_addressable(
    config: StoreConfig, session: Session, region: str, exc: Exception
) -> SetupError:
    """Return the error for a bucket or region that botocore makes no address of."""
    what = f"bucket {config.bucket!r}" if config.bucket else "the list of buckets"
    if isinstance(exc, exceptions.InvalidRegionError):
        message = f"{region!r} is not the name of a region"
    elif isinstance(exc, exceptions.ParamValidationError):
        message = f"no bucket can be named {config.bucket!r}: check its spelling"
    elif isinstance(exc, exceptions.InvalidConfigError):  # it holds names of the configuration
        problem = printable(str(exc.kwargs.get("error_msg")), 200)
        message = f"profile {session.profile.name!r} in ~/.aws/config: {problem}"
    elif isinstance(exc, exceptions.DataNotFoundError):
        message = (
            f"api_versions of profile {session.profile.name!r} has a version that is not known"
        )
    else:
        endpoint = configured_endpoint(config, session)
        settings = [endpoint.where] if endpoint is not None else []
        chosen = chosen_variants(config, session.profile)
        causes = ["both names", *settings, *dict.fromkeys(chosen.values())]
        message = (
            f"{what} in region {region!r} cannot be addressed "
            f"({type(exc).__name__}): check {', and '.join(causes)}"
        )
    return SetupError(message, bucket=config.bucket)


def _client_config(config: StoreConfig, session: Session) -> Any:
    s3: dict[str, object] = {}
    if config.style != "auto":
        s3["addressing_style"] = config.style
    variants = config.endpoint_variants
    if EndpointVariant.ACCELERATE in variants:
        s3["use_accelerate_endpoint"] = True
    return botocore.config.Config(
        signature_version=_signature(session) if config.sign_requests else botocore.UNSIGNED,
        user_agent=USER_AGENT,
        parameter_validation=False,
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # None: the environment or the profile may say something
        use_dualstack_endpoint=EndpointVariant.DUALSTACK in variants or None,
        use_fips_endpoint=EndpointVariant.FIPS in variants or None,
        s3=s3 or None,
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


def _no_such_profile(config: StoreConfig, session: Any) -> str:
    """Return where the name of the profile comes from, and which profiles there are."""
    name = session.profile
    variables = (each for each in ("AWS_DEFAULT_PROFILE", "AWS_PROFILE") if os.environ.get(each))
    where = "--profile" if config.profile is not None else next(variables, "AWS_PROFILE")
    shown = printable(name)
    known = ", ".join(repr(each) for each in session.available_profiles) or "none"
    reasons = "".join(f"; {problem}" for problem in file_problems())
    return (
        f"{where}: there is no profile {printable(repr(name))} in the AWS configuration "
        f"(profiles there: {printable(known)}); it is headed [profile {shown}] in ~/.aws/config, "
        f"and [{shown}] in ~/.aws/credentials{reasons}"
    )

"""Settings for AWS tools that botocore refuses without their names, or misreads.

A value comes from a variable of the environment or from the profile. Each is named as the user
wrote it. What s3mount does not use (retries, checksums of uploads) is not looked at.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from s3mount.errors import SetupError
from s3mount.frozen_dataclass import dataclass
from s3mount.printable import printable

REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")  # see docs/decisions/environment.md
ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_REGION: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)

Problem = Callable[[object], str | None]
"""Says what a value must be; None if it is."""


@dataclass(frozen=True, slots=True)
class Setting:
    """*value*, and *where* it was set: a variable, or a key of the profile."""

    value: object
    where: str


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of a session: its name, and its settings."""

    name: str
    settings: Mapping[str, Any]

    def find(self, key: str, *variables: str) -> Setting | None:
        """Return the value of the first of *variables* that is set, or that of *key*.

        The key `s3.name` is `name` in the section `s3`.
        """
        for variable in variables:
            if value := os.environ.get(variable):
                return Setting(value, variable)
        section, _, name = key.rpartition(".")
        settings = self.settings.get(section) if section else self.settings
        if not isinstance(settings, Mapping) or name not in settings:
            return None
        return Setting(settings[name], f"{key} of profile {self.name!r}")


def drop_empty_variables() -> None:
    """Unset the variables of AWS tools that are empty: an empty variable means nothing is set.

    Botocore takes some of them for a profile, a file or a number. For the start of the process.
    """
    for name in [name for name, value in os.environ.items() if not value]:
        if name.startswith("AWS_") or name == "REQUESTS_CA_BUNDLE":
            del os.environ[name]


def check_settings(profile: Profile) -> None:
    """Raise SetupError for the first setting that cannot be meant."""
    for key, variables, problem in _RULES:
        setting = profile.find(key, *variables)
        if setting is not None and (must := problem(setting.value)) is not None:
            raise SetupError(f"{setting.where}: {_shown(setting.value)} {must}")


def check_services(profile: Profile, services: Mapping[str, Any]) -> None:
    """Refuse a profile that names services that are missing: requests would go to AWS."""
    name = profile.settings.get("services")
    if name is None:
        return
    where = f"services of profile {profile.name!r}"
    if name not in services:
        raise SetupError(f"{where}: there is no section [services {printable(str(name))}]")
    if not isinstance(services[name].get("s3", {}), Mapping):
        raise SetupError(f"{where}: its setting s3 needs indented lines, such as endpoint_url = …")


def region_setting(profile: Profile) -> Setting | None:
    """Return the region of the environment or the profile."""
    return profile.find("region", *REGION_VARIABLES)


def ca_bundle_setting(profile: Profile) -> Setting | None:
    """Return the certificate authorities that are set, in botocore's order."""
    found = profile.find("ca_bundle", "AWS_CA_BUNDLE")
    return found or profile.find("", "REQUESTS_CA_BUNDLE")


def endpoint_setting(profile: Profile, services: Mapping[str, Any]) -> Setting | None:
    """Return the endpoint of S3 that is set, in botocore's order; *services* by their names."""
    if (found := profile.find("", *ENDPOINT_VARIABLES)) is not None:
        return found
    name = profile.settings.get("services")
    service = services.get(name, {}).get("s3", {}) if name is not None else {}
    if url := service.get("endpoint_url"):
        return Setting(url, f"endpoint_url of the section [services {name}]")
    return profile.find("endpoint_url")


def _shown(value: object) -> str:
    return printable(repr(value), 80) if isinstance(value, str) else "the value"


def _choice(*names: str) -> Problem:
    def problem(value: object) -> str | None:
        return None if str(value).lower() in names else f"is not one of {', '.join(names)}"

    return problem


def _number(least: int, most: int) -> Problem:
    def problem(value: object) -> str | None:
        text = str(value)
        is_number = text.isascii() and text.isdigit() and len(text) < 10
        if is_number and least <= int(text) <= most:
            return None
        return f"is not a whole number from {least} to {most}"

    return problem


def _region(value: object) -> str | None:
    if isinstance(value, str) and _REGION.fullmatch(value):
        return None
    return "is not the name of a region: write letters, digits and dashes, as in eu-central-1"


def address_problem(value: object) -> str | None:
    """Say that *value* is no URL of a server; None if it is."""
    try:
        parts = urlsplit(str(value))
        is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        is_valid = is_valid and not parts.query
    except ValueError:  # a port out of range, half an IPv6 address
        is_valid = False
    if is_valid and not any(c.isspace() for c in str(value)):
        return None
    return "is not the address of a server: http://HOST[:PORT] or https://HOST[:PORT] is needed"


def _section(value: object) -> str | None:
    if isinstance(value, Mapping):
        return None
    return "stands where indented lines, name = value, are needed"


_BOOLEAN: Final = _choice("true", "false")
_RULES: Final[tuple[tuple[str, tuple[str, ...], Problem], ...]] = (
    ("s3", (), _section),
    ("api_versions", (), _section),
    ("region", REGION_VARIABLES, _region),
    ("use_fips_endpoint", ("AWS_USE_FIPS_ENDPOINT",), _BOOLEAN),
    ("use_dualstack_endpoint", ("AWS_USE_DUALSTACK_ENDPOINT",), _BOOLEAN),
    ("ignore_configured_endpoint_urls", ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",), _BOOLEAN),
    ("s3_disable_express_session_auth", ("AWS_S3_DISABLE_EXPRESS_SESSION_AUTH",), _BOOLEAN),
    ("s3_use_arn_region", ("AWS_S3_USE_ARN_REGION",), _BOOLEAN),
    ("s3.use_arn_region", (), _BOOLEAN),
    (
        "s3.s3_disable_multiregion_access_points",
        ("AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",),
        _BOOLEAN,
    ),
    ("s3.use_accelerate_endpoint", (), _BOOLEAN),
    ("s3.use_dualstack_endpoint", (), _BOOLEAN),
    ("s3.addressing_style", (), _choice("auto", "virtual", "path")),
    (
        "s3_us_east_1_regional_endpoint",
        ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",),
        _choice("regional", "legacy"),
    ),
    ("s3.us_east_1_regional_endpoint", (), _choice("regional", "legacy")),
    ("sts_regional_endpoints", ("AWS_STS_REGIONAL_ENDPOINTS",), _choice("regional", "legacy")),
    (
        "account_id_endpoint_mode",
        ("AWS_ACCOUNT_ID_ENDPOINT_MODE",),
        _choice("preferred", "disabled", "required"),
    ),
    (
        "defaults_mode",
        ("AWS_DEFAULTS_MODE",),
        _choice("standard", "in-region", "cross-region", "mobile", "auto", "legacy"),
    ),
    (
        "request_min_compression_size_bytes",
        ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",),
        _number(1, 1048576),
    ),
    ("metadata_service_timeout", ("AWS_METADATA_SERVICE_TIMEOUT",), _number(1, 86400)),
    ("metadata_service_num_attempts", ("AWS_METADATA_SERVICE_NUM_ATTEMPTS",), _number(1, 1000)),
    ("ec2_metadata_service_endpoint", ("AWS_EC2_METADATA_SERVICE_ENDPOINT",), address_problem),
    (
        "ec2_metadata_service_endpoint_mode",
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",),
        _choice("ipv4", "ipv6"),
    ),
    ("ec2_metadata_v1_disabled", ("AWS_EC2_METADATA_V1_DISABLED",), _BOOLEAN),
    ("imds_use_ipv6", ("AWS_IMDS_USE_IPV6",), _BOOLEAN),
)

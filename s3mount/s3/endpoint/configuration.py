"""The AWS configuration of one mount, as botocore or `plain_configuration` has read it.

Needs no botocore: that takes longer to import than all the rest of a start.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from s3mount import __version__
from s3mount.config import StoreConfig
from s3mount.errors import SetupError
from s3mount.printable import printable
from s3mount.s3.endpoint.aws_settings import (
    Profile,
    Setting,
    address_problem,
    ca_bundle_setting,
    endpoint_setting,
)

USER_AGENT = f"s3mount/{__version__}"


class Configuration(Protocol):
    """The settings of the environment and of one profile."""

    @property
    def profile(self) -> Profile: ...

    @property
    def services(self) -> Mapping[str, Any]:
        """The sections `[services NAME]` by their names."""
        ...

    def setting(self, name: str) -> str | None:
        """Return botocore's configuration variable *name*, from the environment or the profile."""
        ...


def configured_endpoint(config: StoreConfig, configuration: Configuration) -> Setting | None:
    """Return the URL of the endpoint, and what sets it; None for AWS's own."""
    if config.endpoint_url is not None:
        return Setting(config.endpoint_url, "--endpoint-url")
    if configuration.setting("ignore_configured_endpoint_urls"):
        return None
    return endpoint_setting(configuration.profile, configuration.services)


def configured_ca_bundle(config: StoreConfig, configuration: Configuration) -> Setting | None:
    """Return the file of certificate authorities, and what names it; None for the system's."""
    if config.ca_bundle is not None:
        return Setting(str(config.ca_bundle), "--ca-bundle")
    return ca_bundle_setting(configuration.profile)


def check_endpoint_url(url: str, where: str) -> None:
    """Raise SetupError if *url* is not one of a server, or contains a password."""
    if "@" in url:
        raise SetupError(
            f"{where}: the URL of the endpoint contains a user name or a password: "
            "credentials belong in a profile or the environment"
        )
    if (problem := address_problem(url)) is not None:
        raise SetupError(f"{where}: {printable(repr(url))} {problem}")

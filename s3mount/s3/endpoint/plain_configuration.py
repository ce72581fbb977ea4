"""The AWS configuration without botocore: keys, a region and an endpoint, and nothing unusual.

What is read here equals what botocore reads, which tests/property/test_plain_configuration.py
compares. A variable, a section or a setting that is not listed here is left to botocore, and so is
each mistake: its messages are made at one place.
"""

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from s3mount.config import StoreConfig
from s3mount.errors import SetupError
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.endpoint.aws_files import (
    CONFIG_FILE,
    CREDENTIALS_FILE,
    ConfigurationFile,
    check_files,
)
from s3mount.s3.endpoint.aws_settings import Profile, check_settings, region_setting
from s3mount.s3.endpoint.configuration import Configuration, check_endpoint_url, configured_endpoint
from s3mount.s3.endpoint.credentials import FrozenCredentials

_PROFILE_VARIABLES: Final = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")  # botocore's order
_VARIABLES: Final = frozenset(
    {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_REGION", "AWS_DEFAULT_REGION"),
        *("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", *_PROFILE_VARIABLES),
        *("AWS_CA_BUNDLE", "AWS_EC2_METADATA_DISABLED"),
        *("AWS_DEFAULT_OUTPUT", "AWS_EXECUTION_ENV", "AWS_PAGER"),  # nothing here depends on them
    }
)
_KEYS: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_SETTINGS: Final = frozenset({*_KEYS, "region", "output", "endpoint_url", "ca_bundle"})
_SECTION: Final = re.compile(r"(?:default|profile (?!default$)([A-Za-z0-9._-]+))")
_PART: Final = re.compile(r"[!#-&(-~][!-~]*")  # ASCII without white space, no quotation mark first

Sections = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class PlainConfiguration:
    """`Configuration` of a plain profile; *keys* are None if they come from elsewhere."""

    profile: Profile
    region: str | None
    keys: FrozenCredentials | None = field(repr=False)
    are_from_environment: bool = False  # the keys

    @property
    def services(self) -> Mapping[str, Any]:
        return {}

    def setting(self, name: str) -> str | None:
        return self.region if name == "region" else None


def open_configuration(config: StoreConfig) -> Configuration:
    """Read the configuration; no credentials are looked up. Raises SetupError if it is wrong."""
    check_files()
    plain = read_plain(config)
    if plain is not None:
        return plain
    # half of a start's time, for what few mounts need
    from s3mount.s3.endpoint.boto_session import open_session  # noqa: PLC0415

    return open_session(config)


def read_plain(config: StoreConfig) -> PlainConfiguration | None:
    """Return the configuration; None if it is not plain, or wrong. Blocks as read(2) does."""
    if not all(map(_is_plain_variable, os.environ.items())):
        return None
    names = (config.profile, *map(os.environ.get, _PROFILE_VARIABLES))
    named = next((name for name in names if name is not None), None)
    try:
        return _read(config, named)
    except (_UnusualError, SetupError, configparser.Error, OSError, ValueError):
        return None


class _UnusualError(Exception):
    """The configuration has something that only botocore understands."""


def _is_plain_variable(item: tuple[str, str]) -> bool:
    name, value = item
    return not name.startswith("AWS_") or (name in _VARIABLES and bool(value))


def _read(config: StoreConfig, named: str | None) -> PlainConfiguration:
    ours = {_profile_name(key): values for key, values in _sections(CONFIG_FILE).items()}
    shared = _sections(CREDENTIALS_FILE)
    name = "default" if named is None else named
    if named is not None and name not in ours and name not in shared:
        raise _UnusualError
    settings = {**ours.get(name, {}), **shared.get(name, {})}
    if not settings.keys() <= _SETTINGS or not all(settings.values()):
        raise _UnusualError
    profile = Profile(name, settings)
    check_settings(profile)
    region = region_setting(profile)
    in_files = _keys(shared.get(name, {}), _KEYS) or _keys(ours.get(name, {}), _KEYS)
    # a profile that an option names goes before the variables
    in_environment = (
        None if config.profile is not None else _keys(os.environ, tuple(map(str.upper, _KEYS)))
    )
    found = PlainConfiguration(
        profile,
        str(region.value) if region else config.region,
        in_environment or in_files,
        are_from_environment=in_environment is not None,
    )
    if (endpoint := configured_endpoint(config, found)) is not None:
        check_endpoint_url(str(endpoint.value), endpoint.where)
    return found


def _sections(file: ConfigurationFile) -> Sections:
    """Return the sections of *file* as botocore parses them; none if there is no such file."""
    path = file.path
    if not path.is_file():
        return {}
    parser = configparser.RawConfigParser()
    with path.open() as lines:
        parser.read_file(lines)
    sections = {name: dict(parser.items(name)) for name in parser.sections()}
    is_nested = any(value.startswith("\n") for each in sections.values() for value in each.values())
    if parser.defaults() or is_nested:
        raise _UnusualError
    return sections


def _profile_name(section: str) -> str:
    """Return the profile of a section of the configuration file, or what is no name of one."""
    if not section.startswith("profile"):
        return "default" if section == "default" else f"[{section}]"
    match = _SECTION.fullmatch(section)
    if match is None:
        raise _UnusualError
    return match[1]


def _keys(settings: Mapping[str, str], names: tuple[str, ...]) -> FrozenCredentials | None:
    """Return the keys under *names*; None if there is no access key. Raises if they are odd."""
    key, secret, token = (settings.get(name) for name in names)
    if key is None:
        return None
    parts = [part for part in (key, secret or "", token) if part is not None]
    if not all(map(_PART.fullmatch, parts)):
        raise _UnusualError
    return FrozenCredentials(key, secret or "", token)

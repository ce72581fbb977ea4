"""A configuration file: TOML, flat, with the names of the flags, and `bucket` and `mountpoint`.

Every key is understood or named in a `UsageError`; values of keys that look like credentials are never repeated.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from s3mount.cli.mount_options import parse_mount_options
from s3mount.cli.settings import BY_NAME, OPTIONS, canonical
from s3mount.cli.spelling import Spelled, refuse_secret, spelled
from s3mount.cli.values import suggestion
from s3mount.errors import UsageError

_PLACES = ("bucket", "mountpoint")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says."""

    path: str
    bucket: str | None = None
    mountpoint: str | None = None
    settings: tuple[Spelled, ...] = ()


def read_config_file(path: str) -> ConfigFile:
    """Raises UsageError, which names the file."""
    try:
        text = Path(path).expanduser().read_bytes().decode()
    except OSError as exc:
        raise UsageError(f"--config {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path}: this is no TOML: it is not in UTF-8") from exc
    return parse_config_file(path, text)


def parse_config_file(path: str, text: str) -> ConfigFile:
    """Raises UsageError, which names the file and the key."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{path}: this is no TOML: {exc}{_quoting_hint(text)}") from exc
    values = _canonical_keys(path, table)
    return ConfigFile(
        path,
        _text(path, "bucket", values.pop("bucket", None)),
        _text(path, "mountpoint", values.pop("mountpoint", None)),
        tuple(setting for key, value in values.items() for setting in _settings(path, key, value)),
    )


def _canonical_keys(path: str, table: Mapping[str, object]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in table.items():
        refuse_secret(path, key)
        name = canonical(key)
        if isinstance(value, dict):
            raise UsageError(
                f'{path}: [{key}]: there are no tables here: write all keys at the top, as in region = "us-east-1"'
            )
        if name not in BY_NAME and name not in _PLACES:
            raise UsageError(f"{path}: {key}: there is no such key{suggestion(name, [*BY_NAME, *_PLACES])}")
        if name in values:
            raise UsageError(f"{path}: {key}: it is given twice, with a dash and with an underscore")
        values[name] = value
    return values


def _settings(path: str, key: str, value: object) -> list[Spelled]:
    if BY_NAME[key].kind is not OPTIONS:
        return [spelled(f"{path}: {key}", BY_NAME[key], value)]
    options = value if isinstance(value, list) else [value]
    return [
        setting
        for option in options
        for setting in parse_mount_options(_text(path, key, option) or "", f"{path}: {key}")
    ]


def _text(path: str, key: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UsageError(f'{path}: {key}: write it in quotes, as in {key} = "..."')
    return value


def _quoting_hint(text: str) -> str:
    """The commonest slip: `region = us-east-1`."""
    return "" if '"' in text or "'" in text else '; text needs quotes, as in bucket = "photos"'

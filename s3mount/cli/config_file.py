"""A configuration file: TOML, flat, with the names of the flags, and `bucket` and `mountpoint`.

Every key is understood or named in a `UsageError`; values of keys that look like credentials are never repeated.
"""

import errno
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from s3mount.cli.mount_options import parse_mount_options
from s3mount.cli.option_value import OptionValue, refuse_secret, spelled
from s3mount.cli.options import BY_NAME, OPTIONS, canonical
from s3mount.cli.values import show_size, suggestion
from s3mount.errors import UsageError

FILE_MAX: Final = (
    64 << 10
)  # bytes; every setting takes less than 4 KiB, and tomllib's time grows with the square of a dotted key

_PLACES = ("bucket", "mountpoint")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says."""

    path: str
    bucket: str | None = None
    mountpoint: str | None = None
    settings: tuple[OptionValue, ...] = ()


def read_config_file(path: str) -> ConfigFile:
    """Raises UsageError, which names the file."""
    try:
        text = _read(os.path.expanduser(path)).decode()  # noqa: PTH111 - Path.expanduser raises where there is no home
    except OSError as exc:
        raise UsageError(f"--config {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path}: this is no TOML: it is not in UTF-8") from exc
    except ValueError as exc:
        raise UsageError("--config: a path has no NUL in it") from exc
    return parse_config_file(path, text)


def _read(path: str) -> bytes:
    """Neither waits for a FIFO, nor reads more than a configuration can be. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no Path
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        content = file.read(FILE_MAX + 1)
    if len(content) > FILE_MAX:
        raise OSError(
            errno.EFBIG, f"it is larger than a configuration can be ({show_size(FILE_MAX)})"
        )
    return content


def parse_config_file(path: str, text: str) -> ConfigFile:
    """Raises UsageError, which names the file and the key."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{path}: this is no TOML: {exc}{_quoting_hint(text)}") from exc
    except RecursionError:
        raise UsageError(
            f"{path}: lists and tables are nested too deeply: write all keys at the top"
        ) from None
    except ValueError as exc:  # what tomllib lets through from int and date
        raise UsageError(f"{path}: a number in it is too long, or a date is none") from exc
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
            raise UsageError(
                f"{path}: {key}: there is no such key{suggestion(name, [*BY_NAME, *_PLACES])}"
            )
        if name in values:
            raise UsageError(
                f"{path}: {key}: it is given twice, with a dash and with an underscore"
            )
        values[name] = value
    return values


def _settings(path: str, key: str, value: object) -> list[OptionValue]:
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
    if value is not None and "\0" in value:
        raise UsageError(f"{path}: {key}: there is a NUL in it")
    return value


def _quoting_hint(text: str) -> str:
    """The commonest slip: `region = us-east-1`."""
    return "" if '"' in text or "'" in text else '; text needs quotes, as in bucket = "photos"'

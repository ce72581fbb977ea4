"""Parser of a configuration file: flat TOML, keys as the flags, and `bucket` and `mountpoint`.

A key that is not known is named in a `UsageError`. Values of keys that look like credentials are
never repeated.
"""

import errno
import os
import stat
from collections.abc import Mapping
from typing import Final

from s3mount.cli.mount_options import parse_mount_options
from s3mount.cli.option_types import OPTIONS, REPEATABLE
from s3mount.cli.option_value import OptionValue, parse_value, refuse_secret
from s3mount.cli.options import BY_NAME, canonical
from s3mount.cli.quantities import show_size
from s3mount.cli.words import suggestion
from s3mount.errors import UsageError
from s3mount.frozen_dataclass import dataclass

# bytes; an option takes less than 4 KiB, and tomllib's time is quadratic in the length of a dotted
# key
FILE_MAX: Final = 64 << 10

_PLACES = ("bucket", "mountpoint")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The content of a file."""

    path: str
    bucket: str | None = None
    mountpoint: str | None = None
    values: tuple[OptionValue, ...] = ()


def read_config_file(path: str) -> ConfigFile:
    """Read and parse the file. Raises UsageError, which names it."""
    try:
        expanded = os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises without a home
        text = _read(expanded).decode()
    except OSError as exc:
        raise UsageError(f"--config {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path}: this is not TOML: it is not in UTF-8") from exc
    except ValueError as exc:
        raise UsageError("--config: a path must not contain NUL") from exc
    return parse_config_file(path, text)


def _read(path: str) -> bytes:
    """Read the file, without waiting for a FIFO, and not beyond `FILE_MAX`. Raises OSError."""
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
    import tomllib  # noqa: PLC0415 - most command lines name no file

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{path}: this is not TOML: {exc}{_quoting_hint(text)}") from exc
    except RecursionError:
        raise UsageError(
            f"{path}: lists and tables are nested too deeply: write all keys at the top"
        ) from None
    except ValueError as exc:  # from int and date, which tomllib does not translate
        raise UsageError(f"{path}: a number in it is too long, or a date is invalid") from exc
    raw = _canonical_keys(path, table)
    return ConfigFile(
        path,
        _text(path, "bucket", raw.pop("bucket", None)),
        _text(path, "mountpoint", raw.pop("mountpoint", None)),
        tuple(value for key, each in raw.items() for value in _values(path, key, each)),
    )


def _canonical_keys(path: str, table: Mapping[str, object]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in table.items():
        refuse_secret(path, key)
        name = canonical(key)
        if isinstance(value, dict):
            raise UsageError(
                f"{path}: [{key}]: there are no tables here: write all keys at the top, "
                'as in region = "us-east-1"'
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


def _values(path: str, key: str, raw: object) -> list[OptionValue]:
    option = BY_NAME[key]
    if isinstance(raw, list) and option.type in REPEATABLE and option.type is not OPTIONS:
        return [parse_value(f"{path}: {key}", option, each) for each in raw]
    if option.type is not OPTIONS:
        return [parse_value(f"{path}: {key}", option, raw)]
    words = raw if isinstance(raw, list) else [raw]
    return [
        value
        for word in words
        for value in parse_mount_options(_text(path, key, word) or "", f"{path}: {key}")
    ]


def _text(path: str, key: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UsageError(f'{path}: {key}: write it in quotes, as in {key} = "..."')
    if value is not None and "\0" in value:
        raise UsageError(f"{path}: {key}: it must not contain NUL")
    return value


def _quoting_hint(text: str) -> str:
    """Return a hint for the most common mistake: `region = us-east-1`."""
    return "" if '"' in text or "'" in text else '; text needs quotes, as in bucket = "photos"'

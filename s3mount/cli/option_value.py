"""A setting as somebody spelled it, and the checks that hold wherever it was spelled.

Pure. Whatever is wrong is a `UsageError` that names the place: a flag, a line of a file, an option of a mount.
"""

import re
from typing import Final, NamedTuple

from s3mount.cli.options import MODE, Option
from s3mount.errors import UsageError

# A key that looks like one of these is refused before its value is looked at. `profile` and `ca-bundle` are none.
_SECRET: Final = re.compile(
    r"access[-_]?key|secret|password|passwd|session[-_]?token|credential", re.IGNORECASE
)
_WRITE_BITS: Final = 0o222


class OptionValue(NamedTuple):
    """A value for a setting, and the place where it was written, as an error would name it."""

    where: str
    setting: Option
    value: object


def spelled(where: str, setting: Option, raw: object) -> OptionValue:
    """*raw*, from a flag or a TOML file, read as *setting*; raises UsageError."""
    try:
        value = _read(setting, raw)
    except ValueError as exc:
        raise UsageError(f"{where}: {exc}") from exc
    return OptionValue(where, setting, value is not setting.inverts if setting.is_flag else value)


def refuse_secret(where: str, name: str) -> None:
    """Raise UsageError where *name* is that of a credential."""
    if _SECRET.search(name):
        raise UsageError(
            f"{where}: {name}: credentials are never taken from here; they come from boto3's chain: "
            "the environment, ~/.aws, SSO, or the machine's role"
        )


def _read(setting: Option, raw: object) -> object:
    """Raises ValueError."""
    match raw:
        case bool():
            if not setting.is_flag:
                raise ValueError(
                    f"{str(raw).lower()} is not what it takes: write {setting.kind.metavar}"
                )
            return raw
        case str():
            return setting.kind.parse(raw)
        case int() | float() if setting.kind is MODE:
            return _read_mode(raw)
        case int() | float() if setting.is_flag:
            raise ValueError(f"{raw!r} is neither true nor false")
        case int():
            return setting.kind.parse(str(raw))
        case float():
            return setting.kind.parse(format(raw, "f"))
        case _:
            raise ValueError(
                f"{type(raw).__name__} is not what it takes: write {setting.kind.metavar or 'true or false'}"
            )


def _read_mode(number: float) -> int:
    """TOML's 0o555 arrives as 365, which is right, and a decimal 444 as 444, which is 0o674: told apart by write permission,
    which nobody would ask for here.
    """
    if not isinstance(number, int) or number > 0o777 or number < 0 or number & _WRITE_BITS:
        raise ValueError('write the mode in quotes, in octal, as in "0555"')
    return number

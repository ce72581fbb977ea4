"""The value of an option, and the checks that hold wherever it was written. Pure.

Whatever is wrong is a `UsageError` that names the place: a flag, a line of a file, a mount option.
"""

import re
from typing import Final, NamedTuple

from s3mount.cli.option_types import MASK, MODE
from s3mount.cli.options import Option
from s3mount.errors import UsageError

# A key that looks like one of these is refused before its value is read. `profile` is none.
_SECRET: Final = re.compile(
    r"access[-_]?key|secret|password|passwd|session[-_]?token|credential", re.IGNORECASE
)
_WRITE_BITS: Final = 0o222


class OptionValue(NamedTuple):
    """A value of *option*, and the place where it was written, as an error names it."""

    where: str
    option: Option
    value: object


def parse_value(where: str, option: Option, raw: object) -> OptionValue:
    """Parse *raw*, from a flag or a TOML file, as *option*. Raises UsageError."""
    try:
        value = _parse(option, raw)
    except ValueError as exc:
        raise UsageError(f"{where}: {exc}") from exc
    return OptionValue(where, option, value is not option.inverts if option.is_flag else value)


def refuse_secret(where: str, name: str) -> None:
    """Raise UsageError if *name* is that of a credential."""
    if _SECRET.search(name):
        raise UsageError(
            f"{where}: {name}: credentials are never taken from here; they come from boto3's "
            "chain: the environment, ~/.aws, SSO, or the machine's role"
        )


def _parse(option: Option, raw: object) -> object:
    """Raises ValueError."""
    match raw:
        case bool():
            if not option.is_flag:
                raise ValueError(
                    f"{str(raw).lower()} is not a value of it: write {option.type.metavar}"
                )
            return raw
        case str():
            return option.type.parse(raw)
        case int() | float() if option.type is MODE:
            return _parse_mode(raw)
        case int() | float() if option.type is MASK:  # TOML's 0o27 and 27 cannot be told apart
            raise ValueError('write the mask in quotes, in octal, as in "0027"')
        case int() | float() if option.is_flag:
            raise ValueError(f"{raw!r} is neither true nor false")
        case int():
            return option.type.parse(str(raw))
        case float():
            return option.type.parse(format(raw, "f"))
        case _ if hasattr(raw, "isoformat"):  # a date or a time of TOML
            return option.type.parse(raw.isoformat())
        case _:
            expected = option.type.metavar or "true or false"
            raise ValueError(f"{type(raw).__name__} is not a value of it: write {expected}")


def _parse_mode(number: float) -> int:
    """Refuse a mode that was written in decimal.

    TOML's 0o555 arrives as 365, which is right, and a decimal 444 as 444, which is 0o674: it has
    write permission, which is of no use here.
    """
    if not isinstance(number, int) or number > 0o777 or number < 0 or number & _WRITE_BITS:
        raise ValueError('write the mode in quotes, in octal, as in "0555"')
    return number

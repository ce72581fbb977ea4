"""Parser of ordinary command lines, without click, whose import is a tenth of the time of a mount.

What it does not know (help, a mistake, `--`) it leaves to click, so messages are made at one place.
`tests/property/test_plain_parser.py` compares the two.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from s3mount.cli.option_types import REPEATABLE
from s3mount.cli.options import OPTION_TABLE

_PLACES: Final = ("bucket", "mountpoint")
_CONFIG: Final = "config"


class _UnusualError(Exception):
    """A command line for click."""


def parse_plain(arguments: Sequence[str]) -> Mapping[str, object] | None:
    """Return what click would return for *arguments*, by name; None if that takes click."""
    given: dict[str, object] = dict.fromkeys((*_PLACES, _CONFIG))
    for option in OPTION_TABLE:
        given[option.key] = False if option.is_flag else () if option.type in REPEATABLE else None
    places = []
    try:
        for name, value in _words(arguments):
            if name is None:
                places.append(value)
                continue
            known = given[name]
            given[name] = (*known, value) if isinstance(known, tuple) else value
    except _UnusualError:
        return None
    if len(places) > len(_PLACES):
        return None
    return given | dict(zip(_PLACES, places, strict=False))


def _words(arguments: Sequence[str]) -> Iterator[tuple[str | None, object]]:
    """Yield pairs of an option's name, None for a place, and a value. Raises _UnusualError."""
    keys = {f"--{_CONFIG}": (_CONFIG, False)}
    for option in OPTION_TABLE:
        keys[option.flag] = (option.key, option.is_flag)
        if option.short:
            keys[f"-{option.short}"] = (option.key, option.is_flag)
    rest = iter(arguments)
    for word in rest:
        if not word.startswith("-"):
            yield None, word
            continue
        flag, has_value, value = word.partition("=")
        key, is_flag = keys.get(flag, (None, False))
        if key is None or (has_value and (is_flag or not flag.startswith("--"))):
            raise _UnusualError
        yield key, is_flag or (value if has_value else _next(rest))


def _next(rest: Iterator[str]) -> str:
    """Return the value of a flag that stands behind it. Raises _UnusualError if none does."""
    value = next(rest, "-")
    if value.startswith("-"):
        raise _UnusualError
    return value

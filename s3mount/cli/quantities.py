"""Parsers of quantities and their inverses: sizes, durations, prices, counts. Pure.

Every parser raises `ValueError` with half a sentence that says how the value is written; the caller
puts the name of the option in front.
"""

import math
import re

from s3mount.config import INDEFINITE

SIZE_MAX = 2**62  # bytes; more than any machine has, and it fits into the kernel's 64 bits
SECONDS_MAX = 1e9  # 31 years; C's time functions overflow at some 292
DIGITS_MAX = 30  # of a number that is converted: more digits cost time, and exceed any maximum
# show_size takes the first that fits
_BYTES = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(KiB|MiB|GiB|TiB)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh])?", re.ASCII)


def parse_size(text: str) -> int:
    """Bytes: `8388608`, `512KiB`, `8MiB`, `1.5GiB`."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(
            f"{text!r} is not a size: "
            "write a number of bytes, or one with KiB, MiB, GiB or TiB, as in 8MiB"
        )
    number, unit = found.groups()
    factor = next(
        (bytes_ for name, bytes_ in _BYTES.items() if unit and name.lower() == unit.lower()), 1
    )
    if len(number) > DIGITS_MAX or float(number) * factor > SIZE_MAX:
        raise ValueError(f"the size is too large: the maximum is {show_size(SIZE_MAX)}")
    size = float(number) * factor if "." in number else int(number) * factor
    if size != int(size):
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return int(size)


def show_size(size: int) -> str:
    for unit, factor in _BYTES.items():
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def parse_duration(text: str) -> float:
    """Seconds: `90`, `0.5`, `90s`, `5m`, `1h`."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError(
            f"{text!r} is not a duration: "
            "write seconds, or a number with s, m or h, as in 90s, 5m or 1h"
        )
    number, unit = found.groups()
    seconds = float(number) * _SECONDS[unit or "s"]
    if seconds > SECONDS_MAX:
        raise ValueError(f"the duration is too long: the maximum is {SECONDS_MAX:.0f} seconds")
    return seconds


def parse_lifetime(text: str) -> float:
    """A duration, or `indefinite`."""
    if text.strip() == "indefinite":
        return INDEFINITE
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise ValueError(f'{exc}; or "indefinite"') from exc


def show_duration(seconds: float) -> str:
    if math.isinf(seconds):
        return "indefinite"
    return str(int(seconds)) if seconds.is_integer() else repr(seconds)


def parse_price(text: str) -> float:
    """A price: `0.0004`, `5`."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text.strip(), re.ASCII):
        raise ValueError(f"{text!r} is not a price: write a decimal number, as in 0.0004")
    return float(text)


def show_price(price: float) -> str:
    return f"{price:.9f}".rstrip("0").rstrip(".")


def parse_count(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text.strip(), re.ASCII):
        raise ValueError(f"{text!r} is not a number: write digits, as in 32")
    return int(text)

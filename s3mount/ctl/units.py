"""Texts of sizes, durations, rates, moments and shares, as tables show them."""

import time
from collections.abc import Sequence
from typing import Final

_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_BARS: Final = "▁▂▃▄▅▆▇█"
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def size(count: float) -> str:
    """Return bytes with a unit of powers of 1024, in three or four digits."""
    unit = 0
    while abs(count) >= 1000 and unit < len(_SIZES) - 1:
        count /= 1024
        unit += 1
    digits = 0 if not unit or abs(count) >= 100 else 1
    return f"{count:.{digits}f} {_SIZES[unit]}"


def mebibytes(count: float) -> str:
    """Return bytes in MiB, for rates."""
    return f"{count / (1 << 20):.1f}"


def number(count: float) -> str:
    """Return an amount with separators of thousands."""
    return f"{count:,.0f}"


def counted(count: float, one: str, several: str) -> str:
    """Return an amount of things, which *one* or *several* name."""
    return f"{number(count)} {one if count == 1 else several}"


def files(count: float) -> str:
    return counted(count, "file", "files")


def directories(count: float) -> str:
    return counted(count, "directory", "directories")


def money(amount: float, currency: str) -> str:
    """Return an amount in *currency*, with digits for the price of a few requests."""
    digits = 2 if abs(amount) >= 100 else 4 if abs(amount) >= 0.01 or not amount else 6
    return f"{amount:,.{digits}f} {currency}".rstrip()


def seconds(value: float) -> str:
    """Return a duration in milliseconds, seconds, or its two largest units."""
    if value < 1:
        return f"{value * 1000:.0f} ms" if value >= 0.01 or not value else f"{value * 1000:.1f} ms"
    if value < _MINUTE:
        return f"{value:.1f} s"
    if value < _HOUR:
        return f"{value // _MINUTE:.0f} min {value % _MINUTE:.0f} s"
    if value < _DAY:
        return f"{value // _HOUR:.0f} h {value % _HOUR // _MINUTE:.0f} min"
    return f"{value // _DAY:.0f} d {value % _DAY // _HOUR:.0f} h"


def moment(when: float) -> str:
    """Return a Unix time as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def time_of_day(when: float) -> str:
    """Return a Unix time as local time with milliseconds."""
    return f"{time.strftime('%H:%M:%S', time.localtime(when))}.{int(when * 1000) % 1000:03d}"


def share(part: float, whole: float) -> str:
    """Return a percentage; a dash if there is nothing to divide by."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def sparkline(values: Sequence[float], width: int) -> str:
    """Return the last *width* values as bars, the largest as the highest; spaces before them."""
    last = values[-width:]
    top = max(last, default=0.0)
    steps = len(_BARS) - 1
    bars = "".join(_BARS[round(steps * max(0.0, value) / top) if top else 0] for value in last)
    return bars.rjust(width)


def gauge(part: float, whole: float, width: int) -> str:
    """Return a bar of *width* cells, filled by the share of *part*."""
    filled = round(width * min(1.0, part / whole)) if whole else 0
    return "█" * filled + "░" * (width - filled)

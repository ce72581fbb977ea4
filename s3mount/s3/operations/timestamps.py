"""Times as stores write them, in listings and in headers: text in, nanoseconds since 1970 out.

Generous, since a time is never part of the bytes of a file. S3 writes ISO 8601 in listings and
HTTP dates in headers; other stores write `+0000`, leave the zone or the punctuation out, send an
HTTP date in a listing, or a number of seconds. A time without a zone is UTC.
"""

import contextlib
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz

_INT64_MAX = (1 << 63) - 1  # neither the kernel nor our tables hold more
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_USUAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
_ISO = re.compile(
    r"\W?(\d{4})-?(\d\d)-?(\d\d)(?:[Tt_ ]+(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?"
    r" *([Zz]|[+-]\d\d(?::?\d\d)?)?(?: *(?:UTC|GMT|[Zz]))?",
    re.ASCII,
)
_SECONDS = re.compile(r"(\d{9,19})(?:\.\d*)?", re.ASCII)  # or milliseconds, …, nanoseconds
_LONGEST = 64  # characters of a time
_YEAR_0 = re.compile(r"\b0\d{3}\b", re.ASCII)  # of a zero time; `parsedate_tz` reads 0001 as 2001


def parse_time(text: str) -> int | None:
    """Return nanoseconds since 1970; None if *text* is no time, or one that nothing can have."""
    if _USUAL.fullmatch(text):
        with contextlib.suppress(ValueError, OverflowError):  # a leap second, or none
            return _in_range(_since_epoch(datetime.fromisoformat(text)))
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    if (match := _ISO.fullmatch(text)) is not None:
        return _in_range(_parse_iso(match))
    if (match := _SECONDS.fullmatch(text)) is not None:
        return _in_range(_parse_number(match[1]))
    return _in_range(_parse_http_date(text))


def _in_range(time_ns: int | None) -> int | None:
    """None for what 64 bits do not hold, as the year 1: stores send it if they know no time."""
    return None if time_ns is None or abs(time_ns) > _INT64_MAX else time_ns


def _since_epoch(time: datetime) -> int:
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def _parse_iso(match: re.Match[str]) -> int | None:
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    hours, minutes, seconds = int(hour or 0), int(minute or 0), int(second or 0)
    if hours > 24 or minutes > 59 or seconds > 60:
        return None
    try:
        date = datetime(int(year), int(month), int(day), tzinfo=UTC)
    except ValueError:
        return None
    offset = _offset(zone or "Z")
    in_day = timedelta(hours=hours, minutes=minutes, seconds=seconds - offset)
    since = date - _EPOCH + in_day
    whole = (since.days * 86400 + since.seconds) * 1_000_000_000
    return whole + int((fraction or "")[:9].ljust(9, "0"))


def _offset(zone: str) -> int:
    """Seconds east of UTC."""
    if zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if zone[0] == "-" else seconds


def _parse_number(digits: str) -> int:
    """Read seconds since 1970, or as many thousandths, millionths or billionths as fit."""
    number = int(digits)
    for unit, limit in ((10**9, 10**11), (10**6, 10**14), (10**3, 10**17)):
        if number < limit:
            return number * unit
    return number


def _parse_http_date(text: str) -> int | None:
    """https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats."""
    try:
        parsed = parsedate_tz(text)
        if parsed is None or _YEAR_0.search(text):
            return None
        year, month, day, hour, minute, second = parsed[:6]
        time = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return _since_epoch(time) - (parsed[9] or 0) * 1_000_000_000

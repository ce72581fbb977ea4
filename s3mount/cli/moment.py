"""Parser of moments: RFC 3339, dates and times without a zone, and a few relative forms.

Nothing is guessed: what is not written in one of these forms is refused. A time without a zone is
local. Days, weeks, months and years go back in the calendar, at the same time of day; hours,
minutes and seconds on the clock. Imported only when a moment is given.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

FORMS: Final = (
    "2026-11-26T14:00:00Z, 2026-11-26 14:00 (local time), yesterday 14:00, monday 14:00, "
    "2 days ago, 90 minutes ago, or now"
)
_TIME = r"\d\d?:\d\d(?::\d\d(?:\.\d{1,9})?)?"
_DATE: Final = re.compile(
    rf"(\d{{4}}-\d\d-\d\d)(?:[t ]({_TIME})? ?(z|utc|gmt|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_DAY: Final = re.compile(rf"(?:(?:last (?=[a-z]+day))?([a-z]+) ?)?(?:(?:at )?({_TIME}))?", re.ASCII)
_SECONDS: Final = re.compile(r"@(\d{1,11})(?:\.(\d{1,9}))?", re.ASCII)
_AGO: Final = re.compile(rf"((?:(?:\d{{1,9}}|an?) [a-z]+ )+)ago(?: (?:at )?({_TIME}))?", re.ASCII)
_PART: Final = re.compile(r"(\d{1,9}|an?) ([a-z]+?)s? ", re.ASCII)
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK: Final = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600}  # seconds
_DAYS: Final = {"day": 1, "week": 7}
_MONTHS: Final = {"month": 1, "year": 12}
_NS: Final = 10**9


def parse_moment(text: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> int:
    """Return nanoseconds since 1970. Raises ValueError with half a sentence."""
    present = now()
    words = " ".join(text.lower().split())
    try:
        moment_ns = _parse(words, present)
    except (ValueError, OverflowError):  # a date that no calendar has
        moment_ns = None
    if moment_ns is None:
        raise ValueError(f"{text!r} is not a time: write {FORMS}")
    if moment_ns > _since_epoch(present):
        raise ValueError(f"{text!r} is in the future: {_shown(moment_ns)}")
    if moment_ns < 0:
        raise ValueError(f"{text!r} is before 1970, and so before all objects")
    return moment_ns


def _parse(words: str, present: datetime) -> int | None:
    """None for what is in none of the forms."""
    if words == "now":
        return _since_epoch(present)
    if (found := _SECONDS.fullmatch(words)) is not None:
        return int(found[1]) * _NS + int((found[2] or "").ljust(9, "0"))
    if (found := _DATE.fullmatch(words)) is not None:
        return _at(date.fromisoformat(found[1]), found[2], found[3])
    if (found := _AGO.fullmatch(words)) is not None:
        return _ago(found[1], found[2], present)
    found = _DAY.fullmatch(words) if words else None
    day = None if found is None else _day(found[1], present.astimezone().date())
    return None if found is None or day is None else _at(day, found[2], None)


def _at(day: date, time_of_day: str | None, zone: str | None) -> int:
    """Nanoseconds since 1970 of a time of *day*, 00:00 by default, in *zone* or here."""
    clock, _, fraction = (time_of_day or "00:00").partition(".")
    moment = datetime.combine(
        day, time.fromisoformat(clock.zfill(5 if clock.count(":") == 1 else 8))
    )
    if zone is not None:
        offset = "+00:00" if zone in ("z", "utc", "gmt") else zone
        moment = datetime.fromisoformat(moment.isoformat() + offset)
    return _since_epoch(moment) + int(fraction.ljust(9, "0"))


def _day(name: str | None, today: date) -> date | None:
    """The day that *name* means; None if it means none."""
    if name in (None, "today"):
        return today
    if name == "yesterday":
        return today - timedelta(days=1)
    if name not in _WEEKDAYS:
        return None
    days = (today.weekday() - _WEEKDAYS.index(name)) % 7
    return today - timedelta(days=days or 7)


def _ago(parts: str, time_of_day: str | None, present: datetime) -> int | None:
    """A moment before *present*; None if a unit is unknown."""
    days = months = seconds = 0
    for count, unit in _PART.findall(parts):
        number = int(count) if count.isdecimal() else 1
        if unit not in {**_CLOCK, **_DAYS, **_MONTHS}:
            return None
        days += number * _DAYS.get(unit, 0)
        months += number * _MONTHS.get(unit, 0)
        seconds += number * _CLOCK.get(unit, 0)
    local = present.astimezone().replace(tzinfo=None)
    day = _months_before(local.date(), months) - timedelta(days=days)
    if time_of_day is not None:
        return None if seconds else _at(day, time_of_day, None)
    return _since_epoch(datetime.combine(day, local.time())) - seconds * _NS


def _months_before(day: date, months: int) -> date:
    """The same day of a month before, or the last one of that month."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    for number in range(day.day, 27, -1):
        try:
            return day.replace(year, month + 1, number)
        except ValueError:
            continue
    return day.replace(year, month + 1)


def _since_epoch(moment: datetime) -> int:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * _NS + since.microseconds * 1000


def _shown(moment_ns: int) -> str:
    return f"{datetime.fromtimestamp(moment_ns // _NS, UTC):%Y-%m-%dT%H:%M:%SZ}"

"""What a person types, read into values, and shown again: sizes, durations, modes, owners, buckets.

Pure, except for the names of users and groups. Every parser raises `ValueError` with half a sentence that says how the value is
written; whoever knows the name of the option puts it in front.
"""

import difflib
import grp
import math
import pwd
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from s3mount.config import INDEFINITE

ID_MAX = 2**32 - 2  # (uid_t) -1 means "leave it", see chown(2)
KEY_MAX = 1024  # bytes, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html

_BYTES = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}  # the largest first: show_size takes the first that fits
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(KiB|MiB|GiB)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh])?", re.ASCII)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", re.ASCII)
_ACCESS_POINT = re.compile(
    r"(arn:[\w-]+:s3[\w-]*:[\w-]*:\d*:(?:outpost[/:][\w-]+[/:])?accesspoint[/:][\w.-]+)(?:/(.*))?",
    re.ASCII | re.DOTALL,
)


class Location(NamedTuple):
    """A bucket, or the ARN of an access point, and the prefix within: empty, or ending with "/"."""

    bucket: str
    prefix: str


def parse_size(text: str) -> int:
    """Bytes: `8388608`, `512KiB`, `8MiB`, `1.5GiB`."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a size: write a number of bytes, or one with KiB, MiB or GiB, as in 8MiB")
    number, unit = found.groups()
    factor = next((bytes_ for name, bytes_ in _BYTES.items() if unit and name.lower() == unit.lower()), 1)
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
        raise ValueError(f"{text!r} is not a duration: write seconds, or a number with s, m or h, as in 90s, 5m or 1h")
    number, unit = found.groups()
    seconds = float(number) * _SECONDS[unit or "s"]
    if math.isinf(seconds):
        raise ValueError("that is longer than any duration")
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


def parse_count(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text.strip(), re.ASCII):
        raise ValueError(f"{text!r} is not a number: write digits, as in 32")
    return int(text)


def parse_mode(text: str) -> int:
    """Permission bits, in octal: `0555`, `644`, `0o755`."""
    if not re.fullmatch(r"(0o)?[0-7]{1,4}", text.strip(), re.ASCII) or int(text, 8) > 0o777:
        raise ValueError(f"{text!r} is not a mode: write permission bits in octal, 0000 to 0777, as in 0555")
    return int(text, 8)


def show_mode(mode: int) -> str:
    return f"{mode:04o}"


def parse_user(text: str) -> int:
    """A uid, or the name of a user."""
    return _parse_id(text, "user", lambda name: pwd.getpwnam(name).pw_uid)


def parse_group(text: str) -> int:
    """A gid, or the name of a group."""
    return _parse_id(text, "group", lambda name: grp.getgrnam(name).gr_gid)


def parse_endpoint(text: str) -> str:
    """An http or https URL of a host; one that carries credentials is refused, and not repeated."""
    if "@" in text:
        raise ValueError("a URL with a user or password in it is refused: credentials come from boto3's chain only")
    try:
        url = urlsplit(text)
        is_endpoint = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_endpoint = False
    if not is_endpoint or re.search(r"[\s\x00-\x1f?#]", text):
        raise ValueError("that is not the URL of an endpoint: write http://HOST:PORT or https://HOST")
    return text


def parse_location(text: str) -> Location:
    """`BUCKET[/PREFIX]`, `s3://BUCKET[/PREFIX]` or `ARN-OF-AN-ACCESS-POINT[/PREFIX]`."""
    path = text.removeprefix("s3://")
    if "@" in path.partition("/")[0]:
        raise ValueError(
            "a bucket with a user or password before it is refused: credentials come from boto3's chain only"
        )
    access_point = _ACCESS_POINT.fullmatch(path)
    bucket, prefix = (
        (access_point[1], access_point[2] or "") if access_point else path.split("/", 1) + [""] * ("/" not in path)
    )
    if not access_point and not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{bucket!r} is not a bucket name: write BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX")
    if len(prefix.encode(errors="surrogateescape")) > KEY_MAX:
        raise ValueError(f"the prefix is longer than any key may be ({KEY_MAX} bytes)")
    return Location(bucket, prefix if not prefix or prefix.endswith("/") else prefix + "/")


def suggestion(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?` with the nearest of *names*, or nothing where none is near."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _parse_id(text: str, what: str, look_up: Callable[[str], int]) -> int:
    name = text.strip()
    if re.fullmatch(r"\d+", name, re.ASCII):
        if int(name[:20]) > ID_MAX:
            raise ValueError(f"{text!r} is no {what} number: the highest is {ID_MAX}")
        return int(name)
    try:
        return look_up(name)
    except KeyError:
        raise ValueError(f"there is no {what} {text!r}: write a number, or a name that `getent` knows") from None

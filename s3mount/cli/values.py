"""What a person types, read into values, and shown again: sizes, durations, modes, owners, buckets.

Pure, except for the names of users and groups, and for files that must be there. Every parser raises `ValueError` with half a sentence that says how the value is
written; whoever knows the name of the option puts it in front.
"""

import difflib
import grp
import math
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from s3mount.config import INDEFINITE, Prefetch

ID_MAX = 2**32 - 2  # (uid_t) -1 means "leave it", see chown(2)
SIZE_MAX = 2**62  # bytes; more than any machine has, and less than a word of the kernel's
SECONDS_MAX = 1e9  # 31 years; C's time functions overflow at some 292
KEY_MAX = 1024  # bytes, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html

_DIGITS_MAX = 30
_BYTES = {
    "GiB": 1 << 30,
    "MiB": 1 << 20,
    "KiB": 1 << 10,
}  # the largest first: show_size takes the first that fits
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(KiB|MiB|GiB)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh])?", re.ASCII)
_OWNER = re.compile(r"[0-9]{12}", re.ASCII)
_REGION = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII
)  # a label of a host's name
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
)  # C0, DEL, C1, and Unicode's own ends of a line
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
        raise ValueError(
            f"{text!r} is not a size: write a number of bytes, or one with KiB, MiB or GiB, as in 8MiB"
        )
    number, unit = found.groups()
    factor = next(
        (bytes_ for name, bytes_ in _BYTES.items() if unit and name.lower() == unit.lower()), 1
    )
    if len(number) > _DIGITS_MAX or float(number) * factor > SIZE_MAX:
        raise ValueError(f"that is a larger size than any: the most is {show_size(SIZE_MAX)}")
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
            f"{text!r} is not a duration: write seconds, or a number with s, m or h, as in 90s, 5m or 1h"
        )
    number, unit = found.groups()
    seconds = float(number) * _SECONDS[unit or "s"]
    if seconds > SECONDS_MAX:
        raise ValueError(f"that is longer than any duration: the most is {SECONDS_MAX:.0f} seconds")
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
        raise ValueError(
            f"{text!r} is not a mode: write permission bits in octal, 0000 to 0777, as in 0555"
        )
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
        raise ValueError(
            "a URL with a user or password in it is refused: credentials come from boto3's chain only"
        )
    try:
        url = urlsplit(text)
        is_endpoint = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_endpoint = False
    if not is_endpoint or re.search(r"[^\x21-\x7e]|[?#\\]", text):
        raise ValueError(
            "that is not the URL of an endpoint: write http://HOST:PORT or https://HOST, in ASCII"
        )
    return text


def parse_bucket_owner(text: str) -> str:
    """The number of an account, which travels in a header of each request."""
    if not _OWNER.fullmatch(text):
        raise ValueError(
            "that is not an account: write its number of 12 digits, as in 123456789012"
        )
    return text


def parse_region(text: str) -> str:
    """The name of a region, which becomes a part of a host's name, and of what is signed."""
    if not text.strip():
        raise ValueError("it is empty")
    if not _REGION.fullmatch(text):
        raise ValueError(
            f"{text!r} is not the name of a region: write letters, digits and dashes, as in eu-central-1"
        )
    return text


def parse_name(text: str) -> str:
    """A name on one line: of a user, of a profile."""
    if not text.strip():
        raise ValueError("it is empty")
    if has_control_characters(text):
        raise ValueError(f"{text!r} has control characters in it")
    return text


def parse_path(text: str) -> Path:
    """An absolute path: the process leaves its directory when it goes to the background."""
    if not text.strip():
        raise ValueError("it is empty")
    try:
        return Path(absolute(os.path.expanduser(text)))  # noqa: PTH111 - Path.expanduser raises where there is no home
    except OSError as exc:
        raise ValueError(
            f"the current directory is gone ({exc.strerror}): write an absolute path"
        ) from exc


def parse_existing_file(text: str) -> Path:
    """As `parse_path`, of a file that can be read."""
    path = parse_path(text)
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        is_file = False
    except OSError as exc:
        raise ValueError(f"{text} cannot be reached: {exc.strerror}") from exc
    if not is_file:
        raise ValueError(f"there is no file {text}")
    return path


def absolute(path: str) -> str:
    """Absolute and normal, with its links as they are. Raises ValueError; OSError where the current directory is gone."""
    if "\0" in path:
        raise ValueError("a path has no NUL in it")
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps ".."


def has_control_characters(text: str) -> bool:
    """Whether *text* would be more than one line somewhere, or would move a terminal's cursor."""
    return bool(_CONTROL.search(text))


def parse_location(text: str) -> Location:
    """`BUCKET[/PREFIX]`, `s3://BUCKET[/PREFIX]` or `ARN-OF-AN-ACCESS-POINT[/PREFIX]`."""
    path = text.removeprefix("s3://")
    if "@" in path.partition("/")[0]:
        raise ValueError(
            "a bucket with a user or password before it is refused: credentials come from boto3's chain only"
        )
    access_point = _ACCESS_POINT.fullmatch(path)
    bucket, prefix = (
        (access_point[1], access_point[2] or "")
        if access_point
        else path.split("/", 1) + [""] * ("/" not in path)
    )
    if not access_point and not _BUCKET.fullmatch(bucket):
        raise ValueError(
            f"{bucket!r} is not a bucket name: write BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX"
        )
    if "\0" in prefix:
        raise ValueError("a prefix with a NUL in it cannot be mounted: no path can spell its keys")
    if len(os.fsencode(prefix)) > KEY_MAX:
        raise ValueError(f"the prefix is longer than any key may be ({KEY_MAX} bytes)")
    return Location(bucket, prefix if not prefix or prefix.endswith("/") else prefix + "/")


def suggestion(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?` with the nearest of *names*, or nothing where none is near."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def parse_prefetch(text: str) -> frozenset[Prefetch]:
    """Kinds of prefetch, or `all`."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in (*Prefetch, "all"):
            raise ValueError(
                f"{name!r} is not one of all, {', '.join(Prefetch)}"
                f"{suggestion(name, [*Prefetch, 'all'])}"
            )
    return frozenset(Prefetch if "all" in names else map(Prefetch, names))


def _parse_id(text: str, what: str, look_up: Callable[[str], int]) -> int:
    name = text.strip()
    if re.fullmatch(r"\d+", name, re.ASCII):
        if len(name) > _DIGITS_MAX or int(name) > ID_MAX:
            raise ValueError(f"that is no {what} number: the highest is {ID_MAX}")
        return int(name)
    try:
        return look_up(parse_name(name))
    except KeyError:
        raise ValueError(
            f"there is no {what} {text!r}: write a number, or a name that `getent` knows"
        ) from None

"""Parsers of single values and their inverses: sizes, durations, modes, owners, buckets.

Pure, except for look-ups of users, groups and files. Every parser raises `ValueError` with half a
sentence that says how the value is written; the caller puts the name of the option in front.
"""

import grp
import ipaddress
import math
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from s3mount.config import INDEFINITE, EndpointVariant, MetricsAddress, Prefetch, Symlinks

Word = TypeVar("Word", bound=StrEnum)

ID_MAX = 2**32 - 2  # (uid_t) -1 means "no change", see chown(2)
SIZE_MAX = 2**62  # bytes; more than any machine has, and it fits into the kernel's 64 bits
SECONDS_MAX = 1e9  # 31 years; C's time functions overflow at some 292
KEY_MAX = 1024  # bytes, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
PORT_MAX = 65535
SOCKET_PATH_MAX = 107  # bytes, see unix(7)

_DIGITS_MAX = 30
# show_size takes the first that fits
_BYTES = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(KiB|MiB|GiB|TiB)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh])?", re.ASCII)
_LISTEN = re.compile(
    r"(?:(?:\[(?P<bracketed>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[\w.-]+)):)?(?P<port>[0-9]{1,5})",
    re.ASCII,
)
_OWNER = re.compile(r"[0-9]{12}", re.ASCII)
_REGION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)  # a host label
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # C0, DEL, C1, Unicode line ends
# with a tenant before it at Ceph, see https://docs.ceph.com/en/latest/radosgw/multitenancy/
_BUCKET = re.compile(r"(?!arn:)(?:[\w.-]{0,255}:)?[A-Za-z0-9][A-Za-z0-9._-]{0,254}", re.ASCII)
# with what chooses several, see fnmatch(3)
_BUCKETS = re.compile(r"[A-Za-z0-9*?\[][A-Za-z0-9._*?\[\]!-]{0,254}", re.ASCII)
_DIRECTORY_BUCKET = "--x-s3"  # ends its name; its listings are in no order
_ACCOUNT = re.compile(r"s3:/{0,3}")
_ACCESS_POINT = re.compile(
    r"(arn:[\w-]+:s3[\w-]*:[\w-]*:\d*:(?:outpost[/:][\w-]+[/:])?accesspoint[/:][\w.-]+)(?:/(.*))?",
    re.ASCII | re.DOTALL,
)


class Location(NamedTuple):
    """A bucket, or the ARN of an access point, and a prefix that is empty or ends with "/".

    An empty bucket is every bucket of the account.
    """

    bucket: str
    prefix: str


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
    if len(number) > _DIGITS_MAX or float(number) * factor > SIZE_MAX:
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
    """An http or https URL of a host; a URL with credentials is refused, and not repeated."""
    if "@" in text:
        raise ValueError(
            "a URL with a user or password in it is refused: "
            "credentials come from boto3's chain only"
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
    """The number of an account, which becomes a header of each request."""
    if not _OWNER.fullmatch(text):
        raise ValueError(
            "that is not an account: write its number of 12 digits, as in 123456789012"
        )
    return text


def parse_region(text: str) -> str:
    """The name of a region, which becomes part of a host name, and of the signature."""
    if not text.strip():
        raise ValueError("it is empty")
    if not _REGION.fullmatch(text):
        raise ValueError(
            f"{text!r} is not the name of a region: "
            "write letters, digits and dashes, as in eu-central-1"
        )
    return text


def parse_name(text: str) -> str:
    """A name on one line: of a user, of a profile."""
    if not text.strip():
        raise ValueError("it is empty")
    if has_control_characters(text):
        raise ValueError(f"{text!r} contains control characters")
    return text


def parse_path(text: str) -> Path:
    """An absolute path: the process leaves its directory when it goes to the background."""
    if not text.strip():
        raise ValueError("it is empty")
    try:
        expanded = os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises without a home
        return Path(absolute(expanded))
    except OSError as exc:
        raise ValueError(
            f"the current directory is gone ({exc.strerror}): write an absolute path"
        ) from exc


def parse_existing_file(text: str) -> Path:
    """As `parse_path`, of a file that exists."""
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


def parse_key_file(text: str) -> tuple[Path, ...]:
    """As `parse_path`, of one of several files. The user who serves opens it, and checks it."""
    return (parse_path(text),)


def absolute(path: str) -> str:
    """Return *path* absolute and normalized, with its links unresolved.

    Raises ValueError; OSError if the current directory is gone.
    """
    if "\0" in path:
        raise ValueError("a path must not contain NUL")
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps ".."


def parse_metrics_address(text: str) -> MetricsAddress:
    """`PORT` on the loopback interface, `ADDRESS:PORT` or `unix:PATH`."""
    if text.startswith("unix:"):
        return _unix_address(text.removeprefix("unix:"))
    found = _LISTEN.fullmatch(text)
    if not found or int(found["port"]) > PORT_MAX:
        raise ValueError(
            f"{text!r} is not an address: write PORT, as in 9100, ADDRESS:PORT, as in "
            "192.0.2.1:9100 or [2001:db8::1]:9100, or unix:PATH"
        )
    host = found["bracketed"] or found["host"] or "localhost"
    try:
        address = "127.0.0.1" if host == "localhost" else str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(
            f"{host!r} is not an IP address: write that of the interface, as in 192.0.2.1:9100"
        ) from None
    return MetricsAddress(address, int(found["port"]))


def _unix_address(path: str) -> MetricsAddress:
    if not path.startswith("/") or has_control_characters(path):
        raise ValueError(f"{path!r} is not the path of a socket: write unix:/run/DIRECTORY/NAME")
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise ValueError(f"the path of a socket has at most {SOCKET_PATH_MAX} bytes")
    return MetricsAddress(path=absolute(path))


def has_control_characters(text: str) -> bool:
    """Whether *text* could span lines, or control a terminal."""
    return bool(_CONTROL.search(text))


def parse_location(text: str) -> Location:
    """`[s3://][TENANT:]BUCKET[/PREFIX]`, `ARN-OF-AN-ACCESS-POINT[/PREFIX]`, or `s3://` for all."""
    if _ACCOUNT.fullmatch(text):
        return Location("", "")
    path = text.removeprefix("s3://")
    if "@" in path.partition("/")[0]:
        raise ValueError(
            "a bucket with a user or password before it is refused: "
            "credentials come from boto3's chain only"
        )
    access_point = _ACCESS_POINT.fullmatch(path)
    bucket, prefix = (
        (access_point[1], access_point[2] or "")
        if access_point
        else path.split("/", 1) + [""] * ("/" not in path)
    )
    if not bucket and text.startswith("s3:"):
        raise ValueError("a prefix is in one bucket: write s3://BUCKET/PREFIX, or s3:// for all")
    if not access_point and not _BUCKET.fullmatch(bucket):
        raise ValueError(
            f"{bucket!r} is not a bucket name: write BUCKET, BUCKET/PREFIX or s3://BUCKET/PREFIX"
        )
    if "\0" in prefix:
        raise ValueError("a prefix with NUL cannot be mounted: no path can contain its keys")
    if len(os.fsencode(prefix)) > KEY_MAX:
        raise ValueError(f"the prefix is longer than a key may be ({KEY_MAX} bytes)")
    return Location(bucket, prefix if not prefix or prefix.endswith("/") else prefix + "/")


def parse_buckets(text: str) -> tuple[str, ...]:
    """Names of buckets, and patterns of names, with commas between them."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if not _BUCKETS.fullmatch(name):
            raise ValueError(
                f"{name!r} is neither a bucket name nor a pattern of names: "
                "write them with commas between them, as in data-*,logs"
            )
        if name.endswith(_DIRECTORY_BUCKET):
            raise ValueError(f"{name!r} is a directory bucket, which is mounted by itself")
    return names


def show_buckets(names: Iterable[str]) -> str:
    return ",".join(names)


def suggestion(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean X?` with the closest of *names*; an empty text if none is close."""
    import difflib  # noqa: PLC0415 - for mistakes only

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


def parse_variants(text: str) -> frozenset[EndpointVariant]:
    """Variants of AWS's endpoints."""
    return _parse_words(text, EndpointVariant)


def parse_symlinks(text: str) -> frozenset[Symlinks]:
    """Programs that keep symbolic links."""
    return _parse_words(text, Symlinks)


def _parse_words(text: str, words: type[Word]) -> frozenset[Word]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in list(words):
            raise ValueError(
                f"{name!r} is not one of {', '.join(words)}{suggestion(name, list(words))}"
            )
    return frozenset(map(words, names))


def _parse_id(text: str, what: str, look_up: Callable[[str], int]) -> int:
    name = text.strip()
    if re.fullmatch(r"\d+", name, re.ASCII):
        if len(name) > _DIGITS_MAX or int(name) > ID_MAX:
            raise ValueError(f"the {what} number is too large: the maximum is {ID_MAX}")
        return int(name)
    try:
        return look_up(parse_name(name))
    except KeyError:
        raise ValueError(
            f"there is no {what} {text!r}: write a number, or a name that `getent` knows"
        ) from None

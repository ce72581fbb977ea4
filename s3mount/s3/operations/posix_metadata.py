"""POSIX attributes in user metadata: the conventions of rclone, s3fs, gcsfuse and others. Pure.

| kept by | mode | owner, group | mtime |
|---|---|---|---|
| rclone | `mode`: octal with the file's type, 100644 | `uid`, `gid` | `mtime`: seconds |
| s3fs | `mode`: decimal with the file's type, 33188 | `uid`, `gid` | `mtime`: seconds |
| s3sync | `permissions`: decimal | `owner`, `group` | |
| gsutil | `goog-reserved-posix-mode`: octal | `goog-reserved-posix-uid`, `-gid` | |
| | | | `goog-reserved-file-mtime`: seconds |
| gcsfuse | | | `gcsfuse_mtime`: RFC 3339 |
| AWS's gateways | `file-permissions`: octal | `file-owner`, `file-group` | `file-mtime`: 1…ns |

| symbolic links kept by | known by | target |
|---|---|---|
| s3fs | `mode`: decimal, of type S_IFLNK, 41471 | the body |
| rclone, with metadata of a link | `mode`: octal, of type S_IFLNK, 120777 | the body |
| gcsfuse, Storage Transfer Service | `goog-reserved-file-is-symlink`: true | the body |
| gcsfuse, before that | `gcsfuse_symlink_target` | its value |
| geesefs | `--symlink-target` | its value, in percent-encoding |

The two spellings of `mode` have no regular file in common: 32768 to 36863 are no octal number of a
regular file, and 100000 to 107777 no decimal one. A value that is none of these is ignored, and so
is the mode of another type of file. Those of a link have no other meaning either, but for an octal
directory with a sticky bit (41000 to 41777), which no object with bytes is.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import unquote

from s3mount.s3.model import TARGET_MAX, PosixAttributes
from s3mount.s3.operations.timestamps import parse_time

_PREFIX: Final = "x-amz-meta-"
_PERMISSIONS: Final = 0o777  # without setuid, setgid and sticky bits
_REGULAR: Final = 0o10  # stat.S_IFREG >> 12
_LINK: Final = 0o12  # stat.S_IFLNK >> 12
_UID_MAX: Final = (1 << 32) - 2  # -1 is no user
_INT64_MAX: Final = (1 << 63) - 1
_SECOND: Final = 1_000_000_000  # ns
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_OCTAL: Final = re.compile(r"0{0,2}[0-7]{1,6}")
_SECONDS: Final = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,18}))?")
_NANOSECONDS: Final = re.compile(r"([0-9]{1,19})ns")
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)

_Parser = Callable[[str], int | None]


def posix_attributes(headers: Mapping[str, str]) -> PosixAttributes | None:
    """Return the attributes that *headers* (names in lower case) tell; None if they tell none."""
    mode, uid, gid, mtime_ns = (_first(headers, names) for names in _CONVENTIONS)
    found = PosixAttributes(mode, uid, gid, mtime_ns, _target(headers))
    return None if found == PosixAttributes() else found


def _first(headers: Mapping[str, str], names: Iterable[tuple[str, _Parser]]) -> int | None:
    """The first of *names* whose value is well-formed."""
    for name, parse in names:
        value = headers.get(_PREFIX + name)
        parsed = None if value is None else parse(value)
        if parsed is not None:
            return parsed
    return None


def _target(headers: Mapping[str, str]) -> str | None:
    """The target of a symbolic link, or "" if the body has it; None if it is no link."""
    mode = headers.get(_PREFIX + "mode", "")
    if _is_link(mode) or headers.get(_PREFIX + "goog-reserved-file-is-symlink") == "true":
        return ""
    text = headers.get(_PREFIX + "gcsfuse_symlink_target")
    if text is not None:
        return _valid_target(text) if text.isascii() else None
    text = headers.get(_PREFIX + "--symlink-target", "")
    return _valid_target(unquote(text, errors="surrogateescape")) if text.isascii() else None


def _valid_target(text: str) -> str | None:
    """*text* if it is a target; None for a header that is encoded by no convention or as RFC 2047.

    A target of another encoding would lead elsewhere.
    """
    is_sized = 0 < len(text.encode("utf-8", "surrogateescape")) <= TARGET_MAX
    return text if is_sized and "\0" not in text and not text.startswith("=?") else None


def _is_link(mode: str) -> bool:
    is_octal = _OCTAL.fullmatch(mode) is not None and int(mode, 8) >> 12 == _LINK
    return is_octal or (_NUMBER.fullmatch(mode) is not None and int(mode) >> 12 == _LINK)


def _octal_mode(text: str) -> int | None:
    return _permissions(int(text, 8)) if _OCTAL.fullmatch(text) else None


def _decimal_mode(text: str) -> int | None:
    return _permissions(int(text)) if _NUMBER.fullmatch(text) else None


def _mode(text: str) -> int | None:
    octal = _octal_mode(text)
    if octal is not None:
        return octal
    return _decimal_mode(text) if _is_regular(text) else None


def _is_regular(text: str) -> bool:
    """Whether a decimal mode names the type of a regular file, as s3fs always does."""
    return _NUMBER.fullmatch(text) is not None and int(text) >> 12 == _REGULAR


def _permissions(mode: int) -> int | None:
    """The permission bits of a mode that is a regular file's, or names no type."""
    return mode & _PERMISSIONS if mode >> 12 in (0, _REGULAR) else None


def _identifier(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) and int(text) <= _UID_MAX else None


def _seconds(text: str) -> int | None:
    match = _SECONDS.fullmatch(text)
    if match is None:
        return None
    return _in_range(int(match[1]) * _SECOND + int((match[2] or "")[:9].ljust(9, "0")))


def _nanoseconds(text: str) -> int | None:
    match = _NANOSECONDS.fullmatch(text)
    return None if match is None else _in_range(int(match[1]))


def _rfc3339(text: str) -> int | None:
    return _in_range(parse_time(text)) if _RFC3339.fullmatch(text) else None


def _in_range(time_ns: int | None) -> int | None:
    return time_ns if time_ns is not None and 0 <= time_ns <= _INT64_MAX else None


# by the fields of PosixAttributes
_CONVENTIONS: Final[tuple[tuple[tuple[str, _Parser], ...], ...]] = (
    (
        ("mode", _mode),
        ("permissions", _decimal_mode),
        ("goog-reserved-posix-mode", _octal_mode),
        ("file-permissions", _octal_mode),
    ),
    tuple(
        (name, _identifier) for name in ("uid", "owner", "goog-reserved-posix-uid", "file-owner")
    ),
    tuple(
        (name, _identifier) for name in ("gid", "group", "goog-reserved-posix-gid", "file-group")
    ),
    (
        ("mtime", _seconds),
        ("goog-reserved-file-mtime", _seconds),
        ("gcsfuse_mtime", _rfc3339),
        ("file-mtime", _nanoseconds),
    ),
)

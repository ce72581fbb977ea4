"""Parsers of what names a part of this machine: modes, users, groups, files, addresses.

Pure, except for look-ups of users, groups and files. Every parser raises `ValueError` with half a
sentence that says how the value is written; the caller puts the name of the option in front.
"""

import grp
import ipaddress
import os
import pwd
import re
import stat
from collections.abc import Callable
from pathlib import Path

from s3mount.cli.quantities import DIGITS_MAX
from s3mount.cli.words import has_control_characters, parse_name
from s3mount.config import MetricsAddress

ID_MAX = 2**32 - 2  # (uid_t) -1 means "no change", see chown(2)
PORT_MAX = 65535
SOCKET_PATH_MAX = 107  # bytes, see unix(7)
_LISTEN = re.compile(
    r"(?:(?:\[(?P<bracketed>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[\w.-]+)):)?(?P<port>[0-9]{1,5})",
    re.ASCII,
)


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


def _parse_id(text: str, what: str, look_up: Callable[[str], int]) -> int:
    name = text.strip()
    if re.fullmatch(r"\d+", name, re.ASCII):
        if len(name) > DIGITS_MAX or int(name) > ID_MAX:
            raise ValueError(f"the {what} number is too large: the maximum is {ID_MAX}")
        return int(name)
    try:
        return look_up(parse_name(name))
    except KeyError:
        raise ValueError(
            f"there is no {what} {text!r}: write a number, or a name that `getent` knows"
        ) from None

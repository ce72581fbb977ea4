"""Location of a redirect: whether a response is one, where it leads, and whether that may be.

Pure. An absolute URL is kept byte for byte, since it may carry a signature.
"""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import urljoin

LOCATION_LIMIT = 16 * 1024  # characters; a signed URL with a session token has 2 to 4 KiB
_STATUSES = {301, 302, 303, 307, 308}
_PORTS = {"http": 80, "https": 443}
_ABSOLUTE = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:@\[\]%\s]+)(?::([0-9]{0,5}))?")
# an address of IPv6, or labels that the resolver can be asked for
_HOST = re.compile(
    r"(?=.{1,254}\Z)(?:[0-9A-F.]*:[0-9A-F:.]*|[A-Z0-9_-]{1,63}(?:\.[A-Z0-9_-]{1,63})*\.?)",
    re.ASCII | re.IGNORECASE,
)
_SEVERAL = re.compile(r", *https?://", re.IGNORECASE)  # two fields, which are joined by a comma
_UNSAFE = re.compile(r"[^\x21-\x7e]")


class LocationError(Exception):
    """A Location that must not be followed. The text says why, after "redirects"."""


class Url(NamedTuple):
    """An http or https URL. *host* has no brackets; *target* is path and query, as sent."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"


def is_redirect(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the response leads to another URL; one that names a region of S3 does not."""
    return status in _STATUSES and "location" in headers and "x-amz-bucket-region" not in headers


def refused_redirect(status: int, headers: Mapping[str, str]) -> str | None:
    """Return what is said of a redirect if none is followed; None if the response is none."""
    if not is_redirect(status, headers):
        return None
    try:
        where = parse_location(headers["location"]).origin
    except LocationError:
        where = "another address"
    return f"to {where}, which only --follow-redirects allows"


def next_url(location: str, base: Url) -> Url:
    """Return where *location*, in the response to *base*, leads. Raises LocationError."""
    url = parse_location(location, base)
    if base.scheme == "https" and url.scheme == "http":
        raise LocationError(f"from https to {url.origin}")
    return url


def parse_location(location: str, base: Url | None = None) -> Url:
    """Return *location*, which may be relative to *base*, as a URL. Raises LocationError."""
    if len(location) > LOCATION_LIMIT:
        raise LocationError("to a URL that is too long")
    if _SEVERAL.search(location):
        raise LocationError("to several URLs at once")
    if base is not None and not _SCHEME.match(location):
        location = _absolute(location, base)
    match = _ABSOLUTE.match(location)
    if match is None:
        raise LocationError("to what is no URL of HTTP")
    scheme: Literal["http", "https"] = "http" if match[1].lower() == "http" else "https"
    host, port = _authority(match[2], scheme)
    target = match[3] if match[3].startswith("/") else f"/{match[3]}"
    return Url(scheme, host, port, _UNSAFE.sub(_quoted, target))


def _absolute(location: str, base: Url) -> str:
    if location.startswith("//"):
        return f"{base.scheme}:{location}"
    if location.startswith("/"):
        return f"{base.origin}{location}"
    try:
        return urljoin(f"{base.origin}{base.target}", location)
    except ValueError as exc:
        raise LocationError("to what is no URL of HTTP") from exc


def _authority(text: str, scheme: str) -> tuple[str, int]:
    """Return host and port; a user or a password is refused, and never sent."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise LocationError("to a URL whose host cannot be used")
    port = int(match[2]) if match[2] else _PORTS[scheme]
    if not 0 < port < 65536:
        raise LocationError("to a URL whose port is none")
    host = match[1].strip("[]")
    if not host.isascii():
        try:  # header fields are read as Latin-1, and a host outside of ASCII is UTF-8
            host = host.encode("latin-1").decode().encode("idna").decode()
        except UnicodeError as exc:
            raise LocationError("to a URL whose host cannot be used") from exc
    if not _HOST.fullmatch(host):
        raise LocationError("to a URL whose host cannot be used")
    return host.lower(), port


def _quoted(match: re.Match[str]) -> str:
    """Encode a byte that no URL may contain, as browsers do."""
    return "".join(f"%{byte:02X}" for byte in match[0].encode("latin-1", "replace"))

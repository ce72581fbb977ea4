"""The proxy of a URL, from the environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.

Pure. Variables are read as curl and most clients read them: the name in lower case wins, and
NO_PROXY lists names, addresses and networks. What cannot be used is a SetupError that names the
variable, and repeats nothing that may be a password.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from s3mount.errors import SetupError
from s3mount.frozen_dataclass import dataclass

_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"\[([^\]]*)\](?::(\d*))?|([^:]*)(?::(\d*))?", re.ASCII)


class ProxyError(ConnectionError):
    """Proxy that cannot be reached, or that refuses the connection, then with the HTTP *status*."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class ProxyChoice:
    """Proxy of a URL, or None: *variable* names it, unless *excluded_by* lists the host."""

    url: str | None = field(default=None, repr=False)  # may contain a password
    variable: str | None = None
    excluded_by: str | None = None


def proxy_for(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the URL of the proxy for *url* (http or https), or None.

    Raises SetupError if the environment names one that cannot be used.
    """
    return choose_proxy(url, environment).url


def choose_proxy(url: str, environment: Mapping[str, str] = os.environ) -> ProxyChoice:
    """Return the proxy for *url*, and which variables decide that; as `proxy_for`."""
    parts = urlsplit(url)
    host, scheme = parts.hostname or "", parts.scheme
    named = (_value(name, environment) for name in (f"{scheme}_proxy", "all_proxy"))
    variable, value = next(((name, value) for name, value in named if value), (None, ""))
    exclusion, no_proxy = _value("no_proxy", environment)
    if is_excluded(host, parts.port or _PORTS[scheme], no_proxy):
        return ProxyChoice(variable=variable, excluded_by=exclusion)
    if variable is None:
        return ProxyChoice()
    return ProxyChoice(_checked(variable, value), variable)


def is_excluded(host: str, port: int, no_proxy: str) -> bool:
    """Whether *no_proxy* lists *host*, a name or an address without brackets, at *port*."""
    entries = re.split(r"[\s,]+", no_proxy.strip())
    return any(
        _matches(entry.lower(), host.lower().rstrip("."), port) for entry in entries if entry
    )


def _value(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable *name* as it is written, and its value, which may be empty."""
    if name in environment:
        return name, environment[name].strip()
    # a CGI script's HTTP_PROXY is a header of its client: https://httpoxy.org
    if name == "http_proxy" and "REQUEST_METHOD" in environment:
        return name, ""
    return name.upper(), environment.get(name.upper(), "").strip()


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _is_in_network(host, entry)
    name, entry_port = _split(entry)
    if entry_port not in (None, port):
        return False
    if (address := _address(host)) is not None:
        return address == _address(name)
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split(entry: str) -> tuple[str, int | None]:
    """Return the host of *entry* without brackets, and its port."""
    if _address(entry) is not None:  # with colons, but without a port
        return entry, None
    match = _AUTHORITY.fullmatch(entry)
    if match is None:
        return entry, None
    port = match[2] or match[4]
    return match[1] or match[3] or "", int(port) if port and len(port) < 6 else None


def _is_in_network(host: str, entry: str) -> bool:
    address = _address(host)
    try:
        network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False
    return address is not None and address in network


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _checked(variable: str, value: str) -> str:
    """Return *value* as a URL with a scheme, a host and a port."""
    if "://" not in value:
        value = f"http://{value}"
    scheme = value.partition("://")[0].lower()
    if scheme not in _PORTS:
        kind = "a SOCKS proxy" if scheme.startswith("socks") else "a proxy that is not HTTP"
        raise SetupError(
            f"{variable} names {kind}, which cannot be used: "
            "name an HTTP proxy (http://HOST:PORT), or list the endpoint's host in NO_PROXY"
        )
    try:
        parts = urlsplit(value)
        is_proxy = bool(parts.hostname) and parts.port != 0 and parts.path in ("", "/")
    except ValueError:  # a port that is none, half an IPv6 address
        is_proxy = False
    if not is_proxy or not value.isascii() or any(c.isspace() for c in value):
        raise SetupError(
            f"{variable} is not the URL of a proxy: write http://HOST:PORT, or "
            "http://USER:PASSWORD@HOST:PORT with special characters as %XX"
        )
    return _url(parts, "http" if scheme == "http" else "https")


def _url(parts: SplitResult, scheme: Literal["http", "https"]) -> str:
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{scheme}://{user}{host}:{parts.port or _PORTS[scheme]}"

"""Protection of customer keys (SSE-C) on their way: verified TLS, or the loopback interface.

A key asks here when a transport wants its headers, to encode a request. So no earlier decision can
send a key where it must not go. A redirect is followed by requests that have no key at all.
"""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from s3mount.errors import AccessDenied, SetupError
from s3mount.s3.tcp_connect import Address
from s3mount.s3.transport import Destination

_LOCAL_NAME = "localhost"  # RFC 6761, section 6.3


def check_protects_keys(endpoint: Destination, bucket: str) -> None:
    """Raise SetupError if customer keys must not be sent to *endpoint*, that of *bucket*."""
    reason = _exposure(endpoint)
    if reason is not None:
        raise SetupError(f"--sse-c-key-file: {reason}", bucket=bucket)


def check_destination(destination: Destination, url: str | None = None) -> None:
    """Raise AccessDenied if a request with a key must not be sent to *destination*, or to *url*."""
    reason = _exposure(destination)
    if reason is None and url is not None and not _is_of(destination, url):
        reason = "the request goes to another host"
    if reason is not None:
        raise AccessDenied(f"the customer key (SSE-C) is not sent: {reason}")


def loopback_addresses(addresses: Sequence[Address]) -> Sequence[Address]:
    """Return those of *addresses* that are loopback; ConnectionRefusedError if none is."""
    chosen = [address for address in addresses if _is_loopback(address[4][0])]
    if not chosen:
        raise ConnectionRefusedError("--sse-c-allow-http is for loopback addresses only")
    return chosen


def _exposure(endpoint: Destination) -> str | None:
    """Return why a key that is sent to *endpoint* could be read by others; None if it could not."""
    if endpoint.scheme == "https":
        if endpoint.verify_ssl:
            return None
        return "with --no-verify-ssl anyone in between could read the key; use --ca-bundle"
    if not endpoint.keys_over_http:
        return f"{endpoint.origin} is not HTTPS, and anyone in between could read the key"
    if not _is_local(endpoint.host):
        return f"--sse-c-allow-http is for loopback addresses only, and {endpoint.origin} is none"
    if endpoint.proxy is not None:
        return f"a proxy could read the key: put {endpoint.host} into NO_PROXY"
    return None


def _is_of(endpoint: Destination, url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    found = (parts.scheme, (parts.hostname or "").lower(), port)
    return found == (endpoint.scheme, endpoint.host.lower(), endpoint.port)


def _is_local(host: str) -> bool:
    name = host.lower().rstrip(".")
    return name == _LOCAL_NAME or name.endswith(f".{_LOCAL_NAME}") or _is_loopback(host)


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback

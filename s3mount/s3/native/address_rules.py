"""Rules for addresses that a redirect may lead to: none that is loopback or link-local.

Pure. A store must not be able to aim the mount at services that trust their own machine, or at the
metadata of a cloud. Addresses inside of others (IPv4 in IPv6) count as what they lead to.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from s3mount.s3.tcp_connect import Address

_METADATA = {
    *("169.254.169.254", "169.254.170.2", "169.254.170.23"),  # AWS, Azure, Google, Oracle; ECS, EKS
    *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),  # AWS, EKS; Google
    *("100.100.100.200", "168.63.129.16", "192.0.0.192"),  # Alibaba; Azure; Oracle
}
# whole networks, whatever `ipaddress` of this version of Python says of them
_KINDS = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("127.0.0.0/8", "loopback"),
        ("::1/128", "loopback"),
        ("0.0.0.0/8", "loopback"),  # Linux connects to itself
        ("::/128", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("fe80::/10", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
# NAT64 of all networks and of one's own (RFC 8215, with a prefix of 96 bits), SIIT
_TRANSLATED = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))
_COMPATIBLE = ip_network("::/96")


def kind_of(text: str) -> str | None:
    """Return why a redirect must not lead to the address *text*; None if it may."""
    address = _embedded(ip_address(text.partition("%")[0]))
    if str(address) in _METADATA:
        return "metadata"
    return next((kind for network, kind in _KINDS if address in network), None)


def kinds_of(addresses: Iterable[Address]) -> set[str]:
    """Return all kinds among *addresses*, as getaddrinfo returns them."""
    return {kind for address in addresses if (kind := kind_of(address[4][0])) is not None}


def allowed(addresses: Sequence[Address], kinds: set[str]) -> list[Address]:
    """Return those of *addresses* that have no kind, or one of *kinds*; never metadata."""
    return [
        address
        for address in addresses
        if (kind := kind_of(address[4][0])) is None or (kind in kinds and kind != "metadata")
    ]


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that *address* leads to, if it is of IPv6 and does."""
    if isinstance(address, IPv4Address):
        return address
    embedded = address.ipv4_mapped or address.sixtofour
    is_translated = any(address in network for network in _TRANSLATED)
    if embedded is None and (is_translated or (address in _COMPATIBLE and int(address) > 1)):
        embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    return embedded or address

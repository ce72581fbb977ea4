"""Check of the Host field, against DNS rebinding.

A page in a browser has a name of its own, and can have it resolve to 127.0.0.1 or to an address of
a private network. Then the browser lets it read what is served there; Host is the page's name. An
address, and a name of this machine itself, are in nobody's hands. Pure.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

HostCheck = Callable[[str], bool]
"""Whether a request with this Host is for this server."""

_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]@/?#]+))(?::[0-9]*)?")


def any_host(_host: str) -> bool:
    """HostCheck of a Unix socket, which no browser reaches."""
    return True


def host_check(listening: str, own_name: str) -> HostCheck:
    """Return the check of a server at the address *listening*, on the machine *own_name*.

    It allows loopback names and addresses, *own_name*, and *listening*; if that is the address of
    all interfaces (0.0.0.0 or ::), every address.
    """
    served = ipaddress.ip_address(listening.partition("%")[0])

    def is_allowed(host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match["v6"] or match["name"]).lower().removesuffix(".")
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in ("localhost", own_name.lower()) or name.endswith(".localhost")
        return address.is_loopback or address == served or served.is_unspecified

    return is_allowed

"""Resolver of the names below `s3.test`, for the process of a mount.

Python imports this module before the mount's own, if its directory is in PYTHONPATH.
"""

import os
import socket
from typing import Any

_resolve = socket.getaddrinfo


def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> list[Any]:
    """Return the addresses of $FIELD_ADDRESSES, in their order, for a name below `s3.test`."""
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or not f".{name}".endswith(".s3.test"):
        return _resolve(host, port, *arguments, **options)
    addresses = os.environ["FIELD_ADDRESSES"].split()
    return [found for each in addresses for found in _resolve(each, port, *arguments, **options)]


socket.getaddrinfo = getaddrinfo

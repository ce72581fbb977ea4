"""Policy of redirects: which URLs, hosts and addresses a redirect of the store may lead to.

Invariants:

1. At most REDIRECTS_MAX are followed, to http and https only, and never from https to http.
2. No connection is opened to a loopback, link-local or multicast address, whatever the name says,
   unless the endpoint itself has such an address; and never to a metadata service.
   A proxy resolves names itself; a name that this machine resolves to such an address is refused.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from s3mount.errors import SetupError
from s3mount.s3.endpoint.proxy import proxy_for
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.location import LocationError, Url, next_url
from s3mount.s3.native.address_rules import allowed, kinds_of
from s3mount.s3.native.request_encoding import encode_query, object_path
from s3mount.s3.tcp_connect import Address, OnWait, resolve_name
from s3mount.s3.transport import StoreRequest

REDIRECTS_MAX = 3


class RedirectPolicy:
    """Rules for the redirects of the store at *endpoint*. All of them raise LocationError."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._clock = clock

    def first_url(self, request: StoreRequest) -> Url:
        """Return the URL that *request* is sent to at the endpoint."""
        endpoint = self._endpoint
        path, query = object_path(endpoint.base_path, request.key), encode_query(request.query)
        target = f"{path}?{query}" if query else path
        return Url(endpoint.scheme, endpoint.host, endpoint.port, target)

    def next_url(self, location: str, base: Url, followed: int) -> Url:
        """Return where *location*, in the response to *base*, leads, after *followed* others."""
        if followed >= REDIRECTS_MAX:
            raise LocationError(f"more than {REDIRECTS_MAX} times")
        return next_url(location, base)

    def endpoint_of(self, url: Url) -> Endpoint:
        """Return the endpoint of *url*: that of the store, at another address, with its proxy."""
        try:
            proxy = proxy_for(url.origin)
        except SetupError as exc:
            raise LocationError(f"to {url.origin}, but {exc}") from exc
        return replace(
            self._endpoint,
            scheme=url.scheme,
            host=url.host,
            port=url.port,
            base_path="",
            headers={},
            proxy=proxy,
            keys_over_http=False,
        )

    def choose(self, target: Endpoint, addresses: Sequence[Address]) -> Sequence[Address]:
        """Return those of *addresses*, of *target*, that connections may be opened to."""
        if not (forbidden := kinds_of(addresses)):
            return addresses
        chosen = allowed(addresses, self._kinds_of_store())
        if not chosen:
            kind = min(forbidden)
            raise LocationError(f"to {target.origin}, which has a {kind} address")
        return chosen

    def check_name(self, target: Endpoint, deadline: float, on_wait: OnWait) -> None:
        """Refuse a name that leads to a forbidden address here; the proxy may know others."""
        addresses: Sequence[Address] = ()
        with suppress(OSError):
            addresses = resolve_name(target.host, target.port, deadline - self._clock(), on_wait)
        if addresses:
            self.choose(target, addresses)

    def _kinds_of_store(self) -> set[str]:
        store = self._endpoint
        try:
            timeout = store.connect_timeout
            return kinds_of(resolve_name(store.host, store.port, timeout, lambda _: None))
        except OSError:
            return set()

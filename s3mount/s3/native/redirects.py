"""Redirects of a store, followed: `--follow-redirects`, over either transport.

A store could aim the mount at any address, so this is off by default, and bounded. The operation
validates the response at the end as it validates every response.

Invariants:

1. Each redirect of a read is followed as `redirect_policy` admits it, by requests that
   `redirect_origins` sends unsigned. No other is followed.
2. Nothing is followed in the event loop: a response that is a redirect is never COMPLETE, so a
   thread finishes it; a cancelled request follows nothing.
3. The date and the region that another host tells do not count.
"""

import time
from collections.abc import Callable
from itertools import count
from types import TracebackType

from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.limits import ERROR_LIMIT
from s3mount.s3.location import LocationError, Url, is_redirect
from s3mount.s3.native.connection import Response as NativeResponse
from s3mount.s3.native.http_exchange import HttpExchange
from s3mount.s3.native.idle_limit import IdleLimit
from s3mount.s3.native.redirect_origins import RedirectOrigins
from s3mount.s3.native.redirect_policy import RedirectPolicy
from s3mount.s3.request_log import RequestLog
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import (
    READS,
    ErrorResponse,
    ErrorResponseError,
    Exchange,
    InvalidResponseError,
    Response,
    SentExchange,
    StoreRequest,
    Transport,
)

_CLAIMS = ("date", "x-amz-bucket-region")  # of which only those of the store count


class RedirectFollower:
    """`Transport` that follows what *transport*, which sends to *endpoint*, is redirected to.

    *idle_limit* is that of several followers.
    """

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        log: RequestLog | None = None,
        *,
        connections: int = 32,
        clock: Callable[[], float] = time.monotonic,
        idle_limit: IdleLimit | None = None,
    ) -> None:
        self._transport = transport
        self._origins = RedirectOrigins(
            RedirectPolicy(endpoint, clock), log or RequestLog(), connections, clock, idle_limit
        )
        self.preconnect = transport.preconnect
        self.renew_credentials = transport.renew_credentials
        self.adjust_clock = transport.adjust_clock

    def send(
        self, request: StoreRequest, *, deadline: float, cancel_token: CancelToken | None = None
    ) -> "FollowingExchange":
        token = cancel_token or CancelToken()
        exchange = self._transport.send(request, deadline=deadline, cancel_token=token)
        return FollowingExchange(exchange, request, self._origins, deadline, token)

    def send_nowait(
        self, request: StoreRequest, length: int, *, deadline: float, cancel_token: CancelToken
    ) -> "SentFollowingExchange | None":
        exchange = self._transport.send_nowait(
            request, length, deadline=deadline, cancel_token=cancel_token
        )
        if exchange is None:
            return None
        return SentFollowingExchange(exchange, request, self._origins, deadline, cancel_token)

    def close(self) -> None:
        self._transport.close()
        self._origins.close()


class FollowingExchange:
    """`Exchange` that begins with *exchange*, which sends *request* to the endpoint."""

    def __init__(
        self,
        exchange: Exchange,
        request: StoreRequest,
        origins: RedirectOrigins,
        deadline: float,
        cancel_token: CancelToken,
    ) -> None:
        self._request = request
        self._origins = origins
        self._deadline = deadline
        self._cancel_token = cancel_token
        # the exchange that was entered last; the same if it is with another host
        self._exchange = exchange
        self._hop: HttpExchange | None = None

    def __enter__(self) -> Response:
        response = self._exchange.__enter__()
        is_followed = is_redirect(response.status, response.headers)
        if not is_followed or self._request.method not in READS:
            return response
        return self._follow(response)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._exchange.__exit__(kind, exc, traceback)
        if self._hop is not None:
            self._origins.release(self._hop)

    def _follow(self, response: Response) -> Response:
        policy = self._origins.policy
        url = policy.first_url(self._request)
        for followed in count():
            status, location = response.status, response.headers["location"]
            self._leave(response)
            self._cancel_token.check()
            try:
                url = policy.next_url(location, url, followed)
                response = found = self._enter(url)
            except LocationError as exc:
                raise _refused(status, str(exc)) from exc
            self._origins.announce(url)
            if not is_redirect(found.status, found.headers):
                break
        for name in _CLAIMS:
            found.headers.pop(name, None)
        return found

    def _enter(self, url: Url) -> NativeResponse:
        self._exchange = self._hop = self._origins.exchange(
            url, self._request, self._deadline, self._cancel_token
        )
        return self._hop.__enter__()

    def _leave(self, response: Response) -> None:
        """End the exchange of *response*; the connection is kept if its body can be read."""
        try:
            response.read_all(ERROR_LIMIT)
        except (OSError, InvalidResponseError) as exc:
            self.__exit__(type(exc), exc, None)
        except BaseException as exc:  # raised again
            self.__exit__(type(exc), exc, None)
            raise
        else:
            self.__exit__(None, None, None)


class SentFollowingExchange(FollowingExchange):
    """`SentExchange` that begins with *sent*, which was sent without waiting."""

    def __init__(
        self,
        sent: SentExchange,
        request: StoreRequest,
        origins: RedirectOrigins,
        deadline: float,
        cancel_token: CancelToken,
    ) -> None:
        super().__init__(sent, request, origins, deadline, cancel_token)
        self._sent = sent
        self.fileno = sent.fileno
        self.receive_available = sent.receive_available

    @property
    def has_begun(self) -> bool:
        return self._sent.has_begun


def _refused(status: int, redirect: str) -> ErrorResponseError:
    return ErrorResponseError(ErrorResponse(status=status, redirect=redirect))

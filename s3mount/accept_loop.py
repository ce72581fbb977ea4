"""Accept loop of a listening socket: a task for each client, while a mount is served.

Invariants:

1. While no client is connected, nothing runs: no timer, no polling.
2. No failure of a client or of the socket ends the caller's event loop: one that is expected is
   logged at debug, any other one once with its traceback.

Which clients are served, how many, and for how long, is for the caller to decide.
"""

import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import trio

FAILURE_PAUSE: Final = 1.0  # seconds after a failure to accept, such as a lack of descriptors

Serve = Callable[[trio.socket.SocketType], Awaitable[None]]
"""Serve a client, whose socket is closed afterwards. May raise OSError if the client has gone."""

log = logging.getLogger(__name__)


async def serve_clients(
    name: str, listening: socket.socket, serve: Serve, wait_turn: Callable[[], Awaitable[None]]
) -> None:
    """Accept clients of *listening* until cancelled, each after *wait_turn* of the one before.

    *name* is what the log calls the server.
    """
    try:
        await _accept_clients(name, listening, serve, wait_turn)
    except Exception:  # a bug must not end the mount
        log.exception("the server of %s has ended: this is a bug", name)


async def _accept_clients(
    name: str, listening: socket.socket, serve: Serve, wait_turn: Callable[[], Awaitable[None]]
) -> None:
    listener = trio.socket.from_stdlib_socket(listening)
    async with trio.open_nursery() as nursery:
        while True:
            try:
                client, _ = await listener.accept()
            except OSError as exc:
                log.debug("the server of %s accepts nobody for now: %s", name, exc)
                await trio.sleep(FAILURE_PAUSE)
                continue
            nursery.start_soon(_serve_one, name, client, serve)
            await wait_turn()


async def _serve_one(name: str, client: trio.socket.SocketType, serve: Serve) -> None:
    try:
        with client:
            await serve(client)
    except (OSError, trio.BrokenResourceError):
        pass  # it has gone
    except Exception:  # a bug must not end the mount
        log.exception("a client of %s failed: this is a bug", name)

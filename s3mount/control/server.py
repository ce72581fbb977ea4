"""Server of the control socket: who is heard, and how many at once.

Invariants:

1. Only root, the user who serves and the user who mounted are heard, by the kernel's word
   (SO_PEERCRED). Others are disconnected without a word.
2. At most CLIENTS_MAX clients are connected; a further one is told so, and disconnected.
3. While no client is connected, nothing runs: no timer, no polling.
4. Clients together take a small share of the event loop, whatever they send (`pacer`).
5. No failure of a client, of a command or of the socket ends the mount.
6. It needs neither the store nor a connection to it: it answers while both are away.
"""

import socket
import struct
from collections.abc import Collection
from typing import Final

import trio

from s3mount.accept_loop import serve_clients
from s3mount.control.commands import Commands
from s3mount.control.connection import Connection, error_line
from s3mount.control.listening_socket import ListeningSocket
from s3mount.control.pacer import Pacer
from s3mount.control.protocol import Greeting

CLIENTS_MAX: Final = 16
_UCRED: Final = struct.Struct("=iII")  # pid, uid, gid: struct ucred, see unix(7)


class ControlServer:
    """Server of *commands* to the clients of *listening*; *allowed* are the uids that are heard."""

    def __init__(
        self,
        listening: ListeningSocket,
        greeting: Greeting,
        commands: Commands,
        allowed: Collection[int],
    ) -> None:
        self._listening = listening
        self._greeting = greeting
        self._commands = commands
        self._allowed = allowed
        self._clients = 0
        self._accepting = Pacer()
        self._running = Pacer()

    async def run(self) -> None:
        """Serve until cancelled."""
        wait_turn = self._accepting.wait_turn
        await serve_clients("the control socket", self._listening.socket, self._serve, wait_turn)

    async def _serve(self, client: trio.socket.SocketType) -> None:
        if not self._is_allowed(client):
            return
        if self._clients >= CLIENTS_MAX:
            await client.send(error_line("busy", f"there are {CLIENTS_MAX} clients"))
            return
        self._clients += 1
        try:
            connection = Connection(trio.SocketStream(client), self._commands, self._running)
            await connection.serve(self._greeting)
        finally:
            self._clients -= 1

    def _is_allowed(self, client: trio.socket.SocketType) -> bool:
        raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _, uid, _ = _UCRED.unpack(raw)
        return uid in self._allowed

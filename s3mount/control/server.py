"""Server of the control socket: which users are heard, and what each may ask.

Invariants:

1. Only root, the user who serves and the user who mounted are heard, by the kernel's word
   (SO_PEERCRED). Others are disconnected without a word.
2. A client for which there is no room (`admission`) is told so, and disconnected.
3. While no client is connected, nothing runs: no timer, no polling.
4. Clients together take a small share of the event loop, whatever they send (`pacer`).
5. No failure of a client, of a command or of the socket ends the mount.
6. It needs neither the store nor a connection to it: it answers while both are away.
"""

from collections.abc import Collection

import trio

from s3mount.accept_loop import serve_clients
from s3mount.control.admission import CLIENTS_MAX, Admission
from s3mount.control.commands import Commands
from s3mount.control.connection import Connection, error_line
from s3mount.control.listening_socket import ListeningSocket
from s3mount.control.pacer import Pacer
from s3mount.control.protocol import Greeting
from s3mount.socket_file import peer_uid


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
        self._admission = Admission()
        self._accepting = Pacer()
        self._running = Pacer()

    async def run(self) -> None:
        """Serve until cancelled."""
        wait_turn = self._accepting.wait_turn
        await serve_clients("the control socket", self._listening.socket, self._serve, wait_turn)

    async def _serve(self, client: trio.socket.SocketType) -> None:
        uid = peer_uid(client)
        if uid not in self._allowed:
            return
        if not self._admission.has_room(uid, trio.current_time()):
            await client.send(error_line("busy", f"this user has {CLIENTS_MAX} clients here"))
            return
        connection = Connection(
            trio.SocketStream(client),
            self._commands,
            self._running,
            may_stream=lambda: self._admission.may_stream(uid),
        )
        self._admission.add(uid, connection)
        try:
            await connection.serve(self._greeting)
        finally:
            self._admission.remove(uid, connection)

"""Connection of one client: requests in, replies out.

Invariants:

1. Commands of one client run one after another. The reply of each is complete, or the connection
   ends.
2. What the client has sent and the server has not taken is at most a line (LINE_MAX). A client that
   sends more is dropped.
3. A client that does not read is dropped after SEND_TIMEOUT, and one without a command after
   IDLE_TIMEOUT, or earlier if it has to make room (`admission`). No more than one line waits to be
   sent, or the items that a command sends at once.
4. When the client closes its connection, or only its sending side, its command is cancelled.
5. Whatever a command raises, the client gets an error, and the server goes on.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import trio

from s3mount.control.commands import Command, Commands
from s3mount.control.pacer import Pacer
from s3mount.control.protocol import (
    COMMANDS,
    Code,
    Greeting,
    LineSplitter,
    LineTooLongError,
    Object,
    ProtocolError,
    Request,
    encode,
    parse_request,
)
from s3mount.errors import NotFound, S3MountError
from s3mount.printable import one_line

SEND_TIMEOUT: Final = 10.0  # seconds
IDLE_TIMEOUT: Final = 60.0  # seconds
_PIECE: Final = 16 << 10  # bytes of one receive

log = logging.getLogger(__name__)


class Connection:
    """One client at *stream*, until it goes or is dropped.

    *may_stream* says whether it may run a command with items, as *is_streaming* says that it does.
    """

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        commands: Commands,
        pacer: Pacer,
        *,
        may_stream: Callable[[], bool],
    ) -> None:
        self.idle_since: float | None = trio.current_time()
        self.is_streaming = False
        self._stream = stream
        self._commands = commands
        self._pacer = pacer
        self._may_stream = may_stream
        self._scope = trio.CancelScope()  # cancelled to drop the client
        self._sending = trio.Lock()
        # what was received and not taken; the event is set by more of it
        self._lines = LineSplitter()
        self._received = trio.Event()

    async def serve(self, greeting: Greeting) -> None:
        """Return when the client is gone. Raises nothing but bugs."""
        async with self._stream:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive)
                    await self._send(encode(greeting.as_object()))
                    await self._serve_requests()

    def drop(self) -> None:
        """End the connection, and cancel its command."""
        self._scope.cancel()

    async def _receive(self) -> None:
        """Receive all the time, so that the end of the client is seen at once."""
        try:
            while piece := await self._stream.receive_some(_PIECE):
                self._lines.feed(piece)
                self._received.set()
        except trio.BrokenResourceError:
            pass
        except LineTooLongError:
            await self._send(
                error_line("bad-request", "too much at once: a request is one short line")
            )
        self._scope.cancel()

    async def _serve_requests(self) -> None:
        while True:
            with trio.move_on_after(IDLE_TIMEOUT) as idle:
                line = await self._next_line()
            if idle.cancelled_caught:
                break
            self.idle_since = None
            await self._pacer.wait_turn()
            await self._send(await self._reply(line))
            self.idle_since = trio.current_time()
        self._scope.cancel()

    async def _next_line(self) -> bytes:
        while (line := self._lines.next_line()) is None:
            self._received = trio.Event()
            await self._received.wait()
        return line

    async def _reply(self, line: bytes) -> bytes:
        """Run the request in *line*; the last line of its reply."""
        name = "?"
        try:
            request = parse_request(line)
            name = request.command
            command = self._commands.get(name)
            if command is None:
                return error_line("unknown-command", f"this mount does not offer {name}")
            log.debug("control socket: %s", name)
            return encode({"result": await self._run(request, command)})
        except ProtocolError as exc:
            return error_line(exc.code, str(exc))
        except S3MountError as exc:
            code: Code = "no-such-path" if isinstance(exc, NotFound) else "failed"
            return error_line(code, _described(exc))
        except Exception:  # a bug of a command must end neither the connection nor the mount
            log.exception("the command %s of the control socket failed: this is a bug", name)
            return error_line("failed", "an internal error; the log has its traceback")

    async def _run(self, request: Request, command: Command) -> Object:
        if not COMMANDS[request.command].has_items:
            return await command(request.arguments, self._send_items)
        if not self._may_stream():
            raise ProtocolError("busy", "too many clients of this user run trace or warm")
        self.is_streaming = True
        try:
            return await command(request.arguments, self._send_items)
        finally:
            self.is_streaming = False

    async def _send_items(self, items: Sequence[Object]) -> None:
        await self._send(b"".join(encode({"item": item}) for item in items))

    async def _send(self, lines: bytes) -> None:
        """Send *lines*; if the client does not take them, drop the client."""
        async with self._sending:
            with trio.move_on_after(SEND_TIMEOUT):
                try:
                    await self._stream.send_all(lines)
                except trio.BrokenResourceError:
                    pass
                else:
                    return
        self._scope.cancel()
        await trio.sleep_forever()  # raises Cancelled


def error_line(code: Code, message: str) -> bytes:
    """Return the last line of a reply that is a refusal."""
    return encode({"error": {"code": code, "message": one_line(message)}})


def _described(exc: S3MountError) -> str:
    """Return the message of *exc* with the key that it is about."""
    return str(exc) if exc.key is None else f"{exc}: {exc.key}"

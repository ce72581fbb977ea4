"""Client of the control socket: see s3mount.control.protocol.

One command at a time. What the server sends is bounded and checked: it may be of another version.
"""

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self

from s3mount.control.protocol import (
    VERSION,
    LineSplitter,
    LineTooLongError,
    ProtocolError,
    decode,
    encode,
)
from s3mount.ctl.mounts import Mount
from s3mount.errors import CommandFailed, NotServed
from s3mount.frozen_dataclass import dataclass
from s3mount.printable import printable
from s3mount.socket_file import peer_uid, socket_address

GREETING_LIMIT: Final = 1.0  # seconds until the greeting of a mount that is listed
START_LIMIT: Final = 5.0  # the same of a mount that is used: if it has just begun, it imports first
REPLY_LIMIT: Final = 10.0  # seconds until the reply of a command that waits for nothing
BUSY_LIMIT: Final = 5.0  # seconds until a mount has room: an idle client makes it after 3
_BUSY_PAUSE: Final = 0.25  # seconds between attempts
_FULL_PAUSE: Final = 0.02  # the same, while too many wait to be accepted: a mount takes 50 a second
_LINE_MAX: Final = 16 << 20  # bytes: far more than a listing of mounts or a status can be
_RECEIVE: Final = 64 << 10
MOMENT_MAX: Final = 253_402_300_800.0  # Unix time of the year 10000, which strftime cannot write
_LOST: Final = select.POLLERR | select.POLLHUP  # of a pipe, and of a socket
_PATH_SHOWN: Final = 4 * os.pathconf("/", "PC_PATH_MAX")  # bytes: each may be escaped

Reply = Mapping[str, Any]  # JSON; Any, since the view knows the fields


class RefusedError(OSError):
    """Sockets without a process: the one that served the mount has ended."""


class UntrustedError(OSError):
    """Sockets that another user's process serves, who may be neither root nor of the mount."""


class BusyError(CommandFailed):
    """The mount has no room for a client of this user now."""


class OtherVersionError(CommandFailed):
    """The mount speaks another version of the protocol."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """First line of the server: *text* is the whole of it."""

    text: Reply
    pid: int
    since: float
    version: str


class Client:
    """Connection to one mount, after its greeting. *_lines* has what was received, and not read."""

    def __init__(
        self, connection: socket.socket, mount: Mount, greeting_limit: float = GREETING_LIMIT
    ) -> None:
        self.mount = mount
        self._socket = connection
        self._lines = LineSplitter(_LINE_MAX)
        self.greeting = self._greet(greeting_limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()

    def call(self, command: str, **arguments: object) -> Reply:
        """Return the result of *command*, without its items. Raises as `replies`."""
        for kind, value in self.replies(command, arguments, limit=REPLY_LIMIT):
            if kind == "result":
                return value
        raise self._ended()

    def replies(
        self,
        command: str,
        arguments: Mapping[str, object],
        *,
        limit: float | None = None,
        watched: int | None = None,
        before_wait: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[str, Reply]]:
        """Yield ("item", …) and at last ("result", …); each takes at most *limit* seconds.

        Ends early if the descriptor *watched* has lost its reader. *before_wait* is called when
        all that was received has been yielded. Raises CommandFailed, or NotServed if the mount
        ends or does not respond.
        """
        line = encode({"command": command, "arguments": arguments})
        try:
            self._socket.settimeout(REPLY_LIMIT)
            self._socket.sendall(line)
        except OSError as exc:
            raise self._ended() from exc
        while (text := self._line(limit, watched, before_wait)) is not None:
            reply = self._parsed(text)
            if "error" in reply:
                raise _failure(reply["error"])
            kind = "item" if "item" in reply else "result"
            value = reply.get(kind)
            if not isinstance(value, dict):
                raise self._nonsense()
            yield kind, value
            if kind == "result":
                return

    def _greet(self, limit: float) -> Greeting:
        line = self._line(limit)
        assert line is not None, "nothing is watched"
        text = self._parsed(line)
        if "error" in text:
            raise _failure(text["error"])
        if text.get("protocol") != VERSION:
            raise OtherVersionError(
                f"{self._name} speaks version {text.get('protocol')!r:.20} of the protocol, and "
                f"this s3mountctl version {VERSION}: use the s3mountctl of that mount's s3mount"
            )
        if text.get("connection") != self.mount.connection:
            raise self._nonsense()
        try:
            since = float(text["since"])
            greeting = Greeting(text, int(text["pid"]), since, str(text["s3mount"]))
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise self._nonsense() from exc
        if not 0 <= since < MOMENT_MAX:
            raise self._nonsense()
        return greeting

    def _line(
        self,
        limit: float | None,
        watched: int | None = None,
        before_wait: Callable[[], None] = lambda: None,
    ) -> bytes | None:
        """Return the next line; None if *watched* has lost its reader. Raises NotServed."""
        deadline = None if limit is None else time.monotonic() + limit
        while (line := self._lines.next_line()) is None:
            before_wait()
            if not self._wait(deadline, watched):
                return None
            try:
                received = self._socket.recv(_RECEIVE)
            except OSError as exc:
                raise self._ended() from exc
            if not received:
                raise self._ended()
            try:
                self._lines.feed(received)
            except LineTooLongError as exc:
                raise self._nonsense() from exc
        return line

    def _wait(self, deadline: float | None, watched: int | None) -> bool:
        """Wait until the socket has something. Returns False if *watched* has lost its reader."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if watched is not None:
            poll.register(watched, 0)  # these are always reported
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        events = dict(poll.poll(remaining))
        if not events:
            raise NotServed(
                f"{self._name} does not respond; look at its log, or at its process with ps"
            )
        return watched is None or not events.get(watched, 0) & _LOST

    def _parsed(self, line: bytes) -> Reply:
        try:
            return decode(line)
        except ProtocolError as exc:
            raise self._nonsense() from exc

    @property
    def _name(self) -> str:
        return f"the mount at {printable(self.mount.mountpoint)}"

    def _ended(self) -> NotServed:
        return NotServed(f"{self._name} has closed the connection; see s3mountctl list")

    def _nonsense(self) -> CommandFailed:
        return CommandFailed(
            f"{self._name} sends what is not of the protocol: "
            "use the s3mountctl of that mount's s3mount"
        )


@contextmanager
def connected(mount: Mount) -> Iterator[Client]:
    """Connect to *mount*. Raises NotServed, which says what to do."""
    name = f"the mount at {printable(mount.mountpoint)}"
    if not mount.sockets:
        raise NotServed(f"{name} has {no_socket_hint()}")
    try:
        client = _greeted(mount)
    except RefusedError as exc:
        raise NotServed(f"{name} is dead; clear it: {clear_command(mount)}") from exc
    except UntrustedError as exc:
        raise NotServed(
            f"{name} has a control socket that {exc.strerror}, which may not; "
            "try as the one who mounted, or as root"
        ) from exc
    except PermissionError as exc:
        raise NotServed(f"{name} is another user's; try as that user, or as root") from exc
    except OSError as exc:
        raise NotServed(f"{name} does not respond: {exc.strerror or exc}") from exc
    with client:
        yield client


def _greeted(mount: Mount) -> Client:
    """Connect to *mount*, again while it is busy, for BUSY_LIMIT. Raises as `connected`."""
    deadline = time.monotonic() + BUSY_LIMIT
    while True:
        connection = open_socket(mount)
        try:
            return Client(connection, mount, START_LIMIT)
        except BusyError:
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE)
        except BaseException:  # raised again
            connection.close()
            raise


def open_socket(mount: Mount) -> socket.socket:
    """Connect to the first of the mount's sockets that is not stale, within GREETING_LIMIT.

    Its server has to be root, the mount's user or this user, whose file it was when the socket was
    found: another user may have put a link there since. Raises RefusedError if all are stale,
    UntrustedError if one is of another user and no other one answers, or OSError.
    """
    failure: OSError = RefusedError(errno.ENOENT, os.strerror(errno.ENOENT))
    for path in mount.sockets:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(GREETING_LIMIT)
        try:
            with socket_address(path) as address:
                _connect(connection, address)
            _check_server(connection, mount)
        except ConnectionRefusedError as exc:
            connection.close()
            failure = RefusedError(exc.errno, exc.strerror)
        except UntrustedError as exc:
            connection.close()
            failure = exc
        except BaseException:  # raised again
            connection.close()
            raise
        else:
            return connection
    raise failure


def _connect(connection: socket.socket, address: str) -> None:
    """Connect within GREETING_LIMIT. Raises OSError.

    A socket with a timeout does not wait in connect(2) while the backlog is full: it gets EAGAIN.
    """
    deadline = time.monotonic() + GREETING_LIMIT
    while True:
        try:
            connection.connect(address)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_FULL_PAUSE)
        else:
            return


def _check_server(connection: socket.socket, mount: Mount) -> None:
    """Raise UntrustedError unless the server at *connection* may be that of *mount*."""
    uid = peer_uid(connection)
    if uid not in (0, mount.owner, os.getuid()):
        raise UntrustedError(errno.EPERM, f"a process of uid {uid} serves")


def no_socket_hint() -> str:
    """Return why there may be no socket, and what to do."""
    if os.geteuid() == 0:
        return "no control socket: mount it again, without --no-control"
    return "no control socket for this user: try as the one who mounted, or as root"


def clear_command(mount: Mount) -> str:
    """Return the command that removes a dead mount, as a shell takes it."""
    import shlex  # noqa: PLC0415 - for the few who need it

    return f"s3mount-clear {shlex.quote(printable(mount.mountpoint, _PATH_SHOWN))}"


def _failure(error: object) -> CommandFailed:
    text = error if isinstance(error, dict) else {}
    code = text.get("code", "failed")
    message = printable(str(text.get("message", "the mount does not say why")), 1000)
    kind = BusyError if code == "busy" else CommandFailed
    return kind(f"{message} ({printable(str(code))})")

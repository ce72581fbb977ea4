r"""Wire protocol of the control socket, version 1: JSON lines, and the table of commands.

Pure, and shared by server and clients. Names that are no UTF-8 travel as lone surrogates (`\udcXX`,
Python's surrogateescape), which JSON can escape.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, field
from types import MappingProxyType
from typing import Any, Final, Literal

from s3mount.frozen_dataclass import dataclass

VERSION: Final = 1
LINE_MAX: Final = 64 << 10  # bytes of a request, its newline excluded
PATH_MAX: Final = 4096  # bytes, see limits.h

Code = Literal[
    "bad-request", "unknown-command", "unknown-version", "no-such-path", "failed", "busy"
]
CODES: Final[Mapping[Code, str]] = MappingProxyType(
    {
        "bad-request": "The line is no request, or an argument is unknown or has a wrong type.",
        "unknown-command": "This mount has no such command.",
        "unknown-version": "The request is of another version of the protocol.",
        "no-such-path": "The store has nothing at the path.",
        "failed": "The command failed; the message says why, or that the log does.",
        "busy": "This user has too many clients, or too many that run `trace` or `warm`.",
    }
)

Arguments = Mapping[str, Any]
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ArgumentType:
    """JSON type of an argument, and its default; a command needs *is_required* ones."""

    name: Literal["string", "boolean", "integer", "list of strings"]
    default: Any = None
    is_required: bool = False

    def accepts(self, value: object) -> bool:
        """Whether *value* has this type; null passes for the default of null."""
        if value is None:
            return self.default is None and not self.is_required
        match self.name:
            case "string":
                return isinstance(value, str)
            case "boolean":
                return isinstance(value, bool)
            case "integer":
                return isinstance(value, int) and not isinstance(value, bool)
            case "list of strings":
                return isinstance(value, list) and all(isinstance(each, str) for each in value)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command: its arguments, by name, and whether items precede its result."""

    name: str
    arguments: Mapping[str, ArgumentType] = field(default_factory=dict)
    has_items: bool = False


_TEXT: Final = ArgumentType("string", is_required=True)
_FALSE: Final = ArgumentType("boolean", default=False)

COMMANDS: Final[Mapping[str, CommandSpec]] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            CommandSpec("status"),
            CommandSpec("activity"),
            CommandSpec("trace", {"errors": _FALSE, "key": ArgumentType("string")}, has_items=True),
            CommandSpec("refresh", {"path": ArgumentType("string", default="")}),
            CommandSpec("log-level", {"level": _TEXT}),
            CommandSpec("attributes", {"path": _TEXT, "parts": _FALSE}),
            CommandSpec(
                "warm",
                {
                    "paths": ArgumentType("list of strings", is_required=True),
                    "listing_only": _FALSE,
                    "jobs": ArgumentType("integer", default=4),
                    "dry_run": _FALSE,
                },
                has_items=True,
            ),
            CommandSpec(
                "restore",
                {
                    "paths": ArgumentType("list of strings", is_required=True),
                    "status": _FALSE,
                    "tier": ArgumentType("string", default="Standard"),
                    "days": ArgumentType("integer"),
                },
                has_items=True,
            ),
            CommandSpec("verify", {"path": _TEXT}, has_items=True),
            CommandSpec("versions", {"path": _TEXT}, has_items=True),
            CommandSpec("cache-list", {"path": ArgumentType("string")}, has_items=True),
            CommandSpec("cache-verify", {"path": ArgumentType("string")}, has_items=True),
            CommandSpec("cache-clear", {"path": ArgumentType("string")}),
            CommandSpec(
                "cache-pin", {"path": _TEXT, "pinned": ArgumentType("boolean", default=True)}
            ),
        )
    }
)


class ProtocolError(Exception):
    """A refusal: its *code* and message go to the client."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code


class LineTooLongError(Exception):
    """More than LINE_MAX bytes came without a newline, or before the server took them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """First line of the server; *since* is the Unix time at which the mount began."""

    protocol: int = VERSION
    s3mount: str
    pid: int
    connection: int
    source: str
    mountpoint: str
    since: float

    def as_object(self) -> Object:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Request:
    """A command with all its arguments: those that were left out have their defaults."""

    command: str
    arguments: Arguments


class LineSplitter:
    """Splitter of a byte stream into lines, which holds at most *limit* bytes of them.

    *limit* None is for a client, which trusts its server.
    """

    def __init__(self, limit: int | None = LINE_MAX) -> None:
        self._limit = limit
        # bytes of lines that `next_line` has not returned; no newline is in the first *_searched*
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, piece: bytes | bytearray) -> None:
        """Add the next bytes. Raises LineTooLongError if too many are held then."""
        self._buffer += piece
        if self._limit is not None and len(self._buffer) > self._limit + 1:
            raise LineTooLongError

    def next_line(self) -> bytes | None:
        """Return the next line without its newline, and drop it; None if none is complete."""
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line


def encode(message: Object) -> bytes:
    """Return *message* as one line of ASCII. Raises ValueError or TypeError if it is no JSON."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the object in *line*. Raises ProtocolError ("bad-request")."""
    try:
        found = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ProtocolError("bad-request", "the line is nested too deeply") from None
    except ValueError:
        raise ProtocolError("bad-request", "the line is no JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise ProtocolError("bad-request", "the line is no JSON object")
    return found


def parse_request(line: bytes) -> Request:
    """Return the request in *line*, checked by the table of commands. Raises ProtocolError."""
    found = decode(line)
    if found.pop("protocol", VERSION) != VERSION:
        raise ProtocolError("unknown-version", f"this mount speaks version {VERSION}")
    name, arguments = found.pop("command", None), found.pop("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ProtocolError("bad-request", 'a request is {"command":"NAME","arguments":{}}')
    if found:
        raise ProtocolError("bad-request", f"unknown field: {shown(min(found))}")
    spec = COMMANDS.get(name)
    if spec is None:
        raise ProtocolError("unknown-command", f"unknown command: {shown(name)}")
    return Request(name, _checked(spec, arguments))


def names_in(path: str) -> tuple[bytes, ...]:
    """Return the components of *path*, relative to the mount; none for the mount itself.

    Raises ProtocolError for what is no such path.
    """
    try:
        octets = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ProtocolError("bad-request", "path: not the bytes of a path") from None
    names = tuple(name for name in octets.split(b"/") if name)
    if len(octets) > PATH_MAX or b"\0" in octets or path.startswith("/"):
        raise ProtocolError(
            "bad-request", f"path: it is not relative, has a NUL, or is over {PATH_MAX} bytes"
        )
    if any(name in (b".", b"..") for name in names):
        raise ProtocolError("bad-request", "path: it must not contain . or ..")
    return names


def shown(text: str) -> str:
    """Return *text* from a client in a form that is safe in a message."""
    return ascii(text[:100])


def _checked(spec: CommandSpec, arguments: Arguments) -> Arguments:
    for name, value in arguments.items():
        argument = spec.arguments.get(name)
        if argument is None:
            raise ProtocolError("bad-request", f"{spec.name} has no argument {shown(name)}")
        if not argument.accepts(value):
            raise ProtocolError("bad-request", f"{name}: it is no {argument.name}")
    for name, argument in spec.arguments.items():
        if argument.is_required and name not in arguments:
            raise ProtocolError("bad-request", f"{name}: it is missing")
    defaults = {name: argument.default for name, argument in spec.arguments.items()}
    return {**defaults, **arguments}


def _refuse_constant(name: str) -> None:
    """NaN and Infinity are no JSON, although Python reads them."""
    raise ValueError(name)

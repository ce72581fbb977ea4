"""Client of a mount's control socket, as a program of the user would be one."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from s3mount.control.locations import find_sockets, search_folders
from s3mount.control.protocol import LineSplitter
from s3mount.daemon.mounting.mount_table import mount_at

TIMEOUT = 20.0  # seconds until a test fails


class ControlClient:
    """A connection; *greeting* is the first line of the server."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._lines = LineSplitter(limit=None)
        self.greeting = self.receive()

    def ask(self, command: str, **arguments: object) -> dict[str, Any]:
        """Run *command*, and return its result; AssertionError if it is an error."""
        self.send(command, **arguments)
        reply = self.receive()
        assert "result" in reply, reply
        result: dict[str, Any] = reply["result"]
        return result

    def send(self, command: str, **arguments: object) -> None:
        line = json.dumps({"command": command, "arguments": arguments})
        self.socket.sendall(line.encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """Return the next line; an empty object at the end."""
        while (line := self._lines.next_line()) is None:
            piece = self.socket.recv(1 << 16)
            if not piece:
                return {}
            self._lines.feed(piece)
        found: dict[str, Any] = json.loads(line)
        return found

    def receive_item(self) -> dict[str, Any]:
        item: dict[str, Any] = self.receive()["item"]
        return item


def control_socket(at: Path) -> Path:
    """Return the path of the control socket of the mount at *at*.

    A mount that was killed leaves a socket, perhaps of the same number, and one that ends has one
    for a moment.
    """
    entry = mount_at(str(at))
    assert entry is not None
    connection = int(entry.device.partition(":")[2])
    found = find_sockets(search_folders({}, 0))
    candidates = (each.path for each in found if each.connection == connection)
    listening = list(filter(_is_listening, candidates))
    if len(listening) > 1:
        listening = [path for path in listening if _mountpoint(path) == str(at)]
    (path,) = listening
    return path


def _mountpoint(path: Path) -> str:
    with connected(path) as client:
        return str(client.greeting["mountpoint"])


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as made:
        return made.connect_ex(str(path)) == 0


@contextmanager
def control_client(at: Path) -> Iterator[ControlClient]:
    """Connect to the mount at *at*."""
    with connected(control_socket(at)) as client:
        yield client


@contextmanager
def connected(path: Path) -> Iterator[ControlClient]:
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(TIMEOUT)
        made.connect(str(path))
        yield ControlClient(made)


def ask(at: Path, command: str, **arguments: object) -> dict[str, Any]:
    """Run one command of the mount at *at*, and return its result."""
    with control_client(at) as client:
        return client.ask(command, **arguments)

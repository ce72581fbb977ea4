"""Scripted server of the control socket: replies to each command as a test says."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

CONNECTION: Final = 52
GREETING: Final[Mapping[str, Any]] = {
    "protocol": 1,
    "s3mount": "0.1.0",
    "pid": 4711,
    "connection": CONNECTION,
    "source": "s3://photos/2024",
    "mountpoint": "/mnt/photos",
    "since": 1764160000.25,
}

Script = Mapping[str, Callable[[Mapping[str, Any]], Iterable[Mapping[str, Any]]]]


class ControlServer:
    """A server at *path*. *requests* are what clients sent, *left* is set when one has closed.

    Clients get *greetings* one after another, all others the last one. A greeting of None is never
    sent: the server hangs.
    """

    def __init__(self, path: Path, script: Script, *greetings: Mapping[str, Any] | None) -> None:
        self.requests: list[dict[str, Any]] = []
        self.left = threading.Event()
        self.script = {**script}
        self._greetings = [*(greetings or (GREETING,))]
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """End all threads; the socket stays, as after a kill."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), client.makefile("rb") as lines:
            greeting = self._greetings.pop(0) if len(self._greetings) > 1 else self._greetings[0]
            if greeting is not None:
                _send(client, greeting)
            for line in lines:
                request = json.loads(line)
                self.requests.append(request)
                for reply in self.script[request["command"]](request["arguments"]):
                    _send(client, reply)
        self.left.set()


@contextmanager
def control_server(
    path: Path, script: Script, *greetings: Mapping[str, Any] | None
) -> Iterator[ControlServer]:
    """Serve *script* at *path*."""
    server = ControlServer(path, script, *greetings)
    try:
        yield server
    finally:
        server.close()


def results(*values: Mapping[str, Any]) -> Callable[[object], Iterator[Mapping[str, Any]]]:
    """Return the replies to a command: one of *values* each time, the last for ever."""
    left = [*values]
    return lambda _: iter([{"result": left.pop(0) if len(left) > 1 else left[0]}])


def items(*values: Mapping[str, Any], result: Mapping[str, Any]) -> Callable[[object], Any]:
    """Return the replies to a command with items."""
    return lambda _: [*({"item": value} for value in values), {"result": result}]


def _send(client: socket.socket, message: Mapping[str, Any]) -> None:
    client.sendall(json.dumps(message).encode() + b"\n")

"""Outages of the whole store: refused, reset, ignored or disturbed connections."""

import contextlib
import fcntl
import socket
import termios
from collections.abc import Callable

from tests.faults.catalogue.rows import Misbehaviour, Outcome
from tests.faults.hostile_store import RESET, HangUp, HostileStore
from tests.faults.workloads import LIST, LOOK, READ
from tests.waiting import wait_until

RIGHT, FAILED = Outcome.RIGHT, Outcome.FAILED


def _at_accept(
    meet: Callable[[HostileStore, socket.socket], None],
) -> Callable[[HostileStore], None]:
    """Return an outage in which *meet* handles new connections and established ones are reset."""

    def outage(store: HostileStore) -> None:
        store.at_accept = lambda connection: meet(store, connection)
        store.reset_connections()

    return outage


def _reset(store: HostileStore, connection: socket.socket) -> None:
    del store
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    raise HangUp


def _close(store: HostileStore, connection: socket.socket) -> None:
    del store, connection
    raise HangUp


def _ignore(store: HostileStore, connection: socket.socket) -> None:
    del connection
    store.faults_ended.wait()
    raise HangUp


def _greet(store: HostileStore, connection: socket.socket) -> None:
    del store
    connection.sendall(b"220 welcome\r\n")


def _hesitate(store: HostileStore, connection: socket.socket) -> None:
    del connection
    store.faults_ended.wait(1)


def _wait_acknowledged(connection: socket.socket) -> None:
    """Wait until the peer's kernel has all that was sent, FIN included; see SIOCOUTQ in tcp(7)."""
    wait_until(lambda: not any(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))))


def _to_the_idle(act: Callable[[socket.socket], object]) -> Callable[[HostileStore], None]:
    def outage(store: HostileStore) -> None:
        connections = store.connections
        assert connections, "no connection is idle"
        for connection in connections:
            with contextlib.suppress(OSError, ValueError):  # closed meanwhile
                act(connection)
                _wait_acknowledged(connection)

    return outage


_SHUT = {
    "connections are refused": HostileStore.refuse,
    "connections wait in a full queue": HostileStore.accept_none,
    "connections are reset at once": _at_accept(_reset),
    "connections are closed at once": _at_accept(_close),
    "connections are ignored": _at_accept(_ignore),
    "connections are greeted in another protocol": _at_accept(_greet),
}

_TAMPERED = {
    "idle connections are reset": HostileStore.reset_connections,
    "idle connections are closed": _to_the_idle(
        lambda connection: connection.shutdown(socket.SHUT_RDWR)
    ),
    "idle connections are half-closed": _to_the_idle(
        lambda connection: connection.shutdown(socket.SHUT_WR)
    ),
    "idle connections get junk": _to_the_idle(
        lambda connection: connection.send(b"\0junk\r\n\r\n")
    ),
    "idle connections get a response": _to_the_idle(
        lambda connection: connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    ),
    "each connection is taken a second late": _at_accept(_hesitate),
}

ROWS = (
    *(
        Misbehaviour(name, READ, outage=outage, once=RIGHT, always=FAILED)
        for name, outage in _SHUT.items()
    ),
    *(
        Misbehaviour(f"{name}, while listing", LIST, outage=outage, once=RIGHT, always=FAILED)
        for name, outage in _SHUT.items()
    ),
    Misbehaviour(
        "connections are refused, while looking for a name that is not there",
        LOOK,
        outage=HostileStore.refuse,
        once=RIGHT,
        always=FAILED,
    ),
    *(Misbehaviour(name, READ, outage=outage, always=RIGHT) for name, outage in _TAMPERED.items()),
)

"""Admission of clients: how many each user may have, and which of them makes room for another.

Pure but for the clients that it drops.

Invariants:

1. A user has at most CLIENTS_MAX clients. So no user keeps another one out.
2. Above that, the client that has been idle the longest is dropped for the new one, if it has been
   idle for IDLE_MIN: a display asks more often.
3. At most STREAMS_MAX of them run a command with items, which may never end. The others run
   commands that end within seconds. So a user who tries again for a few seconds gets in.
"""

from collections import defaultdict
from typing import Final, Protocol

CLIENTS_MAX: Final = 16
STREAMS_MAX: Final = 12
IDLE_MIN: Final = 3.0  # seconds; `s3mountctl top` asks once a second


class Client(Protocol):
    """A connected client; *idle_since* is None while a request of it is under way."""

    @property
    def idle_since(self) -> float | None: ...
    @property
    def is_streaming(self) -> bool: ...
    def drop(self) -> None: ...


class Admission:
    """The connected clients of one mount, by user."""

    def __init__(self) -> None:
        self._clients: defaultdict[int, list[Client]] = defaultdict(list)

    def has_room(self, uid: int, now: float) -> bool:
        """Whether *uid* may have another client, for which an idle one may have been dropped."""
        clients = self._clients[uid]
        if len(clients) < CLIENTS_MAX:
            return True
        idle = [(since, each) for each in clients if (since := each.idle_since) is not None]
        since, longest_idle = min(idle, key=lambda pair: pair[0], default=(now, None))
        if longest_idle is None or now - since < IDLE_MIN:
            return False
        clients.remove(longest_idle)
        longest_idle.drop()
        return True

    def add(self, uid: int, client: Client) -> None:
        self._clients[uid].append(client)

    def remove(self, uid: int, client: Client) -> None:
        """Forget *client*, unless it has made room."""
        if client in self._clients[uid]:
            self._clients[uid].remove(client)

    def may_stream(self, uid: int) -> bool:
        """Whether another client of *uid* may run a command with items."""
        return sum(each.is_streaming for each in self._clients[uid]) < STREAMS_MAX

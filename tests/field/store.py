"""S3 server on loopback whose answers a chain of oddities rewrites.

Knows the order of the oddities; `kinds` defines them, `tests.faults.bucket` the correct answers.
"""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from types import TracebackType

from tests.faults.bucket import Bucket, Request, Response
from tests.faults.hostile_store import Exchange, HostileStore

Answer = Callable[[Request], Response]
Oddity = Callable[["Visit", Answer], Response]


class Visit:
    """One request, as an oddity sees it."""

    def __init__(self, store: "ScriptedStore", exchange: Exchange) -> None:
        self.store = store
        self.exchange = exchange
        self.request = exchange.request

    def count(self, counter: Hashable) -> int:
        """Return how many visits of this store counted *counter*, this one included."""
        return self.store.count(counter)


class ScriptedStore(HostileStore):
    """Server of one bucket; the last of *oddities* has the last word of each answer.

    *elsewhere* is the URL of a second store. The store begins to listen after *late* seconds.
    """

    def __init__(
        self,
        bucket: Bucket,
        oddities: Sequence[Oddity] = (),
        *,
        elsewhere: str = "",
        late: float = 0.0,
    ) -> None:
        self._oddities = tuple(oddities)
        self._counts: Counter[Hashable] = Counter()
        self._counting = threading.Lock()
        super().__init__(bucket, self._answer)
        self.elsewhere = elsewhere
        self._start = threading.Timer(late, self.listen)
        if late:
            self.refuse()
            self._start.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._start.cancel()
        super().__exit__(kind, exc, trace)

    def count(self, counter: Hashable) -> int:
        """Count *counter* once more, and return its count."""
        with self._counting:
            self._counts[counter] += 1
            return self._counts[counter]

    def _answer(self, exchange: Exchange) -> None:
        visit = Visit(self, exchange)
        answer: Answer = self.bucket.respond
        for oddity in self._oddities:
            answer = partial(_rewrite, oddity, visit, answer)
        exchange.reply(answer(exchange.request))


class DeadAddress:
    """Address of loopback whose full queue ignores every connection to *port*."""

    def __init__(self, address: str, port: int) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen(0)
        self._waiting = [socket.socket() for _ in range(2)]  # one more than the backlog
        for waiting in self._waiting:
            waiting.setblocking(False)
            waiting.connect_ex((address, port))

    def close(self) -> None:
        for each in (*self._waiting, self._listener):
            each.close()


def _rewrite(oddity: Oddity, visit: Visit, answer: Answer, request: Request) -> Response:
    """Return what *oddity* makes of *answer*, for the request as later oddities changed it."""
    visit.request = request
    return oddity(visit, answer)

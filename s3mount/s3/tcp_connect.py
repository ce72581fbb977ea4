"""TCP connections by host name: resolution, and addresses that are tried side by side (RFC 8305).

Knows addresses, no requests; both transports open their connections here.

Invariants:

1. At most one socket is returned; all others are closed, however the opening ends.
2. The next address is tried STAGGER seconds after the one before, or when that fails. The families
   take turns.
3. An opening ends by its deadline. `shut_down`, from any thread, ends it at once.
4. An address that did not answer when another did is tried last for DEMOTED_FOR seconds, unless it
   answers. Never more than DEMOTED_MAX addresses are remembered.
"""

import contextlib
import errno
import itertools
import math
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

STAGGER = 0.25  # seconds, RFC 8305 section 5
DEMOTED_FOR = 300.0  # seconds
DEMOTED_MAX = 64
ADDRESSES_MAX = 16  # of one name
TICK = 0.5  # seconds between two calls while no address answers

Address = tuple[Any, ...]  # as getaddrinfo returns it
ChooseAddresses = Callable[[Sequence[Address]], Sequence[Address]]


class Waitable(Protocol):
    """Socket or name look-up that the opening of a connection waits for."""

    def shut_down(self) -> None:
        """Wake the thread that waits here, with an error. From any thread."""
        ...


OnWait = Callable[[Waitable], None]
"""Called with each, before it is waited for."""


class TcpConnector:
    """Opener of connections, from any thread, that remembers which addresses did not answer.

    *choose* may refuse addresses of a name: it returns those that may be connected to, and raises
    OSErrors if there are none. *clock* is monotonic.
    """

    def __init__(
        self,
        *,
        choose: ChooseAddresses | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._choose = choose
        self._clock = clock
        self._lock = threading.Lock()
        self._demoted: dict[Any, float] = {}  # under the lock: until when, by socket address

    def connect(self, host: str, port: int, deadline: float, on_wait: OnWait) -> socket.socket:
        """Return a connected socket, which blocks; OSErrors if there is none by *deadline*."""
        addresses: Sequence[Address] = resolve_name(host, port, deadline - self._clock(), on_wait)
        if self._choose is not None:
            addresses = self._choose(addresses)
        opening = Opening(self._in_order(addresses), self._clock)
        on_wait(opening)
        sock = opening.run(deadline)
        try:
            self._remember(opening)
            sock.settimeout(None)
        except BaseException:  # raised again
            sock.close()
            raise
        return sock

    def _in_order(self, addresses: Sequence[Address]) -> list[Address]:
        """Return *addresses* in the order in which they are tried."""
        now = self._clock()
        with self._lock:
            demoted = {where for where, until in self._demoted.items() if until > now}
        ordered = sorted(interleaved(addresses), key=lambda address: address[4] in demoted)
        return ordered[:ADDRESSES_MAX]

    def _remember(self, opening: "Opening") -> None:
        until = self._clock() + DEMOTED_FOR
        with self._lock:
            for address in opening.unanswered:
                self._demoted.pop(address[4], None)  # so that it is the newest
                self._demoted[address[4]] = until
            if opening.answered is not None:
                self._demoted.pop(opening.answered[4], None)
            while len(self._demoted) > DEMOTED_MAX:
                del self._demoted[next(iter(self._demoted))]


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """Return *addresses* with the families in turns, in the resolver's order. Pure."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rounds = itertools.zip_longest(*families.values())
    return [address for each in rounds for address in each if address is not None]


class Opening:
    """Opening of one connection: the attempts that are pending, and what became of the others.

    One thread calls `run`, once. *answered* is the address of the result, *unanswered* has those
    that were tried before it. *on_tick* is called now and then while none answers, and may raise.
    """

    def __init__(self, addresses: Sequence[Address], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting = deque(addresses)
        self._poll = select.poll()
        self._lock = threading.Lock()
        # under the lock: the attempts that are pending, by descriptor; whether it was shut down
        self._pending: dict[int, tuple[socket.socket, Address]] = {}
        self._is_shut_down = False
        self._failure = OSError("the name has no address")
        self._failed: list[Address] = []
        self.on_tick: Callable[[], None] | None = None
        self.answered: Address | None = None
        self.unanswered: list[Address] = []

    def shut_down(self) -> None:
        with self._lock:
            self._is_shut_down = True
            for sock, _ in self._pending.values():
                with contextlib.suppress(OSError):  # it has ended already
                    sock.shutdown(socket.SHUT_RDWR)

    def run(self, deadline: float) -> socket.socket:
        """Return the first socket that connects; OSErrors if none does by *deadline*."""
        try:
            return self._run(deadline)
        finally:
            with self._lock:
                for sock, _ in self._pending.values():
                    sock.close()
                self._pending.clear()

    def _run(self, deadline: float) -> socket.socket:
        next_at = self._clock()
        while self._waiting or self._pending:
            now = self._clock()
            if now >= deadline:
                raise TimeoutError("no address answered in time")
            if self._waiting and (now >= next_at or not self._pending):
                next_at = now + STAGGER
                self._start(self._waiting.popleft())
                continue
            until = min(deadline, now + TICK, next_at if self._waiting else deadline)
            answers = self._poll.poll(math.ceil((until - now) * 1000))
            if not answers and self.on_tick is not None:
                self.on_tick()
            for descriptor, _ in answers:
                sock = self._end_attempt(descriptor)
                if sock is not None:
                    return sock
                next_at = now  # RFC 8305: a failure need not be waited for
        raise self._failure

    def _start(self, address: Address) -> None:
        """Begin to connect to *address*; a failure, also of the system, is that of an attempt."""
        family, kind, protocol, _, where = address
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as exc:  # also of a family that this machine does not have
            self._record_failure(address, exc)
            return
        try:
            self._connect_nowait(sock, where, address)
        except OSError as exc:
            sock.close()
            self._record_failure(address, exc)
        except BaseException:  # raised again
            sock.close()
            raise

    def _connect_nowait(self, sock: socket.socket, where: Any, address: Address) -> None:
        sock.settimeout(0)
        code = sock.connect_ex(where)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        with self._lock:
            if self._is_shut_down:
                raise ConnectionAbortedError("the opening of a connection was ended")
            self._poll.register(sock, select.POLLOUT)
            self._pending[sock.fileno()] = (sock, address)

    def _end_attempt(self, descriptor: int) -> socket.socket | None:
        """Return the socket of *descriptor* if it is connected."""
        with self._lock:
            if self._is_shut_down:
                self._waiting.clear()
                raise ConnectionAbortedError("the opening of a connection was ended")
            self._poll.unregister(descriptor)
            sock, address = self._pending.pop(descriptor)
        try:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except BaseException:  # raised again
            sock.close()
            raise
        if code:
            sock.close()
            self._record_failure(address, OSError(code, os.strerror(code)))
            return None
        self.answered = address
        self.unanswered = [*self._failed, *(each for _, each in self._pending.values())]
        return sock

    def _record_failure(self, address: Address, failure: OSError) -> None:
        if self._is_shut_down:
            raise failure
        self._failed.append(address)
        self._failure = failure


def resolve_name(host: str, port: int, timeout: float, on_wait: OnWait) -> list[Address]:
    """Return the addresses of *host*; OSErrors if there are none within *timeout* seconds."""
    with contextlib.suppress(socket.gaierror, UnicodeError):  # the look-up reports them
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    lookup = _NameLookup(host, port)
    on_wait(lookup)
    return lookup.run(timeout)


class _NameLookup:
    """Look-up of a host name in a thread: the C library's resolver cannot be interrupted."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        # the addresses, or why there are none; both None if the wait has ended before
        self._has_ended = threading.Event()
        self._addresses: list[Address] | None = None
        self._failure: OSError | UnicodeError | None = None

    def run(self, timeout: float) -> list[Address]:
        """As `resolve_name`. ConnectionAbortedError if it was shut down."""
        thread = threading.Thread(target=self._resolve, name="resolver", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # how `threading` reports that the system has no more threads
            raise OSError("no thread could be started to resolve the name") from exc
        if not self._has_ended.wait(max(timeout, 0)):
            raise TimeoutError("the name was not resolved in time")
        if self._failure is not None:
            raise (
                self._failure
                if isinstance(self._failure, OSError)
                else OSError("no host can have this name")
            )
        if self._addresses is None:
            raise ConnectionAbortedError("the wait for the name was ended")
        return self._addresses

    def shut_down(self) -> None:
        self._has_ended.set()

    def _resolve(self) -> None:
        try:
            self._addresses = list(
                socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            )
        except (OSError, UnicodeError) as exc:
            self._failure = exc
        self._has_ended.set()

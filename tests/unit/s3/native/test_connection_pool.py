"""Requests that wait for a proven connection: each gets one, or opens one, or ends."""

import random
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.s3.native import connection_pool
from s3mount.s3.native.connection import Connection, SilentConnectionError
from s3mount.s3.native.connection_pool import AllBusyError, ConnectionPool
from s3mount.s3.native.http_exchange import HttpExchange
from s3mount.s3.request_log import RequestLog
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.tcp_connect import OnWait
from s3mount.s3.transport import StoreRequest
from tests.unit.s3.native.test_connection import Replay
from tests.waiting import wait_until

FAR = 1e9  # seconds: no deadline ends a wait


class NoEncoder:
    """`Encoder` of requests that are never sent."""

    def encode_waiting(self, *_: object) -> bytes:
        return b""


def new_pool(idle_timeout: float = FAR) -> ConnectionPool:
    def connect(deadline: float, on_wait: OnWait) -> Replay:  # noqa: ARG001 - the protocol's
        stream = Replay([])
        on_wait(stream)
        return stream

    return ConnectionPool(connect, idle_timeout=idle_timeout, clock=time.monotonic)


@pytest.fixture(autouse=True)
def waiting_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait ends by itself, on a busy machine either."""
    monkeypatch.setattr(connection_pool, "PROVEN_WAIT", FAR)


def test_a_request_is_moved_early_in_its_idle_timeout_only() -> None:
    """One that a slow store would respond to soon is not begun anew."""
    pool = new_pool(idle_timeout=8.0)
    pool.prove(pool.open(FAR, CancelToken()))

    assert not pool.begin_move(2.1)
    assert pool.begin_move(2.0)


def test_a_waiting_request_gets_the_next_connection_before_all_others() -> None:
    pool = new_pool()
    held = pool.open(FAR, CancelToken())
    pool.prove(held)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(pool.acquire_proven(FAR, CancelToken())))
    thread.start()
    wait_until(lambda: bool(pool._waiters))

    pool.release(held)

    assert pool.acquire_idle(FAR) is None
    thread.join()
    assert found == [held]


def test_a_connection_that_is_released_while_a_request_looks_for_one_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = new_pool()
    held = [pool.open(FAR, CancelToken()) for _ in range(2)]
    pool.prove(held[0])
    pool.release(held[0])
    pool.prove(held[1])
    acquire_idle = pool.acquire_idle

    def acquire_and_release(deadline: float) -> Connection | None:
        """Another request takes the idle connection, and the next one is released."""
        taken = acquire_idle(deadline)
        if held:
            pool.release(held.pop())
            held.clear()
            return None
        return taken

    monkeypatch.setattr(pool, "acquire_idle", acquire_and_release)

    assert pool.acquire_proven(FAR, CancelToken()).is_proven


def test_a_request_waits_for_no_connection_that_nobody_has() -> None:
    pool = new_pool()
    held = pool.open(FAR, CancelToken())
    pool.prove(held)
    pool.discard(held)

    assert pool.acquire_proven(FAR, CancelToken()) is not held


def test_a_request_does_not_wait_for_connections_that_are_busy_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_pool, "PROVEN_WAIT", 0.01)
    pool = new_pool()
    held = pool.open(FAR, CancelToken())
    pool.prove(held)

    with pytest.raises(AllBusyError):
        pool.acquire_proven(FAR, CancelToken())

    assert not pool._waiters
    pool.release(held)
    assert pool.acquire_idle(FAR) is held


def test_a_moved_request_waits_for_no_second_connection_if_one_cannot_be_opened() -> None:
    """It waited for the connect timeout twice, and the move counted as one in vain."""
    opened: list[float] = []

    def connect(deadline: float, _: OnWait) -> Replay:
        opened.append(deadline)
        raise SilentConnectionError(1.0) if len(opened) == 1 else TimeoutError

    pool = ConnectionPool(connect, idle_timeout=FAR, clock=time.monotonic)
    request, token = StoreRequest("HeadObject", "key", method="HEAD"), CancelToken()
    exchange = HttpExchange(pool, NoEncoder(), request, FAR, token, RequestLog())
    patience = pool.silent_connections.patience

    with pytest.raises(TimeoutError):
        exchange.__enter__()

    assert len(opened) == 2
    assert pool.silent_connections.patience == patience


@pytest.mark.parametrize("is_closed", [False, True], ids=["cancelled", "pool-closed"])
def test_a_waiting_request_ends_when_it_is_cancelled_or_the_pool_closed(*, is_closed: bool) -> None:
    pool, token = new_pool(), CancelToken()
    held = pool.open(FAR, CancelToken())
    pool.prove(held)
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            pool.acquire_proven(FAR, token)
        except (OSError, RequestCancelledError) as exc:
            failures.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: bool(pool._waiters))

    if is_closed:
        pool.close()
    else:
        token.cancel()
    thread.join()

    assert len(failures) == 1
    assert not pool._waiters
    pool.release(held)


class Worker(threading.Thread):
    """Acquires proven connections, and releases or closes each, or is cancelled."""

    def __init__(self, pool: ConnectionPool, seed: int) -> None:
        super().__init__(daemon=True)
        self._pool = pool
        self._chance = random.Random(seed)
        self.token = CancelToken()

    def run(self) -> None:
        for _ in range(20):
            self.token = CancelToken()
            try:
                connection = self._pool.acquire_proven(FAR, self.token)
            except RequestCancelledError:
                continue
            if not connection.is_proven:
                self._pool.prove(connection)
            if self._chance.random() < 0.5:
                time.sleep(0)  # to another thread
            if self._chance.random() < 0.7:
                self._pool.release(connection)
            else:
                self._pool.discard(connection)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_no_request_waits_for_ever_and_every_connection_is_counted(seed: int, count: int) -> None:
    pool, chance = new_pool(), random.Random(seed)
    workers = [Worker(pool, chance.randrange(2**32)) for _ in range(count)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        if chance.random() < 0.3:
            chance.choice(workers).token.cancel()
        time.sleep(0)  # to another thread

    assert not pool._waiters
    assert pool.proven_count == pool.idle_count
    pool.close()
    assert pool.proven_count == 0

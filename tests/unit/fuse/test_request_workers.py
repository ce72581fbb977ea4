"""Workers of the session: who reads the next request, against a kernel that sends any number."""

import itertools
import random
import socket
import sys
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterator
from functools import partial

import outcome
import pytest
import trio
import trio.testing

from s3mount.fuse.request_workers import AT_ONCE, IDLE_MAX, RequestWorkers

MOST = 5


class Content:
    """What a handler waits for, such as bytes that a thread reads."""


class Foreign:
    """Awaitable of another event loop."""

    def __await__(self) -> Generator[object, None, None]:
        yield self


class Session:
    """The kernel, and pyfuse3's loop: handlers that wait for their gates, or for nothing."""

    def __init__(self, kernel: socket.socket, libfuse: socket.socket) -> None:
        self.kernel = kernel
        self.libfuse = libfuse
        self.workers = RequestWorkers(libfuse.fileno())
        self.gates: dict[int, trio.Event] = {}
        self.handlers: dict[int, Callable[[], Awaitable[None]]] = {}
        self.handled: list[int] = []
        self.handling = 0
        self.most_handling = 0
        self.has_exited = False
        libfuse.setblocking(False)

    async def loop(self) -> None:
        while not self.has_exited and await self.workers.wait_request():
            request = self.libfuse.recv(10)
            if not request:
                break
            await self._handle(int(request))

    async def _handle(self, number: int) -> None:
        self.handling += 1
        self.most_handling = max(self.most_handling, self.handling)
        if (gate := self.gates.get(number)) is not None:
            await gate.wait()
        if (handler := self.handlers.get(number)) is not None:
            await handler()
        self.handled.append(number)
        self.handling -= 1

    def send(self, number: int, *, waits: bool = False) -> None:
        if waits:
            self.gates[number] = trio.Event()
        self.kernel.send(b"%d" % number)


@pytest.fixture
def session() -> Iterator[Session]:
    libfuse, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with libfuse, kernel:
        yield Session(kernel, libfuse)


async def start(session: Session, nursery: trio.Nursery) -> None:
    nursery.start_soon(session.workers.run, session.loop, nursery, MOST)
    await trio.testing.wait_all_tasks_blocked()


async def start_with_one_idle(session: Session, nursery: trio.Nursery) -> None:
    await start(session, nursery)
    session.send(0, waits=True)
    await settled()
    session.gates[0].set()
    await settled()


async def test_requests_without_a_wait_need_one_worker(session: Session) -> None:
    async with trio.open_nursery() as nursery:
        await start(session, nursery)
        for number in range(3 * AT_ONCE):
            session.send(number)
        await settled()
        assert len(nursery.child_tasks) == 1
        session.kernel.close()

    assert session.handled == list(range(3 * AT_ONCE))


async def test_other_tasks_get_their_turn_among_requests(session: Session) -> None:
    seen: list[int] = []

    async def observe() -> None:
        while len(session.handled) < 4 * AT_ONCE:
            seen.append(len(session.handled))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(4 * AT_ONCE):
            session.send(number)
        nursery.start_soon(observe)
        nursery.start_soon(session.workers.run, session.loop, nursery, MOST)
        await settled()
        session.kernel.close()

    steps = [after - before for before, after in itertools.pairwise(seen)]
    # a pass of the event loop runs its tasks in any order: its last one may be the next one's first
    assert max(steps) <= 2 * (AT_ONCE + 1)


async def test_requests_are_read_while_handlers_wait(session: Session) -> None:
    async with trio.open_nursery() as nursery:
        await start(session, nursery)
        session.send(0, waits=True)
        session.send(1, waits=True)
        session.send(2)
        await settled()
        assert session.handled == [2]
        for gate in session.gates.values():
            gate.set()
        await settled()
        assert sorted(session.handled) == [0, 1, 2]
        session.kernel.close()


async def test_no_more_requests_are_handled_at_once_than_there_may_be_workers(
    session: Session,
) -> None:
    async with trio.open_nursery() as nursery:
        await start(session, nursery)
        for number in range(3 * MOST):
            session.send(number, waits=True)
        await settled()
        assert session.handling == MOST
        for gate in session.gates.values():
            gate.set()
        await settled()
        assert len(session.handled) == 3 * MOST
        session.kernel.close()

    assert session.most_handling == MOST


async def test_workers_beyond_a_few_end_when_they_have_replied(session: Session) -> None:
    most = 3 * IDLE_MAX
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.workers.run, session.loop, nursery, most)
        for number in range(most):
            session.send(number, waits=True)
        await settled()
        for gate in session.gates.values():
            gate.set()
        await settled()
        assert len(nursery.child_tasks) == IDLE_MAX + 1
        session.kernel.close()


async def test_a_session_ends_after_the_requests_that_wait(session: Session) -> None:
    async with trio.open_nursery() as nursery:
        await start(session, nursery)
        session.send(0, waits=True)
        await settled()
        session.kernel.close()
        await settled()
        assert len(nursery.child_tasks) == 1
        session.gates[0].set()

    assert session.handled == [0]


async def test_a_cancelled_session_leaves_no_worker(session: Session) -> None:
    async with trio.open_nursery() as nursery:
        await start(session, nursery)
        for number in range(MOST - 1):
            session.send(number, waits=True)
        await settled()
        session.gates[0].set()
        await settled()
        nursery.cancel_scope.cancel()


async def test_a_request_that_is_withdrawn_before_it_is_read_is_not_read(session: Session) -> None:
    class Withdrawal(trio.abc.Instrument):
        def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's parameter
            session.libfuse.recv(10)
            trio.lowlevel.remove_instrument(self)

    async with trio.open_nursery() as nursery:
        await start(session, nursery)
        session.send(0)
        trio.lowlevel.add_instrument(Withdrawal())
        await settled()
        session.send(1)
        await settled()
        session.kernel.close()

    assert session.handled == [1]


async def test_an_idle_worker_holds_nothing_that_its_handler_has_waited_for(
    session: Session,
) -> None:
    contents: weakref.WeakSet[Content] = weakref.WeakSet()

    async def wait_content() -> None:
        content = Content()
        contents.add(content)
        trio.lowlevel.reschedule(trio.lowlevel.current_task(), outcome.Value(content))
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    session.handlers[0] = wait_content
    async with trio.open_nursery() as nursery:
        await start(session, nursery)
        session.send(0)
        await settled()
        assert session.handled == [0]
        assert not contents
        session.kernel.close()


async def test_an_error_that_the_event_loop_throws_reaches_the_handler(session: Session) -> None:
    contexts: list[BaseException | None] = []

    async def wait_elsewhere() -> None:
        with pytest.raises(TypeError, match="trio"):
            await Foreign()
        contexts.append(sys.exception())

    session.handlers[0] = wait_elsewhere
    async with trio.open_nursery() as nursery:
        await start(session, nursery)
        session.send(0)
        session.send(1)
        await settled()
        assert sorted(session.handled) == [0, 1]
        session.kernel.close()

    assert contexts == [None]


async def test_a_worker_that_is_cancelled_as_it_becomes_the_reader_ends(session: Session) -> None:
    async with trio.open_nursery() as nursery:
        await start_with_one_idle(session, nursery)
        session.handlers[1] = partial(trio.sleep, 0)
        session.handlers[2] = trio.sleep_forever
        session.send(1)
        session.send(2)
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    assert not nursery.child_tasks


@pytest.mark.parametrize("idle", [0, 1])
async def test_a_session_that_a_handler_ends_has_no_reader(idle: int, session: Session) -> None:
    """pyfuse3's loop ends after a request once the session has exited."""
    async with trio.open_nursery() as nursery:
        await start(session, nursery)
        for number in range(idle + 1):
            session.send(number, waits=True)
        await settled()
        for number in range(idle):
            session.gates[number].set()
        await settled()

        session.has_exited = True
        session.gates[idle].set()

    assert len(session.handled) == idle + 1


@pytest.mark.parametrize("_order", range(8))  # the event loop runs tasks in any order
async def test_a_worker_that_becomes_the_reader_as_the_session_ends_ends(
    _order: int, session: Session
) -> None:
    async def end() -> None:
        await trio.lowlevel.checkpoint()
        session.has_exited = True

    session.handlers[1] = end
    async with trio.open_nursery() as nursery:
        await start_with_one_idle(session, nursery)
        session.send(1)

    assert session.handled == [0, 1]


@pytest.mark.parametrize("seed", range(20))
async def test_every_request_is_handled_in_whichever_order_handlers_end(
    seed: int, session: Session
) -> None:
    chance = random.Random(seed)
    async with trio.open_nursery() as nursery:
        await start(session, nursery)
        for number in range(60):
            session.send(number, waits=chance.random() < 0.5)
            if chance.random() < 0.5:
                await trio.lowlevel.checkpoint()
            if chance.random() < 0.4:
                for each in chance.sample(sorted(session.gates), min(3, len(session.gates))):
                    session.gates[each].set()
        for gate in session.gates.values():
            gate.set()
        await settled()
        assert sorted(session.handled) == list(range(60))
        assert session.most_handling <= MOST
        session.kernel.close()


async def settled() -> None:
    """Wait until all that the kernel has sent is read, or nothing reads on."""
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked(0.01)

"""RemoteStore's policy, over a transport that does as it is told."""

import _thread
import contextlib
import gc
import itertools
import mmap
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from s3mount.errors import (
    AccessDenied,
    DeadlineExceeded,
    NotFound,
    S3MountError,
    StaleVersion,
    StoreError,
)
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    NotModified,
    ObjectStat,
    ObjectVersion,
    Revalidation,
)
from s3mount.s3.object_store import Demand, OnToken, Priority, StartedRead
from s3mount.s3.remote_store import RemoteStore, _call_in_run
from s3mount.s3.scheduling import unawaited
from s3mount.s3.scheduling.backoff import ATTEMPTS
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.transport import Retryable
from tests.metrics import read_metrics

VERSION = ObjectVersion("bucket", "key", "etag", 4)
STAT = ObjectStat(VERSION, 0, version_id="v1")
TIMEOUT = 60.0


class ScriptedTransport:
    """Each attempt takes the next step of the script: an exception to raise, something to call, or None; then None for ever."""

    def __init__(self, *steps: Exception | Callable[[], Any] | None) -> None:
        self.steps = list(steps)
        self.renewals = 0
        self.prepared = threading.Semaphore(0)
        self.version_ids: list[str | None] = []
        self.attempts = 0
        self._lock = threading.Lock()

    def _step(self) -> None:
        with self._lock:
            self.attempts += 1
            step = self.steps.pop(0) if self.steps else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            step()

    def head(self, key: str, *, deadline: float) -> ObjectStat:  # noqa: ARG002 - the protocol's
        self._step()
        return STAT

    def list_page(
        self,
        query: ListQuery,  # noqa: ARG002 - the protocol's
        *,
        deadline: float,  # noqa: ARG002
        on_token: OnToken | None = None,  # noqa: ARG002
    ) -> ListPage:
        self._step()
        return ListPage([], [], None)

    def get_range(
        self,
        version: ObjectVersion,  # noqa: ARG002 - the protocol's
        span: ByteRange,  # noqa: ARG002 - the protocol's
        into: Callable[[], memoryview],
        *,
        version_id: str | None,
        deadline: float,  # noqa: ARG002 - the protocol's
        cord: CancelToken | None = None,  # noqa: ARG002 - the protocol's
    ) -> str | None:
        self.version_ids.append(version_id)
        self._step()
        into()[:] = b"body"
        return "v1"

    def begin_range(self, *_: object, **__: object) -> None: ...

    def revalidate(
        self,
        version: ObjectVersion,  # noqa: ARG002 - the protocol's
        head_size: int,  # noqa: ARG002
        *,
        deadline: float,  # noqa: ARG002
    ) -> Revalidation:
        self._step()
        return NotModified()

    def prepare(self, *, deadline: float) -> None:  # noqa: ARG002 - the protocol's
        self.prepared.release()

    def renew_credentials(self) -> None:
        self.renewals += 1

    def close(self) -> None: ...


def failed(**kind: bool) -> Retryable:
    return Retryable(StoreError("failed"), **kind)


def remote(
    transport: ScriptedTransport,
    *,
    max_connections: int = 32,
    timeout: float = TIMEOUT,
    pause: float = 0.0,
) -> RemoteStore:
    """*pause* is what lies between two attempts, in seconds. No mock clock: it would not wait for threads."""
    pauses = partial(itertools.repeat, pause, ATTEMPTS - 1)
    return RemoteStore(transport, max_connections=max_connections, timeout=timeout, pauses=pauses)


Read = Callable[[RemoteStore], Awaitable[bytes]]


async def read(store: RemoteStore) -> bytes:
    into = bytearray(4)
    await store.get_range(VERSION, ByteRange(0, 4), memoryview(into))
    return bytes(into)


async def read_at_once(store: RemoteStore) -> bytes:
    """`read`, begun before anything is awaited; as `blocks` does it."""
    into, ended = bytearray(4), trio.Event()
    begun = store.begin_range(VERSION, ByteRange(0, 4), memoryview(into), Demand(), ended.set)
    if begun is None:
        return await read(store)
    await begun.see_through(ended)
    if not begun.is_done:
        await begun.finish()
    return bytes(into)


either_way = pytest.mark.parametrize("read", [read, read_at_once], ids=["awaited", "sent-at-once"])


async def test_a_renewal_that_hangs_ends_no_later_than_the_question() -> None:
    hold, expired = threading.Event(), Retryable(AccessDenied("expired"), is_stale_credentials=True)
    transport = ScriptedTransport(expired)
    transport.renew_credentials = hold.wait  # type: ignore[method-assign,assignment]  # nothing may wait for it

    with trio.fail_after(5), pytest.raises(DeadlineExceeded) as caught:
        await remote(transport, timeout=0.05).head("key")
    hold.set()

    assert caught.value.key == "key"


async def test_a_renewal_that_hangs_can_be_cancelled() -> None:
    hold, expired = threading.Event(), Retryable(AccessDenied("expired"), is_stale_credentials=True)
    transport = ScriptedTransport(expired)
    transport.renew_credentials = hold.wait  # type: ignore[method-assign,assignment]  # nothing may wait for it

    with trio.fail_after(5), trio.move_on_after(0.05) as scope:
        await remote(transport).head("key")
    hold.set()

    assert scope.cancelled_caught


@either_way
async def test_what_may_pass_is_tried_again(read: Read) -> None:
    transport = ScriptedTransport(failed(), failed())

    assert await read(remote(transport)) == b"body"
    assert transport.attempts == 3


async def test_what_does_not_pass_is_given_up_after_some_attempts() -> None:
    transport = ScriptedTransport(*[failed() for _ in range(100)])
    store = remote(transport)

    with pytest.raises(StoreError):
        await store.head("key")

    assert transport.attempts == ATTEMPTS
    assert read_metrics(store)["retries"] == ATTEMPTS - 1
    assert read_metrics(store)["request_errors"] == 1


async def test_a_refusal_is_not_tried_again() -> None:
    transport = ScriptedTransport(NotFound("no"))
    store = remote(transport)

    with pytest.raises(NotFound):
        await store.head("key")

    assert transport.attempts == 1
    assert read_metrics(store)["request_errors"] == 0


async def test_a_pause_that_would_pass_the_deadline_is_not_made() -> None:
    transport = ScriptedTransport(*[failed() for _ in range(100)])

    with trio.fail_after(30), pytest.raises(StoreError):
        await remote(transport, timeout=25.0, pause=30.0).head("key")

    assert transport.attempts == 1


@pytest.mark.parametrize("question", ["head", "list"])
async def test_who_asks_is_told_at_the_deadline_though_the_thread_goes_on(question: str) -> None:
    hold = threading.Event()
    store = remote(ScriptedTransport(hold.wait), timeout=0.05)

    with trio.fail_after(5), pytest.raises(DeadlineExceeded):
        await (store.head("key") if question == "head" else store.list_page(ListQuery("")))
    hold.set()


async def test_a_read_waits_for_its_thread_before_it_gives_the_buffer_back() -> None:
    hold, entered = threading.Event(), threading.Event()
    written = []

    def write_late() -> None:
        entered.set()
        hold.wait()
        written.append(True)

    store = remote(ScriptedTransport(write_late))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, store)
        await trio.to_thread.run_sync(entered.wait)
        nursery.cancel_scope.cancel()
        hold.set()

    assert written == [True]


async def test_a_cancelled_lookup_does_not_wait_for_its_thread() -> None:
    hold = threading.Event()
    store = remote(ScriptedTransport(hold.wait))

    with trio.fail_after(5), trio.move_on_after(0.01) as scope:
        await store.head("key")
    hold.set()

    assert scope.cancelled_caught


@either_way
async def test_expired_credentials_are_renewed_once(read: Read) -> None:
    transport = ScriptedTransport(failed(is_stale_credentials=True))

    assert await read(remote(transport)) == b"body"
    assert transport.renewals == 1


@either_way
async def test_credentials_that_stay_expired_are_a_refusal(read: Read) -> None:
    expired = Retryable(AccessDenied("expired"), is_stale_credentials=True)
    transport = ScriptedTransport(expired, expired, expired)

    with pytest.raises(AccessDenied):
        await read(remote(transport))

    assert (transport.attempts, transport.renewals) == (2, 1)


@either_way
async def test_a_replaced_version_is_read_by_its_version_id(read: Read) -> None:
    transport = ScriptedTransport(None, StaleVersion("replaced"))
    store = remote(transport)
    await store.head("key")

    assert [await read(store), await read(store)] == [b"body", b"body"]
    assert transport.version_ids == [None, "v1", "v1"]


@either_way
async def test_a_replaced_version_without_a_known_id_is_gone(read: Read) -> None:
    transport = ScriptedTransport(StaleVersion("replaced"))

    with pytest.raises(StaleVersion):
        await read(remote(transport))


@pytest.mark.parametrize(
    "refusal", [AccessDenied("no s3:GetObjectVersion"), NotFound("no"), StaleVersion("gone")]
)
@either_way
async def test_a_version_that_cannot_be_had_by_its_id_is_gone(
    read: Read, refusal: Exception
) -> None:
    store = remote(ScriptedTransport(None, StaleVersion("replaced"), refusal))
    await store.head("key")

    with pytest.raises(StaleVersion):
        await read(store)


async def test_throttling_lowers_and_success_raises_what_is_allowed() -> None:
    store = remote(ScriptedTransport(failed(is_throttle=True)), max_connections=8)

    await store.head("key")

    assert read_metrics(store)["request_limit"] == 4
    assert read_metrics(store)["throttles"] == 1
    for _ in range(100):
        await store.head("key")
    assert read_metrics(store)["request_limit"] == 8


async def test_a_bug_is_not_taken_for_a_failure() -> None:
    with pytest.raises(ZeroDivisionError):
        await remote(ScriptedTransport(ZeroDivisionError())).head("key")


@either_way
async def test_statistics_count_requests_by_kind_and_bytes(read: Read) -> None:
    store = remote(ScriptedTransport())

    await store.head("key")
    await store.list_page(ListQuery(""))
    await read(store)
    await store.revalidate(VERSION, 4)

    assert _requests(store) == (1, 1, 2)
    assert read_metrics(store)["bytes_received"] == 4


async def test_a_reader_that_comes_to_wait_for_a_speculative_read_gets_it_before_other_speculation() -> (
    None
):
    hold, asked = threading.Event(), []
    store = remote(ScriptedTransport(hold.wait), max_connections=1)
    demands = {name: Demand(Priority.AHEAD) for name in ("ahead 1", "ahead 2", "waited for")}

    async def get(name: str, demand: Demand) -> None:
        await store.get_range(VERSION, ByteRange(0, 4), memoryview(bytearray(4)), demand)
        asked.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.head, "key")
        for name, demand in demands.items():
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(get, name, demand)
        await trio.testing.wait_all_tasks_blocked()
        demands["waited for"].rise()
        hold.set()

    assert asked == ["waited for", "ahead 1", "ahead 2"]


@either_way
async def test_what_a_store_refuses_is_asked_for_once(read: Read) -> None:
    transport = ScriptedTransport(AccessDenied("no"))
    store = remote(transport)

    with pytest.raises(AccessDenied):
        await read(store)

    assert transport.attempts == 1
    assert read_metrics(store)["request_errors"] == 1


@either_way
async def test_a_read_is_given_up_after_some_attempts(read: Read) -> None:
    transport = ScriptedTransport(*[failed() for _ in range(100)])

    with pytest.raises(StoreError):
        await read(remote(transport))

    assert transport.attempts == ATTEMPTS


async def test_no_read_is_begun_at_once_where_it_would_have_to_wait() -> None:
    hold = threading.Event()
    store = remote(ScriptedTransport(hold.wait), max_connections=1)
    ended: list[str] = []

    def begin() -> StartedRead | None:
        return store.begin_range(
            VERSION,
            ByteRange(0, 4),
            memoryview(bytearray(4)),
            Demand(Priority.AHEAD),
            lambda: ended.append("told"),
        )

    assert store.has_place()
    first, second = begin(), begin()
    had_place, told_at_once = store.has_place(), list(ended)
    hold.set()
    with trio.fail_after(5):
        await read(store)  # behind the first

    assert (first is None, second, had_place, told_at_once) == (False, None, False, [])
    assert ended == ["told"]
    assert _requests(store) == (0, 0, 2)


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.head("k"),
        lambda s: s.list_page(ListQuery("")),
        lambda s: s.revalidate(VERSION, 1),
        read,
    ],
)
async def test_every_question_ends_when_the_gate_stays_shut(
    ask: Callable[[RemoteStore], Any],
) -> None:
    hold = threading.Event()
    store = remote(ScriptedTransport(hold.wait), max_connections=1, timeout=0.2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_late, store.head("key"))
        await trio.testing.wait_all_tasks_blocked(0.02)
        with trio.fail_after(5), pytest.raises(DeadlineExceeded):
            await ask(store)
        hold.set()


async def _expect_late(question: Any) -> None:
    with pytest.raises(DeadlineExceeded):
        await question


@pytest.mark.parametrize(("allowed", "prepared"), [(32, 8), (1, 1)])
async def test_connections_are_ready_before_the_first_questions(
    allowed: int, prepared: int
) -> None:
    transport = ScriptedTransport()
    store = remote(transport, max_connections=allowed)

    store.prepare()
    for _ in range(prepared):
        assert await trio.to_thread.run_sync(transport.prepared.acquire, True, 10)

    await store.head("key")
    assert not transport.prepared.acquire(blocking=False)


def _no_thread(*_: object) -> None:
    raise RuntimeError("can't start new thread")


every_question = pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.head("k"),
        lambda store: store.list_page(ListQuery("")),
        lambda store: store.revalidate(VERSION, 1),
        read,
        read_at_once,
    ],
    ids=["head", "list", "revalidate", "read", "read-at-once"],
)


@every_question
async def test_a_thread_that_cannot_be_started_keeps_no_place(
    ask: Callable[[RemoteStore], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = ScriptedTransport()
    store = remote(transport, max_connections=2)
    with monkeypatch.context() as patched:
        patched.setattr("s3mount.s3.scheduling.thread_pool._thread.start_new_thread", _no_thread)
        for _ in range(3):
            with pytest.raises(StoreError, match="no thread can be started"):
                await ask(store)

    assert store._gate.inside == 0
    assert transport.attempts == 0
    await ask(store)
    assert transport.attempts == 1


@every_question
async def test_a_moment_without_threads_is_waited_for(
    ask: Callable[[RemoteStore], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = ScriptedTransport()
    store = remote(transport)
    start, refusals = _thread.start_new_thread, iter(range(3))

    def start_at_last(*args: Any) -> int:
        if next(refusals, None) is not None:
            raise RuntimeError("can't start new thread")
        return start(*args)

    monkeypatch.setattr("s3mount.s3.scheduling.thread_pool._thread.start_new_thread", start_at_last)
    await ask(store)

    assert transport.attempts == 1
    assert read_metrics(store)["retries"] == 3


async def test_a_read_for_nobody_fails_at_once_where_there_is_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = remote(ScriptedTransport(), pause=30.0)
    monkeypatch.setattr("s3mount.s3.scheduling.thread_pool._thread.start_new_thread", _no_thread)

    with trio.fail_after(5), pytest.raises(StoreError):
        await store.get_range(
            VERSION, ByteRange(0, 4), memoryview(bytearray(4)), Demand(Priority.AHEAD)
        )


async def test_a_read_sent_at_once_and_cancelled_gives_its_place_back() -> None:
    transport = EndlessTransport()
    store, ended = remote(transport, max_connections=1), trio.Event()
    begun = store.begin_range(
        VERSION, ByteRange(0, 4), memoryview(bytearray(4)), Demand(), ended.set
    )
    assert begun is not None
    await trio.to_thread.run_sync(transport.has_begun.wait)

    begun.cancel()
    with trio.fail_after(5):
        await ended.wait()

    assert not begun.is_done
    assert store._gate.inside == 0


async def test_a_cancelled_read_ends_its_request_and_then_gives_the_buffer_back() -> None:
    transport = EndlessTransport()
    store = remote(transport, max_connections=1)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, store)
            await trio.to_thread.run_sync(transport.has_begun.wait)
            nursery.cancel_scope.cancel()

    assert store._gate.inside == 0
    assert transport.has_ended


class EndlessTransport(ScriptedTransport):
    """A read ends when it is cut, and not before."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = threading.Event()
        self.has_ended = False

    def get_range(self, *_: object, cord: CancelToken, **__: object) -> str | None:  # type: ignore[override]
        was_cut = threading.Event()
        cord.tie(was_cut.set)
        self.has_begun.set()
        was_cut.wait()
        self.has_ended = True
        raise RequestCancelledError


async def test_what_is_told_of_a_page_to_come_may_fail(expected_warnings: list[str]) -> None:
    expected_warnings.append("bug in what is told of a page to come")
    transport = ScriptedTransport()
    store = remote(transport)
    _call_in_run(trio.lowlevel.current_trio_token(), _no_thread, "token")

    await store.list_page(ListQuery(""))
    await trio.testing.wait_all_tasks_blocked()

    assert transport.attempts == 1


@pytest.mark.parametrize("step", ["_pins.remember", "_gate.succeeded", "_hedging.latency.add"])
@either_way
async def test_a_bug_in_the_accounting_for_a_read_ends_no_run(
    read: Read, step: str, monkeypatch: pytest.MonkeyPatch, expected_warnings: list[str]
) -> None:
    expected_warnings.append("bug in keeping count of a read")
    store = remote(ScriptedTransport())
    with monkeypatch.context() as patched:
        patched.setattr(f"s3mount.s3.{TARGETS[step]}", _no_thread)
        with contextlib.suppress(RuntimeError):
            await read(store)

    assert store._gate.inside == 0
    assert await read(store) == b"body"


TARGETS = {
    "_pins.remember": "version_id_cache.VersionIdCache.remember",
    "_gate.succeeded": "scheduling.limiter.Limiter.succeeded",
    "_hedging.latency.add": "scheduling.latency.Latency.add",
}


async def test_a_failed_read_leaves_its_buffer_to_no_cycle() -> None:
    """What was raised holds frames, and those the buffer: a cycle there would keep it until the collector runs."""
    gc.disable()
    try:
        for steps in (
            [failed()],
            [failed()] * ATTEMPTS,
            [StaleVersion("gone")] * 2,
            [AccessDenied("no")],
        ):
            for read_into in (_read_into, _begin_into):
                buffer = mmap.mmap(-1, 4)
                await read_into(remote(ScriptedTransport(*steps)), memoryview(buffer))

                buffer.close()  # BufferError while anything refers to it
    finally:
        gc.enable()


async def _read_into(store: RemoteStore, into: memoryview) -> None:
    try:
        await store.get_range(VERSION, ByteRange(0, 4), into)
    except S3MountError as exc:
        unawaited.drop_frames(exc)


async def _begin_into(store: RemoteStore, into: memoryview) -> None:
    ended = trio.Event()
    begun = store.begin_range(VERSION, ByteRange(0, 4), into, Demand(), ended.set)
    assert begun is not None
    await ended.wait()
    try:
        await begun.finish()
    except S3MountError as exc:
        unawaited.drop_frames(exc)


def _requests(store: RemoteStore) -> tuple[float, ...]:
    """Return how many requests were sent: HEAD, LIST, GET."""
    metrics = read_metrics(store)
    return tuple(metrics[f"{kind}_requests"] for kind in ("head", "list", "get"))

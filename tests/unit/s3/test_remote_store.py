"""The policy of RemoteStore, over a scripted transport."""

import _thread
import contextlib
import gc
import itertools
import mmap
import threading
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import pytest
import trio
import trio.testing

from s3mount import unawaited
from s3mount.errors import (
    AccessDenied,
    CredentialsRefused,
    DeadlineExceeded,
    NotFound,
    S3MountError,
    StaleVersion,
    StoreError,
)
from s3mount.s3.archive import RestoreOutcome, RestoreQuery
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    NotModified,
    ObjectMetadata,
    ObjectStat,
    ObjectVersion,
    Reason,
    Revalidation,
    VersionPage,
    VersionQuery,
)
from s3mount.s3.object_store import OnToken, Priority, StartedRead
from s3mount.s3.operations.head_metadata import MetadataQuery
from s3mount.s3.operations.validation import synthetic_etag
from s3mount.s3.remote_store import RemoteStore, _call_in_event_loop
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.scheduling.pauses import ATTEMPTS, INVALID_ATTEMPTS
from s3mount.s3.scheduling.range_read import REFUTED_MAX
from s3mount.s3.transport import Retryable
from tests.fakes.started_reads import read_range
from tests.metrics import read_metrics
from tests.waiting import wait_until

VERSION = ObjectVersion("bucket", "key", "etag", 4)
STAT = ObjectStat(VERSION, 0, version_id="v1")
TIMEOUT = 60.0


class ScriptedTransport:
    """Each attempt takes the next step: an exception to raise, something to call, or None.

    After the last step, every step is None.
    """

    def __init__(self, *steps: Exception | Callable[[], Any] | None) -> None:
        self.steps = list(steps)
        self.renewals = 0
        self.has_others = True
        self.prepared = threading.Semaphore(0)
        self.version_ids: list[str | None] = []
        self.conditions: list[bool] = []
        self.doubts: list[bool] = []  # whether the ETag was any evidence
        self.attempts = 0
        self.kinds: Counter[str] = Counter()
        self._lock = threading.Lock()

    def _step(self, kind: str) -> None:
        with self._lock:
            self.attempts += 1
            self.kinds[kind] += 1
            step = self.steps.pop(0) if self.steps else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            step()

    def head(
        self,
        key: str,  # noqa: ARG002 - the protocol's
        *,
        deadline: float,  # noqa: ARG002
        reason: Reason = Reason.LOOKUP,  # noqa: ARG002
        version_id: str | None = None,  # noqa: ARG002
    ) -> ObjectStat:
        self._step("HEAD")
        return STAT

    def metadata(
        self,
        query: MetadataQuery,  # noqa: ARG002 - the protocol's
        *,
        deadline: float,  # noqa: ARG002
    ) -> ObjectMetadata:
        self._step("HEAD")
        return ObjectMetadata(STAT, {}, {})

    def restore(
        self,
        query: RestoreQuery,  # noqa: ARG002 - the protocol's
        *,
        deadline: float,  # noqa: ARG002
    ) -> RestoreOutcome:
        self._step("RESTORE")
        return RestoreOutcome.REQUESTED

    def head_by_get(
        self,
        key: str,  # noqa: ARG002 - the protocol's
        *,
        deadline: float,  # noqa: ARG002
        is_whole: bool = False,  # noqa: ARG002
    ) -> ObjectStat:
        self._step("GET")
        return STAT

    def list_page(
        self,
        query: ListQuery,  # noqa: ARG002 - the protocol's
        *,
        deadline: float,  # noqa: ARG002
        on_token: OnToken | None = None,  # noqa: ARG002
    ) -> ListPage:
        self._step("LIST")
        return ListPage([], [], None)

    def list_versions(self, query: VersionQuery, *, deadline: float) -> VersionPage:  # noqa: ARG002
        self._step("LIST")
        return VersionPage([], [], None)

    def has_versioning(self, *, deadline: float) -> bool:  # noqa: ARG002
        self._step("GET")
        return True

    def has_ranges(self) -> bool:
        return True

    def get_range(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,  # noqa: ARG002 - the protocol's
        *,
        version_id: str | None,
        deadline: float,  # noqa: ARG002 - the protocol's
        is_conditional: bool = True,
        reason: Reason = Reason.READ,  # noqa: ARG002 - the protocol's
    ) -> "ScriptedRange":
        self.conditions.append(is_conditional)
        self.doubts.append(version.is_doubted)
        return ScriptedRange(self, version_id)

    def read(self, version_id: str | None, into: Callable[[], memoryview], _: CancelToken) -> str:
        self.version_ids.append(version_id)
        self._step("GET")
        into()[:] = b"body"
        return "v1"

    def revalidate(
        self,
        version: ObjectVersion,  # noqa: ARG002 - the protocol's
        head_size: int,  # noqa: ARG002
        *,
        deadline: float,  # noqa: ARG002
    ) -> Revalidation:
        self._step("GET")
        return NotModified()

    def preconnect(self, *, deadline: float) -> None:  # noqa: ARG002 - the protocol's
        self.prepared.release()

    def renew_credentials(self, since: float, deadline: float, *, is_expired: bool) -> bool:  # noqa: ARG002
        self.renewals += 1
        return self.has_others

    def close(self) -> None: ...


class ScriptedRange:
    """`Sender` of a `ScriptedTransport`."""

    def __init__(self, transport: ScriptedTransport, version_id: str | None) -> None:
        self._transport = transport
        self._version_id = version_id

    def resume(self, filled: int) -> "ScriptedRange":  # noqa: ARG002 - the protocol's
        return self

    def hedged(self) -> "ScriptedRange":
        return self

    def send(self, into: Callable[[], memoryview], cancel_token: CancelToken) -> str | None:
        return self._transport.read(self._version_id, into, cancel_token)

    def send_nowait(self, *_: object) -> None: ...


def failed(**kind: bool) -> Retryable:
    return Retryable(StoreError("failed"), **kind)


def remote(
    transport: ScriptedTransport,
    *,
    max_connections: int = 32,
    timeout: float = TIMEOUT,
    pause: float = 0.0,
) -> RemoteStore:
    """*pause* is between two attempts, in seconds. A mock clock would not wait for threads."""
    pauses = partial(itertools.repeat, pause, ATTEMPTS - 1)
    return RemoteStore(transport, max_connections=max_connections, timeout=timeout, pauses=pauses)


class Result(NamedTuple):
    """What a read brought: the bytes, and what the store has told of the version."""

    body: bytes
    version: ObjectVersion


class Read(Protocol):
    """A way to read the four bytes of *version*."""

    def __call__(
        self, store: RemoteStore, version: ObjectVersion = VERSION
    ) -> Awaitable[Result]: ...


async def read(store: RemoteStore, version: ObjectVersion = VERSION) -> Result:
    """A read whose first attempt is sent at once, if there is a permit."""
    into = bytearray(4)
    known = await read_range(store, version, ByteRange(0, 4), memoryview(into))
    return Result(bytes(into), known)


async def read_in_task(store: RemoteStore, version: ObjectVersion = VERSION) -> Result:
    """A read that has to wait for its permit, and makes its attempts in a task."""
    permits = []
    while (permit := store._limiter.acquire_nowait(Priority.DEMAND)) is not None:
        permits.append(permit)
    into, ended = bytearray(4), End()
    store.start_read(version, ByteRange(0, 4), memoryview(into), ended.told, Priority.DEMAND)
    for permit in permits:
        permit.release()
    known = await ended.wait()
    return Result(bytes(into), known)


class End:
    """The end of a read, which can be waited for."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self.ends: list[tuple[ObjectVersion, BaseException | None]] = []

    def told(self, version: ObjectVersion, error: BaseException | None) -> None:
        self.ends.append((version, error))
        self._event.set()

    async def wait(self) -> ObjectVersion:
        await self._event.wait()
        [(version, error)] = self.ends
        if error is not None:
            raise error
        return version


either_way = pytest.mark.parametrize("read", [read, read_in_task], ids=["sent-at-once", "in-task"])


async def test_a_renewal_that_hangs_ends_by_the_deadline() -> None:
    hold, expired = threading.Event(), Retryable(AccessDenied("expired"), is_stale_credentials=True)
    transport = ScriptedTransport(expired)
    transport.renew_credentials = lambda *_, **__: hold.wait()  # type: ignore[method-assign]  # nothing may wait for it

    with trio.fail_after(5), pytest.raises(DeadlineExceeded) as caught:
        await remote(transport, timeout=0.05).head("key")
    hold.set()

    assert caught.value.key == "key"


async def test_a_renewal_that_hangs_can_be_cancelled() -> None:
    hold, expired = threading.Event(), Retryable(AccessDenied("expired"), is_stale_credentials=True)
    transport = ScriptedTransport(expired)
    transport.renew_credentials = lambda *_, **__: hold.wait()  # type: ignore[method-assign]  # nothing may wait for it

    with trio.fail_after(5), trio.move_on_after(0.05) as scope:
        await remote(transport).head("key")
    hold.set()

    assert scope.cancelled_caught


@either_way
async def test_a_retryable_failure_is_retried(read: Read) -> None:
    transport = ScriptedTransport(failed(), failed())

    assert (await read(remote(transport))).body == b"body"
    assert transport.attempts == 3


async def test_an_operation_fails_after_some_attempts() -> None:
    transport = ScriptedTransport(*[failed() for _ in range(100)])
    store = remote(transport)

    with pytest.raises(StoreError):
        await store.head("key")

    assert transport.attempts == ATTEMPTS
    assert read_metrics(store)["retries"] == ATTEMPTS - 1
    assert read_metrics(store)["request_errors"] == 1


async def test_an_invalid_response_is_retried_twice() -> None:
    transport = ScriptedTransport(*[failed(is_invalid=True) for _ in range(100)])

    with pytest.raises(StoreError):
        await remote(transport).head("key")

    assert transport.attempts == INVALID_ATTEMPTS


async def test_the_only_attempt_of_a_start_tells_why_it_failed() -> None:
    transport = ScriptedTransport(failed(is_throttle=True), failed())

    with pytest.raises(StoreError) as caught:
        await remote(transport).list_once(ListQuery(""))

    assert isinstance(caught.value.__cause__, Retryable)
    assert caught.value.__cause__.is_throttle
    assert transport.attempts == 1


async def test_a_store_that_has_started_is_not_throttled_any_more() -> None:
    store = remote(ScriptedTransport(failed(is_throttle=True)))
    with pytest.raises(StoreError):
        await store.list_once(ListQuery(""))
    assert read_metrics(store)["request_limit"] == 16

    await store.list_once(ListQuery(""))

    assert read_metrics(store)["request_limit"] == 32


async def test_a_refusal_is_not_retried() -> None:
    transport = ScriptedTransport(NotFound("no"))
    store = remote(transport)

    with pytest.raises(NotFound):
        await store.head("key")

    assert transport.attempts == 1
    assert read_metrics(store)["request_errors"] == 0


async def test_there_is_no_pause_past_the_deadline() -> None:
    transport = ScriptedTransport(*[failed() for _ in range(100)])

    with trio.fail_after(30), pytest.raises(StoreError):
        await remote(transport, timeout=25.0, pause=30.0).head("key")

    assert transport.attempts == 1


@pytest.mark.parametrize(("pause", "failure"), [(1.2, StoreError), (0.0, DeadlineExceeded)])
async def test_an_attempt_with_little_time_left_does_not_hide_the_failure_before_it(
    pause: float, failure: type[S3MountError]
) -> None:
    hold = threading.Event()
    store = remote(ScriptedTransport(failed(), hold.wait), timeout=2.0, pause=pause)

    with trio.fail_after(30), pytest.raises(S3MountError) as caught:
        await store.head("key")
    hold.set()

    assert type(caught.value) is failure


@pytest.mark.parametrize("operation", ["head", "list"])
async def test_the_caller_is_told_at_the_deadline_though_the_thread_goes_on(operation: str) -> None:
    hold = threading.Event()
    store = remote(ScriptedTransport(hold.wait), timeout=0.05)

    with trio.fail_after(5), pytest.raises(DeadlineExceeded):
        await (store.head("key") if operation == "head" else store.list_page(ListQuery("")))
    hold.set()


async def test_a_cancelled_read_waits_for_its_thread() -> None:
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

    assert (await read(remote(transport))).body == b"body"
    assert transport.renewals == 1


@either_way
async def test_credentials_that_stay_expired_are_a_refusal(read: Read) -> None:
    expired = Retryable(AccessDenied("expired"), is_stale_credentials=True)
    transport = ScriptedTransport(expired, expired, expired)

    with pytest.raises(AccessDenied):
        await read(remote(transport))

    assert (transport.attempts, transport.renewals) == (2, 1)


@either_way
async def test_a_refusal_is_retried_if_there_are_other_credentials(read: Read) -> None:
    transport = ScriptedTransport(CredentialsRefused("denied"))

    assert (await read(remote(transport))).body == b"body"
    assert (transport.attempts, transport.renewals) == (2, 1)


@either_way
@pytest.mark.parametrize(
    "refusal",
    [
        CredentialsRefused("denied"),
        Retryable(AccessDenied("expired"), is_stale_credentials=True),
    ],
    ids=["denied", "expired"],
)
async def test_a_refusal_stands_if_there_are_no_other_credentials(
    read: Read, refusal: Exception
) -> None:
    transport = ScriptedTransport(refusal)
    transport.has_others = False

    with pytest.raises(AccessDenied):
        await read(remote(transport))

    assert (transport.attempts, transport.renewals) == (1, 1)


@either_way
async def test_a_replaced_version_is_read_by_its_version_id(read: Read) -> None:
    transport = ScriptedTransport(None, StaleVersion("replaced"))
    store = remote(transport)
    version = (await store.head("key")).version

    first = await read(store, version)
    second = await read(store, first.version)

    assert [first.body, second.body] == [b"body", b"body"]
    assert transport.version_ids == [None, "v1", "v1"]


@either_way
@pytest.mark.parametrize("status", [304, 400, 403, 405, 412, 416, 501])
async def test_a_refused_condition_is_left_out_of_the_next_request(read: Read, status: int) -> None:
    transport = ScriptedTransport(StaleVersion("refused", status=status))

    assert (await read(remote(transport))).body == b"body"
    assert (transport.conditions, transport.attempts) == ([True, False], 2)


@either_way
async def test_a_version_that_is_refused_without_a_condition_too_is_stale(read: Read) -> None:
    refused = [StaleVersion("refused", status=412) for _ in range(2)]
    transport = ScriptedTransport(*refused)

    with pytest.raises(StaleVersion):
        await read(remote(transport))

    assert (transport.conditions, transport.attempts) == ([True, False], 2)


@either_way
async def test_another_version_in_the_response_is_no_refusal_of_the_condition(read: Read) -> None:
    transport = ScriptedTransport(StaleVersion("another ETag"))

    with pytest.raises(StaleVersion):
        await read(remote(transport))

    assert transport.conditions == [True]


@either_way
@pytest.mark.parametrize(("status", "is_doubted"), [(412, True), (501, False)])
async def test_an_etag_that_the_store_denies_is_doubted(
    read: Read, status: int, *, is_doubted: bool
) -> None:
    transport = ScriptedTransport()
    store = remote(transport)
    for _ in range(REFUTED_MAX):
        transport.steps = [StaleVersion("refused", status=status)]
        await read(store)
    await read(store)

    assert transport.doubts == [False, is_doubted] * REFUTED_MAX + [is_doubted]


@either_way
async def test_a_time_that_the_store_denies_says_nothing_of_etags(read: Read) -> None:
    transport = ScriptedTransport()
    store = remote(transport)
    version = ObjectVersion("bucket", "key", synthetic_etag(10**18, 4), 4)
    for _ in range(REFUTED_MAX):
        transport.steps = [StaleVersion("refused", status=412)]
        await read(store, version)
    await read(store)

    assert not any(transport.doubts)
    assert transport.conditions == [True, False] * REFUTED_MAX + [False]


@either_way
async def test_keys_that_are_replaced_do_not_turn_conditions_off(read: Read) -> None:
    transport = ScriptedTransport()
    store = remote(transport)
    for _ in range(REFUTED_MAX):
        refused = [
            CredentialsRefused("refused", status=403, code="SignatureDoesNotMatch")
            for _ in range(2)
        ]
        transport.steps = [*refused]
        await read(store)
    transport.conditions.clear()

    await read(store)

    assert transport.conditions == [True]


@either_way
async def test_a_store_that_refuses_conditions_again_and_again_gets_none(read: Read) -> None:
    transport = ScriptedTransport()
    store = remote(transport)
    for _ in range(REFUTED_MAX):
        transport.steps = [StaleVersion("refused", status=412)]
        await read(store)
    transport.conditions.clear()

    await read(store)

    assert transport.conditions == [False]


@either_way
async def test_a_version_id_told_by_a_read_is_used_once_the_version_is_replaced(read: Read) -> None:
    transport = ScriptedTransport(None, StaleVersion("replaced"))
    store = remote(transport)

    first = await read(store)
    second = await read(store, first.version)

    assert first.version == second.version == VERSION
    assert (first.version.version_id, second.version.is_replaced) == ("v1", True)
    assert transport.version_ids == [None, None, "v1"]


@either_way
async def test_a_replaced_version_without_a_known_id_is_gone(read: Read) -> None:
    transport = ScriptedTransport(StaleVersion("replaced"))

    with pytest.raises(StaleVersion):
        await read(remote(transport))


@pytest.mark.parametrize(
    "refusal", [AccessDenied("no s3:GetObjectVersion"), NotFound("no"), StaleVersion("gone")]
)
@either_way
async def test_a_version_that_cannot_be_read_by_its_id_is_gone(
    read: Read, refusal: Exception
) -> None:
    store = remote(ScriptedTransport(None, StaleVersion("replaced"), refusal))
    version = (await store.head("key")).version

    with pytest.raises(StaleVersion):
        await read(store, version)


async def test_throttling_lowers_and_success_raises_the_limit() -> None:
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
async def test_each_operation_is_one_request(read: Read) -> None:
    transport = ScriptedTransport()
    store = remote(transport)

    await store.head("key")
    await store.list_page(ListQuery(""))
    await read(store)
    await store.revalidate(VERSION, 4)

    assert transport.kinds == {"HEAD": 1, "LIST": 1, "GET": 2}


async def test_a_promoted_prefetch_is_read_before_other_prefetches() -> None:
    hold, ended = threading.Event(), []
    store = remote(ScriptedTransport(hold.wait), max_connections=1)
    reads: dict[str, StartedRead] = {}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.head, "key")
        for name in ("first", "second", "promoted"):
            await trio.testing.wait_all_tasks_blocked()
            reads[name] = prefetch(store, lambda *_, name=name: ended.append(name))
        await trio.testing.wait_all_tasks_blocked()
        reads["promoted"].promote()
        hold.set()
    with trio.fail_after(5):
        await read_in_task(store)

    assert ended[0] == "promoted"


def prefetch(store: RemoteStore, on_end: Callable[..., None]) -> StartedRead:
    into = memoryview(bytearray(4))
    return store.start_read(VERSION, ByteRange(0, 4), into, on_end, Priority.PREFETCH)


@either_way
async def test_a_refused_read_is_sent_once(read: Read) -> None:
    transport = ScriptedTransport(AccessDenied("no"))
    store = remote(transport)

    with pytest.raises(AccessDenied):
        await read(store)

    assert transport.attempts == 1
    assert read_metrics(store)["request_errors"] == 1


@either_way
async def test_a_read_fails_after_some_attempts(read: Read) -> None:
    transport = ScriptedTransport(*[failed() for _ in range(100)])

    with pytest.raises(StoreError):
        await read(remote(transport))

    assert transport.attempts == ATTEMPTS


async def test_a_read_without_a_permit_waits_for_one() -> None:
    hold, ended = threading.Event(), End()
    transport = ScriptedTransport(hold.wait)
    store = remote(transport, max_connections=1)

    had_capacity = store.has_capacity()
    prefetch(store, ended.told)
    has_capacity, ends = store.has_capacity(), list(ended.ends)
    second = End()
    prefetch(store, second.told)
    await trio.testing.wait_all_tasks_blocked()
    held = store._limiter.held
    hold.set()
    with trio.fail_after(5):
        await second.wait()

    assert (had_capacity, has_capacity, ends, held) == (True, False, [], 1)
    assert len(ended.ends) == 1
    assert transport.kinds == {"GET": 2}


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.head("k"),
        lambda s: s.list_page(ListQuery("")),
        lambda s: s.revalidate(VERSION, 1),
        read,
    ],
)
async def test_every_operation_ends_by_its_deadline_without_a_permit(
    call: Callable[[RemoteStore], Any],
) -> None:
    hold = threading.Event()
    store = remote(ScriptedTransport(hold.wait), max_connections=1, timeout=0.2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_late, store.head("key"))
        await trio.testing.wait_all_tasks_blocked(0.02)
        with trio.fail_after(5), pytest.raises(DeadlineExceeded):
            await call(store)
        hold.set()


async def test_a_prefetch_whose_permit_comes_past_its_deadline_is_not_sent(
    mock_clock: trio.testing.MockClock,
) -> None:
    """The attempt would time out at once, and a timeout counts as a throttle."""
    transport, ended = ScriptedTransport(), End()
    store = remote(transport, max_connections=1)
    permit = store._limiter.acquire_nowait(Priority.DEMAND)
    assert permit is not None
    prefetch(store, ended.told)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(TIMEOUT)

    permit.release()
    with pytest.raises(DeadlineExceeded):
        await ended.wait()

    assert (transport.attempts, store._limiter.held) == (0, 0)


async def _expect_late(operation: Any) -> None:
    with pytest.raises(DeadlineExceeded):
        await operation


@pytest.mark.parametrize(("allowed", "prepared"), [(32, 8), (1, 1)])
async def test_connections_are_open_before_the_first_requests(allowed: int, prepared: int) -> None:
    transport = ScriptedTransport()
    store = remote(transport, max_connections=allowed)

    store.preconnect()
    for _ in range(prepared):
        assert await trio.to_thread.run_sync(transport.prepared.acquire, True, 10)

    await store.head("key")
    assert not transport.prepared.acquire(blocking=False)


def _no_thread(*_: object) -> None:
    raise RuntimeError("can't start new thread")


every_operation = pytest.mark.parametrize(
    "call",
    [
        lambda store: store.head("k"),
        lambda store: store.list_page(ListQuery("")),
        lambda store: store.revalidate(VERSION, 1),
        read,
        read_in_task,
    ],
    ids=["head", "list", "revalidate", "read", "read-in-task"],
)


@every_operation
async def test_a_thread_that_cannot_be_started_holds_no_permit(
    call: Callable[[RemoteStore], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = ScriptedTransport()
    store = remote(transport, max_connections=2)
    with monkeypatch.context() as patched:
        patched.setattr("s3mount.thread_pool._thread.start_new_thread", _no_thread)
        for _ in range(3):
            with pytest.raises(StoreError, match="no thread can be started"):
                await call(store)

    assert store._limiter.held == 0
    assert transport.attempts == 0
    await call(store)
    assert transport.attempts == 1


@every_operation
async def test_a_moment_without_threads_is_outlasted(
    call: Callable[[RemoteStore], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = ScriptedTransport()
    store = remote(transport)
    start, refusals = _thread.start_new_thread, iter(range(3))

    def start_at_last(*args: Any) -> int:
        if next(refusals, None) is not None:
            raise RuntimeError("can't start new thread")
        return start(*args)

    monkeypatch.setattr("s3mount.thread_pool._thread.start_new_thread", start_at_last)
    await call(store)

    assert transport.attempts == 1
    assert read_metrics(store)["retries"] == 3


async def test_a_prefetch_fails_at_once_if_there_is_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = remote(ScriptedTransport(), pause=30.0)
    monkeypatch.setattr("s3mount.thread_pool._thread.start_new_thread", _no_thread)

    into = memoryview(bytearray(4))
    with trio.fail_after(5), pytest.raises(StoreError):
        await read_range(store, VERSION, ByteRange(0, 4), into, Priority.PREFETCH)


async def test_a_cancelled_read_releases_its_permit_when_its_attempt_has_ended() -> None:
    transport = EndlessTransport()
    store, ended = remote(transport, max_connections=1), End()
    read = prefetch(store, ended.told)
    await trio.to_thread.run_sync(transport.has_begun.wait)

    read.cancel()
    held, ends = store._limiter.held, list(ended.ends)
    with trio.fail_after(5), pytest.raises(RequestCancelledError):
        await ended.wait()

    assert (held, ends) == (1, [])
    assert store._limiter.held == 0


@pytest.mark.parametrize("is_held_up", ["permit", "pause", "renewal"])
async def test_a_cancelled_read_ends_at_once_whatever_it_waits_for(is_held_up: str) -> None:
    hold = threading.Event()
    expired = Retryable(AccessDenied("expired"), is_stale_credentials=True)
    steps: dict[str, Any] = {"permit": hold.wait, "pause": failed(), "renewal": expired}
    transport = ScriptedTransport(steps[is_held_up])
    transport.renew_credentials = lambda *_, **__: hold.wait()  # type: ignore[method-assign]
    store, ended = remote(transport, max_connections=1, pause=30.0), End()
    if is_held_up == "permit":
        prefetch(store, lambda *_: None)
    read = prefetch(store, ended.told)
    while transport.attempts != 1 or (is_held_up != "permit" and store._limiter.held):
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()

    read.cancel()
    with trio.fail_after(5), pytest.raises(RequestCancelledError):
        await ended.wait()
    hold.set()

    assert transport.kinds == {"GET": 1}


@either_way
async def test_a_read_that_cannot_be_sent_because_of_a_bug_fails_and_holds_no_permit(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = remote(ScriptedTransport())
    with monkeypatch.context() as patched:
        patched.setattr(ScriptedRange, "send_nowait", _broken)
        with trio.fail_after(5), pytest.raises(ZeroDivisionError):
            await read(store)

    assert store._limiter.held == 0
    assert (await read(store)).body == b"body"


def _broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError


async def test_a_read_in_flight_does_not_hold_up_the_end_of_the_event_loop() -> None:
    transport = EndlessTransport()
    store = remote(transport)

    def run() -> None:
        trio.run(_leave_in_flight, store, transport)

    with trio.fail_after(10):
        await trio.to_thread.run_sync(run)


async def _leave_in_flight(store: RemoteStore, transport: "EndlessTransport") -> None:
    into = memoryview(bytearray(4))
    store.start_read(VERSION, ByteRange(0, 4), into, lambda *_: None, Priority.DEMAND)
    await trio.to_thread.run_sync(transport.has_begun.wait)


async def test_a_cancelled_read_ends_its_request_and_then_returns() -> None:
    transport = EndlessTransport()
    store = remote(transport, max_connections=1)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, store)
            await trio.to_thread.run_sync(transport.has_begun.wait)
            nursery.cancel_scope.cancel()

    assert store._limiter.held == 0
    assert transport.has_ended


class EndlessTransport(ScriptedTransport):
    """A read ends when it is cancelled, and not before."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = threading.Event()
        self.has_ended = False

    def read(
        self,
        version_id: str | None,  # noqa: ARG002 - the base class's
        into: Callable[[], memoryview],  # noqa: ARG002 - the base class's
        cancel_token: CancelToken,
    ) -> str:
        was_cancelled = threading.Event()
        cancel_token.attach(was_cancelled.set)
        self.has_begun.set()
        was_cancelled.wait()
        self.has_ended = True
        raise RequestCancelledError


async def test_the_callback_of_an_early_token_may_fail(expected_warnings: list[str]) -> None:
    expected_warnings.append("the callback of an early token failed: this is a bug")
    transport = ScriptedTransport()
    store = remote(transport)
    _call_in_event_loop(trio.lowlevel.current_trio_token(), _no_thread, "token")

    await store.list_page(ListQuery(""))
    await trio.testing.wait_all_tasks_blocked()

    assert transport.attempts == 1


@pytest.mark.parametrize("step", ["_record_success", "on_success", "latency.add"])
@either_way
async def test_a_bug_in_the_accounting_for_a_read_does_not_end_the_event_loop(
    read: Read, step: str, monkeypatch: pytest.MonkeyPatch, allowed_warnings: list[str]
) -> None:
    allowed_warnings.append("accounting for a read failed: this is a bug")
    store = remote(ScriptedTransport())
    with monkeypatch.context() as patched:
        patched.setattr(f"s3mount.s3.{TARGETS[step]}", _no_thread)
        with contextlib.suppress(RuntimeError):
            await read(store)

    assert store._limiter.held == 0
    assert (await read(store)).body == b"body"


TARGETS = {
    "_record_success": "scheduling.range_read.RangeRead._record_success",
    "on_success": "scheduling.limiter.Limiter.on_success",
    "latency.add": "scheduling.hedge_policy.Latency.add",
}


async def test_a_failed_read_leaves_no_cycle_with_its_buffer() -> None:
    """Exceptions refer to frames, and those to the buffer: a cycle would keep it for long."""
    gc.disable()
    try:
        for steps in (
            [failed()],
            [failed()] * ATTEMPTS,
            [StaleVersion("gone")] * 2,
            [AccessDenied("no")],
        ):
            for read_into in (_read_into, _start_into):
                buffer = mmap.mmap(-1, 4)
                await read_into(remote(ScriptedTransport(*steps)), memoryview(buffer))

                buffer.close()  # BufferError while anything refers to it
    finally:
        gc.enable()


async def test_a_read_of_a_deleted_version_leaves_no_cycle() -> None:
    store = remote(ScriptedTransport(StaleVersion("replaced"), NotFound("deleted")))
    version, ended = VERSION.with_version_id("v1"), End()
    gc.disable()
    try:
        into = memoryview(bytearray(4))
        read = store.start_read(version, ByteRange(0, 4), into, ended.told, Priority.DEMAND)
        reference = weakref.ref(read)
        del read
        with pytest.raises(StaleVersion):
            await ended.wait()

        wait_until(lambda: reference() is None)  # a thread lets it go after it has told the end
    finally:
        gc.enable()


async def _read_into(store: RemoteStore, into: memoryview) -> None:
    try:
        await read_range(store, VERSION, ByteRange(0, 4), into)
    except S3MountError as exc:
        unawaited.drop_frames(exc)


async def _start_into(store: RemoteStore, into: memoryview) -> None:
    ended = End()
    store.start_read(VERSION, ByteRange(0, 4), into, ended.told, Priority.PREFETCH)
    try:
        await ended.wait()
    except S3MountError as exc:
        unawaited.drop_frames(exc)

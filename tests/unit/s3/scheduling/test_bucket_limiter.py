"""Limiters of several buckets, which share permits: no bucket holds the others back."""

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.bucket_limiter import BucketLimiter, SharedPermits
from s3mount.s3.scheduling.limiter import Limiter
from s3mount.s3.silent_connections import EVIDENCE_MIN, SilentConnections
from tests.unit.s3.scheduling.test_limiter import DEMAND, PREFETCH, Request, crowd

ADMITTED = {  # by the permits in all: what each of several buckets gets that hold on to theirs
    1: [1, 0],
    2: [1, 1, 0],
    8: [7, 1, 0],
    32: [28, 3, 1, 0],
}


def limiters(limit: int, count: int) -> list[BucketLimiter]:
    shared = SharedPermits(limit)
    return [BucketLimiter(shared) for _ in range(count)]


def holding(requests: list[Request]) -> int:
    return sum(request.is_held for request in requests)


async def test_a_bucket_leaves_permits_to_the_next_one_and_that_to_another() -> None:
    for limit, expected in ADMITTED.items():
        async with trio.open_nursery() as nursery:
            found = [
                holding(await crowd(nursery, limiter, DEMAND, limit + 1))
                for limiter in limiters(limit, len(expected))
            ]
            nursery.cancel_scope.cancel()

        assert expected == found


async def test_buckets_that_wait_get_as_many_permits_as_each_other() -> None:
    first, second = limiters(8, 2)

    async with trio.open_nursery() as nursery:
        busy = await crowd(nursery, first, DEMAND, 40)
        late = await crowd(nursery, second, DEMAND, 40)
        before = (first.held, second.held)
        for request in [each for each in busy if each.is_held][:4]:
            request.release()
        await trio.testing.wait_all_tasks_blocked()
        after = (first.held, second.held)
        nursery.cancel_scope.cancel()

    assert before == (7, 1)
    assert after == (4, 3)  # one is left free for a third bucket
    assert holding(late) == 3


async def test_buckets_take_turns_at_one_permit() -> None:
    first, second = limiters(1, 2)
    order: list[str] = []

    async def take_turns(limiter: BucketLimiter, name: str) -> None:
        request = Request(limiter, DEMAND)
        await request.acquire()
        order.append(name)
        request.release()

    holder = Request(first, DEMAND)
    await holder.acquire()
    async with trio.open_nursery() as nursery:
        for limiter, name in ((first, "first"), (second, "second")):
            for _ in range(3):
                nursery.start_soon(take_turns, limiter, name)
            await trio.testing.wait_all_tasks_blocked()
        holder.release()

    assert order == ["first", "second"] * 3


async def test_a_bucket_that_throttles_lowers_no_other_limit_and_blocks_no_prefetch() -> None:
    slow, other = limiters(8, 2)
    for _ in range(3):
        slow.on_throttle(slow.aimd.round)

    async with trio.open_nursery() as nursery:
        await crowd(nursery, slow, DEMAND, 20)
        prefetches = await crowd(nursery, other, PREFETCH, 20)
        found = (slow.held, other.aimd.is_reduced, holding(prefetches))
        nursery.cancel_scope.cancel()

    assert found == (1, False, 5)  # of 7: one is left to others, one to demand requests


async def test_a_host_of_few_connections_lowers_no_limit_of_buckets_at_other_hosts() -> None:
    shared, few = SharedPermits(8), SilentConnections()
    at_host, elsewhere = BucketLimiter(shared, few), BucketLimiter(shared, SilentConnections())

    for _ in range(EVIDENCE_MIN):
        few.record_lost(1.0, responsive=2)
    at_host.on_success()
    elsewhere.on_success()
    later = BucketLimiter(shared, few)
    later.on_success()

    assert (at_host.aimd.allowed, elsewhere.aimd.allowed) == (2, 8)
    assert later.aimd.allowed == 8  # what was found before is for those that were there


async def test_a_throttle_lets_the_prefetches_of_other_buckets_acquire() -> None:
    slow, other = limiters(8, 2)

    async with trio.open_nursery() as nursery:
        await crowd(nursery, slow, DEMAND, 20)
        [prefetch] = await crowd(nursery, other, PREFETCH, 1)
        before = prefetch.is_held
        slow.on_throttle(slow.aimd.round)
        await trio.testing.wait_all_tasks_blocked()
        after = prefetch.is_held
        nursery.cancel_scope.cancel()

    assert (before, after) == (False, True)


async def test_prefetches_of_one_bucket_leave_the_permits_of_another_to_its_readers() -> None:
    first, second = limiters(8, 2)

    async with trio.open_nursery() as nursery:
        await crowd(nursery, first, PREFETCH, 20)
        [reader] = await crowd(nursery, second, DEMAND, 1)
        found = (first.held, reader.is_held)
        nursery.cancel_scope.cancel()

    assert found == (6, True)


async def test_capacity_is_that_of_the_bucket_that_responded_last() -> None:
    shared = SharedPermits(8)
    silent, other = BucketLimiter(shared), BucketLimiter(shared)

    async with trio.open_nursery() as nursery:
        other.on_success()
        await crowd(nursery, silent, DEMAND, 4)
        for _ in range(3):
            silent.on_throttle(silent.aimd.round)
        while_silent = shared.has_capacity()
        silent.on_success()
        while_throttled = shared.has_capacity()
        nursery.cancel_scope.cancel()

    assert (while_silent, while_throttled) == (True, False)


# ---- any order of events ---------------------------------------------------------------------


@given(
    limit=st.integers(1, 20),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("acquire"), st.integers(0, 2), st.integers(0, 1)),
            st.tuples(
                st.sampled_from(["release", "cancel", "promote", "swap", "late cancel"]),
                st.integers(0, 2),
                st.integers(0, 30),
            ),
            st.tuples(st.sampled_from(["throttle", "succeed"]), st.integers(0, 2), st.just(0)),
        ),
        max_size=50,
    ),
)
def test_the_invariants_hold_in_any_order_of_events_of_several_buckets(
    limit: int, steps: list[tuple[str, int, int]]
) -> None:
    trio.run(_play, limit, steps)


class _Bucket:
    """A bucket's limiter, and its requests in the order in which they came."""

    def __init__(self, shared: SharedPermits, nursery: trio.Nursery) -> None:
        self.limiter = BucketLimiter(shared)
        self._nursery = nursery
        self.held: list[Request] = []
        self.waiting: dict[Request, trio.CancelScope] = {}

    def count(self, priority: Priority) -> int:
        return sum(request.priority is priority for request in self.held)

    def waits(self, priority: Priority) -> bool:
        return any(request.priority is priority for request in self.waiting)

    @property
    def is_demand_kept_waiting(self) -> bool:
        return self.waits(DEMAND) and len(self.held) < self.limiter.aimd.allowed

    def step(self, name: str, choice: int) -> None:
        if name == "acquire":
            request = Request(self.limiter, list(Priority)[choice])
            self.waiting[request] = trio.CancelScope()
            self._nursery.start_soon(self._come, request, self.waiting[request])
        if name in ("cancel", "swap") and self.waiting:
            list(self.waiting.values())[choice % len(self.waiting)].cancel()
        if name in ("release", "swap") and self.held:
            self.held.pop(choice % len(self.held)).release()
        if name == "late cancel" and self.waiting and self.held:
            self.held.pop(choice % len(self.held)).release()
            next(iter(self.waiting.values())).cancel()
        if name == "promote" and (everybody := [*self.waiting, *self.held]):
            everybody[choice % len(everybody)].promote()
        if name == "throttle":
            self.limiter.on_throttle(self.limiter.aimd.round)
        if name == "succeed":
            self.limiter.on_success()

    async def _come(self, request: Request, scope: trio.CancelScope) -> None:
        with scope:
            await request.acquire()
            self.held.append(request)
        self.waiting.pop(request)


async def _play(limit: int, steps: list[tuple[str, int, int]]) -> None:
    shared = SharedPermits(limit)
    async with trio.open_nursery() as nursery:
        buckets = [_Bucket(shared, nursery) for _ in range(3)]
        for name, index, choice in steps:
            before = [dict.fromkeys(bucket.held) for bucket in buckets]
            buckets[index].step(name, choice)
            await trio.testing.wait_all_tasks_blocked()
            grown = [
                [each for each in bucket.held if each not in former]
                for bucket, former in zip(buckets, before, strict=True)
            ]
            _check_safe(limit, buckets, grown)
            _check_none_waits_in_vain(limit, buckets)
        nursery.cancel_scope.cancel()
    for bucket in buckets:
        assert not any(bucket.limiter._waiting.values())
        for request in bucket.held:
            request.release()
        assert bucket.limiter.held == 0
    assert not any(shared.held.values())
    assert not shared._waiting


def _reserved(permits: int) -> int:
    return min(max(1, permits // 8), permits - 1)


def _unused(limit: int, buckets: list[_Bucket], bucket: _Bucket) -> int:
    """Return how many permits no other bucket than *bucket* holds."""
    return limit - sum(len(each.held) for each in buckets if each is not bucket)


def _check_safe(limit: int, buckets: list[_Bucket], grown: list[list[Request]]) -> None:
    assert all(bucket.limiter.held == len(bucket.held) for bucket in buckets)
    assert sum(len(bucket.held) for bucket in buckets) <= limit
    for bucket, requests in zip(buckets, grown, strict=True):
        if requests:
            assert len(bucket.held) <= bucket.limiter.aimd.allowed
        if requests and sum(map(len, grown)) == len(requests):
            unused = _unused(limit, buckets, bucket)
            assert len(bucket.held) <= unused - _reserved(unused)
        if any(request.priority is PREFETCH for request in requests):
            assert not any(each.is_demand_kept_waiting for each in buckets)
            prefetches = sum(each.count(PREFETCH) for each in buckets)
            assert prefetches <= limit - _reserved(limit)


def _check_none_waits_in_vain(limit: int, buckets: list[_Bucket]) -> None:
    held = sum(len(bucket.held) for bucket in buckets)
    is_demand_kept = any(bucket.is_demand_kept_waiting for bucket in buckets)
    prefetches = sum(each.limiter._held[PREFETCH] for each in buckets)
    for bucket in buckets:
        unused = _unused(limit, buckets, bucket)
        allowed = min(bucket.limiter.aimd.allowed, unused - _reserved(unused))
        if held == limit:
            continue
        if bucket.waits(DEMAND):
            assert len(bucket.held) >= allowed
        elif bucket.waits(PREFETCH) and not is_demand_kept:
            assert (
                len(bucket.held) >= allowed
                or bucket.limiter._held[PREFETCH] >= allowed - _reserved(allowed)
                or prefetches >= limit - _reserved(limit)
            )


async def test_a_store_that_shares_nothing_has_all_permits() -> None:
    limiter = Limiter(8)

    async with trio.open_nursery() as nursery:
        requests = await crowd(nursery, limiter, DEMAND, 9)
        nursery.cancel_scope.cancel()

    assert holding(requests) == 8

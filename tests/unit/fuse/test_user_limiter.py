"""Requests of each user are bounded and in order, and no user waits for another."""

import pytest
import trio
import trio.testing

from s3mount.errors import TooManyRequests
from s3mount.fuse.user_limiter import UserLimiter

ALICE, BOB = 1000, 1001


class Requests:
    """Requests by name; each stays admitted until it is ended."""

    def __init__(self, nursery: trio.Nursery, limiter: UserLimiter) -> None:
        self._nursery = nursery
        self._limiter = limiter
        self._ends: dict[str, trio.CancelScope] = {}
        self.admitted: list[str] = []

    async def begin(self, name: str, uid: int, cost: int = 1) -> None:
        self._nursery.start_soon(self._make, name, uid, cost)
        await trio.testing.wait_all_tasks_blocked()

    async def end(self, name: str) -> None:
        self._ends[name].cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def _make(self, name: str, uid: int, cost: int) -> None:
        with trio.CancelScope() as self._ends[name]:
            async with self._limiter.admitted(uid, cost):
                self.admitted.append(name)
                await trio.sleep_forever()


async def test_a_user_waits_only_for_its_own_requests(nursery: trio.Nursery) -> None:
    requests = Requests(nursery, UserLimiter(share=2, queue=10, total=20))
    for name in ("a1", "a2", "a3"):
        await requests.begin(name, ALICE)
    await requests.begin("b1", BOB)

    assert requests.admitted == ["a1", "a2", "b1"]

    await requests.end("a1")

    assert requests.admitted == ["a1", "a2", "b1", "a3"]


async def test_a_costly_request_is_admitted_before_later_cheap_ones(nursery: trio.Nursery) -> None:
    requests = Requests(nursery, UserLimiter(share=3, queue=10, total=20))
    await requests.begin("first", ALICE, 2)
    await requests.begin("costly", ALICE, 2)
    await requests.begin("cheap", ALICE, 1)

    assert requests.admitted == ["first"]

    await requests.end(
        "costly"
    )  # cancelled while it waits: the one behind it needs to wait no more

    assert requests.admitted == ["first", "cheap"]


async def test_a_request_that_costs_more_than_the_share_is_admitted_alone(
    nursery: trio.Nursery,
) -> None:
    requests = Requests(nursery, UserLimiter(share=1, queue=10, total=20))
    await requests.begin("costly", ALICE, 2)
    await requests.begin("next", ALICE, 2)

    assert requests.admitted == ["costly"]

    await requests.end("costly")

    assert requests.admitted == ["costly", "next"]


@pytest.mark.parametrize(("queue", "total", "other_is_refused"), [(3, 20, False), (20, 3, True)])
async def test_too_many_requests_are_refused_at_once(
    nursery: trio.Nursery, *, queue: int, total: int, other_is_refused: bool
) -> None:
    limiter = UserLimiter(share=1, queue=queue, total=total)
    requests = Requests(nursery, limiter)
    for name in ("a1", "a2", "a3"):
        await requests.begin(name, ALICE)

    with pytest.raises(TooManyRequests):
        await limiter.acquire(ALICE, 1)
    if other_is_refused:
        with pytest.raises(TooManyRequests):
            await limiter.acquire(BOB, 1)
    else:
        await limiter.acquire(BOB, 1)


@pytest.mark.parametrize("seed", range(20))
async def test_cancelled_requests_leave_no_trace(seed: int) -> None:
    limiter = UserLimiter(share=3, queue=50, total=80)
    names = [str(number) for number in range(40)]
    async with trio.open_nursery() as nursery:
        requests = Requests(nursery, limiter)
        for number, name in enumerate(names):
            await requests.begin(name, ALICE if number * seed % 3 else BOB, 1 + number * seed % 2)
            assert all(user.cost <= limiter._share for user in limiter._users.values())
            if number % 5 == seed % 5:
                await requests.end(names[number * seed % (number + 1)])
        nursery.cancel_scope.cancel()

    assert limiter._users == {}
    assert limiter._requests == 0

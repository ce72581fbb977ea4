"""Buckets at one host share its connections, and all hosts together keep few that are idle."""

import dataclasses

import pytest

from s3mount.s3.native.connection_pool import ConnectionPool
from s3mount.s3.native.shared_pools import SharedPools
from s3mount.s3.scheduling.cancel_token import CancelToken
from tests.unit.s3.clients import soon
from tests.unit.s3.scripted_server import scripted, store_at


def open_idle(pool: ConnectionPool, count: int) -> None:
    """Open *count* connections of *pool*, and leave them idle."""
    opened = [pool.open(soon(), CancelToken()) for _ in range(count)]
    for connection in opened:
        pool.release(connection)


def test_stores_at_one_host_have_one_pool_and_others_their_own() -> None:
    pools = SharedPools(connections=4)
    store = store_at(9)

    pool = pools.pool(dataclasses.replace(store, base_path="/one"))

    assert pools.pool(dataclasses.replace(store, base_path="/other")) is pool
    assert pools.pool(dataclasses.replace(store, port=10)) is not pool
    assert pools.pool(dataclasses.replace(store, proxy="http://127.0.0.1:3128")) is not pool


def test_as_many_idle_connections_of_other_hosts_are_closed_as_are_too_many() -> None:
    with scripted() as one, scripted() as two, scripted() as three:
        pools = SharedPools(connections=4)
        first, second, third = (pools.pool(store_at(each.port)) for each in (one, two, three))
        try:
            open_idle(first, 2)
            open_idle(second, 2)
            assert (first.idle_count, second.idle_count) == (2, 2)

            open_idle(third, 1)

            assert (first.idle_count, second.idle_count, third.idle_count) == (1, 2, 1)
        finally:
            pools.close()


def test_closing_closes_the_pools_of_all_hosts() -> None:
    with scripted() as one, scripted() as two:
        pools = SharedPools(connections=4)
        found = [pools.pool(store_at(each.port)) for each in (one, two)]
        for pool in found:
            open_idle(pool, 1)

        pools.close()

        assert [pool.idle_count for pool in found] == [0, 0]


def test_a_pool_that_is_asked_for_after_the_end_is_closed() -> None:
    with scripted() as server:
        pools = SharedPools(connections=4)
        pools.close()

        with pytest.raises(ConnectionAbortedError):
            pools.pool(store_at(server.port)).open(soon(), CancelToken())

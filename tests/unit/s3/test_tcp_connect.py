"""Connections to names with several addresses, some of which do not answer."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3 import tcp_connect
from s3mount.s3.tcp_connect import Address, TcpConnector, Waitable, interleaved, resolve_name
from tests.unit.s3.clients import AT_ONCE, TRANSPORTS, operations_over, soon
from tests.unit.s3.scripted_server import head, says, scripted


def at(host: str, port: int, family: int = socket.AF_INET) -> Address:
    return (family, socket.SOCK_STREAM, 6, "", (host, port))


@contextmanager
def dead() -> Iterator[Address]:
    """Yield an address that answers no SYN: its queue of connections is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        where = server.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(where)
        yield at(*where)


@contextmanager
def alive() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield at(*server.getsockname())


def refusing() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return at(*server.getsockname())


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """The addresses of every name."""
    addresses: list[Address] = []
    monkeypatch.setattr(tcp_connect, "resolve_name", lambda *_: list(addresses))
    return addresses


def connected(connector: TcpConnector, seconds: float = 5) -> tuple[Address, float]:
    """Return the address of a new connection, and how long it took to open."""
    begun = time.monotonic()
    with connector.connect("name", 80, begun + seconds, lambda _: None) as sock:
        return sock.getpeername(), time.monotonic() - begun


def test_a_dead_first_address_costs_a_quarter_of_a_second_once(names: list[Address]) -> None:
    with dead() as first, alive() as second:
        names += [first, second]
        connector = TcpConnector()

        assert connected(connector)[0] == second[4]
        where, seconds = connected(connector)

        assert where == second[4]
        assert seconds < 0.1


def test_a_refusal_is_not_waited_for(names: list[Address]) -> None:
    with alive() as second:
        names += [refusing(), second]

        where, seconds = connected(TcpConnector())

        assert where == second[4]
        assert seconds < 0.1


def test_the_order_is_the_resolver_s_while_addresses_answer(names: list[Address]) -> None:
    with alive() as one, alive() as other:
        names += [one, other]
        connector = TcpConnector()
        assert connected(connector)[0] == one[4]
        names.reverse()

        assert connected(connector)[0] == other[4]


def test_an_address_that_fails_later_is_tried_last(names: list[Address]) -> None:
    with alive() as other:
        with alive() as one:
            names += [one, other]
            connector = TcpConnector()
            assert connected(connector)[0] == one[4]

        assert connected(connector)[0] == other[4]
        assert connector._in_order(names)[0] == other


def test_an_address_is_tried_again_after_a_while(names: list[Address]) -> None:
    now = [0.0]
    connector = TcpConnector(clock=lambda: now[0])
    with alive() as other:
        one = refusing()
        names += [one, other]
        connector.connect("name", 80, 5, lambda _: None).close()
        assert connector._in_order(names) == [other, one]
        now[0] += tcp_connect.DEMOTED_FOR

        assert connector._in_order(names) == [one, other]


def test_an_opening_ends_by_its_deadline(names: list[Address]) -> None:
    with dead() as one, dead() as other:
        names += [one, other]

        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            connected(TcpConnector(), 0.6)

        assert time.monotonic() - begun < AT_ONCE


def test_the_last_failure_is_that_of_the_opening(names: list[Address]) -> None:
    names += [refusing(), refusing()]

    with pytest.raises(ConnectionRefusedError):
        connected(TcpConnector())


def test_a_name_without_addresses_cannot_be_connected_to(names: list[Address]) -> None:
    assert names == []

    with pytest.raises(OSError, match="no address"):
        connected(TcpConnector())


def test_an_opening_that_is_shut_down_ends_at_once(names: list[Address]) -> None:
    with dead() as one, dead() as other:
        names += [one, other]
        timers = []

        def on_wait(waitable: Waitable) -> None:
            timers.append(threading.Timer(0.1, waitable.shut_down))
            timers[0].start()

        begun = time.monotonic()
        with pytest.raises(ConnectionAbortedError):
            TcpConnector().connect("name", 80, begun + 30, on_wait)

        assert time.monotonic() - begun < AT_ONCE
        timers[0].join()


def test_an_opening_that_was_shut_down_before_it_began_opens_nothing(names: list[Address]) -> None:
    with alive() as one:
        names.append(one)

        with pytest.raises(ConnectionAbortedError):
            TcpConnector().connect("name", 80, soon(), lambda waitable: waitable.shut_down())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_each_transport_passes_over_a_dead_address(transport: str, names: list[Address]) -> None:
    with dead() as first, scripted(*[says(head(Content_Length=5))] * 2) as server:
        names += [first, at("127.0.0.1", server.port)]
        with operations_over(TRANSPORTS[transport](server.port)) as operations:
            begun = time.monotonic()
            operations.head("key", deadline=soon())

        assert time.monotonic() - begun < AT_ONCE


families = st.sampled_from([socket.AF_INET, socket.AF_INET6])


@given(st.lists(families, max_size=12))
def test_families_take_turns_and_nothing_is_lost(given_families: list[int]) -> None:
    addresses = [at("host", number, family) for number, family in enumerate(given_families)]

    ordered = interleaved(addresses)

    assert sorted(ordered) == sorted(addresses)
    for family in given_families:
        assert [a for a in ordered if a[0] == family] == [a for a in addresses if a[0] == family]
    both = 2 * min(given_families.count(each) for each in (socket.AF_INET, socket.AF_INET6))
    assert all(ordered[i][0] != ordered[i + 1][0] for i in range(both - 1))


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=150))
def test_the_memory_of_addresses_is_bounded(ends: list[tuple[int, bool]]) -> None:
    connector = TcpConnector()
    for number, has_answered in ends:
        opening = tcp_connect.Opening([], time.monotonic)
        if has_answered:
            opening.answered = at("host", number)
        else:
            opening.unanswered = [at("host", number)]

        connector._remember(opening)

        assert len(connector._demoted) <= tcp_connect.DEMOTED_MAX
        assert (("host", number) in connector._demoted) is not has_answered


@pytest.mark.parametrize("host", ["a..b", ".a", "...", "x" * 64 + ".test"])
def test_a_name_that_no_host_can_have_is_a_failure_to_connect(host: str) -> None:
    with pytest.raises(OSError, match="no host can have this name"):
        resolve_name(host, 80, 5, lambda _: None)

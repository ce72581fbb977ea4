from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.silent_connections import (
    EVIDENCE_MIN,
    PATIENCE_FACTOR,
    PATIENCE_MIN,
    TRIALS,
    SilentConnections,
)


def test_a_request_stays_until_its_connection_was_silent_for_several_usual_responses() -> None:
    connections = SilentConnections()
    assert not connections.begin_move(PATIENCE_MIN - 0.01)
    connections.record_response(5.0)

    assert not connections.begin_move(5.0 * PATIENCE_FACTOR - 0.01)
    assert connections.begin_move(5.0 * PATIENCE_FACTOR)


def test_more_requests_move_after_each_confirmed_move_and_few_after_one_in_vain() -> None:
    connections = SilentConnections()

    def moves_begun() -> int:
        count = 0
        while count < 100 and connections.begin_move(1000.0):
            count += 1
        return count

    assert moves_begun() == TRIALS
    for _ in range(TRIALS):
        connections.end_move(1000.0, 0.1, responsive=7)
    assert (connections.limits_found, connections.responsive) == (1, 7)
    begun = moves_begun()
    assert begun > TRIALS

    for _ in range(begun):
        connections.end_move(1000.0, 900.0, responsive=9)
    assert moves_begun() == TRIALS
    assert connections.limits_found == 1


def test_one_slow_response_over_a_new_connection_is_no_limit_of_connections() -> None:
    """One response of 1.6 s lowered the limit of requests to the one other connection."""
    connections = SilentConnections()

    for _ in range(5):
        assert connections.begin_move(1.6)
        connections.end_move(1.6, 0.02, responsive=1)
        connections.end_silence(connections.begin_silence(), is_proven=True)
    assert not connections.limits_found


def test_several_silent_connections_are_a_limit_of_connections() -> None:
    connections = SilentConnections()

    for _ in range(EVIDENCE_MIN):
        assert connections.begin_move(1.6)
        connections.end_move(1.6, 0.02, responsive=1)

    assert connections.limits_found == 1


@given(
    st.lists(st.sampled_from(("move", "cancel", "confirm", "vain", "open", "prove")), max_size=60)
)
def test_a_slow_store_gets_few_requests_twice(steps: list[str]) -> None:
    """Each move in vain doubles the patience, and none is in flight for ever."""
    connections = SilentConnections()
    moves, moves_max = 0, TRIALS
    silences: list[object] = []
    for step in steps:
        before = connections.patience
        if step == "move":
            moves += connections.begin_move(before)
        elif step == "open":
            silences.append(connections.begin_silence())
        elif step == "prove" and silences:
            connections.end_silence(silences.pop(), is_proven=True)
        elif moves:
            seconds = {"cancel": None, "confirm": 0.1, "vain": before}.get(step)
            connections.end_move(before, seconds, responsive=3)
            moves -= 1
            if step == "confirm":
                moves_max *= 2
            if step == "vain":
                moves_max = max(TRIALS, moves)
                assert connections.patience in (2 * before, PATIENCE_MIN * 32)
        assert connections.patience >= PATIENCE_MIN
        assert moves <= moves_max


def test_reads_whose_hedges_win_over_silent_connections_tell_of_a_limit() -> None:
    connections = SilentConnections()

    connections.record_lost(0.1, responsive=5)
    connections.record_lost(0.6, responsive=5)
    assert not connections.limits_found
    connections.record_lost(0.6, responsive=5)

    assert (connections.limits_found, connections.responsive) == (1, 5)


def test_a_new_connection_with_a_response_refutes_cancelled_reads() -> None:
    connections = SilentConnections()

    for _ in range(5):
        connections.record_lost(0.6, responsive=5)
        connections.end_silence(connections.begin_silence(), is_proven=True)

    assert not connections.limits_found


def test_new_connections_that_respond_as_usual_stall_nothing() -> None:
    """A store that closes each connection has as many silent ones as there are requests."""
    now = 0.0
    connections = SilentConnections(clock=lambda: now)
    connections.record_response(0.2)
    silences = [connections.begin_silence() for _ in range(40)]

    now = 0.3
    assert not connections.is_stalled
    now = 0.5
    assert connections.is_stalled

    for silence in silences:
        connections.end_silence(silence, is_proven=True)
    assert not connections.is_stalled

"""Room for clients of each user: which of them is dropped for another one."""

from dataclasses import dataclass

from s3mount.control.admission import CLIENTS_MAX, IDLE_MIN, STREAMS_MAX, Admission

ROOT, USER = 0, 1000


@dataclass(eq=False)
class FakeClient:
    idle_since: float | None = None
    is_streaming: bool = False
    is_dropped: bool = False

    def drop(self) -> None:
        self.is_dropped = True


def _admit(admission: Admission, uid: int, *clients: FakeClient) -> None:
    for client in clients:
        admission.add(uid, client)


def test_no_user_keeps_another_one_out() -> None:
    admission = Admission()
    _admit(admission, USER, *(FakeClient(is_streaming=True) for _ in range(CLIENTS_MAX)))

    assert not admission.has_room(USER, 100.0)
    assert not admission.may_stream(USER)
    assert admission.has_room(ROOT, 100.0)
    assert admission.may_stream(ROOT)


def test_only_a_client_that_is_idle_for_long_makes_room() -> None:
    """The clock may begin at 0."""
    admission = Admission()
    idle = [FakeClient(idle_since=float(second)) for second in (2, 0, 1)]
    _admit(admission, USER, *idle, *(FakeClient() for _ in range(CLIENTS_MAX - len(idle))))

    assert not admission.has_room(USER, IDLE_MIN - 0.1)
    assert admission.has_room(USER, IDLE_MIN)
    assert [each.is_dropped for each in idle] == [False, True, False]


def test_a_client_that_has_made_room_may_end_later() -> None:
    admission = Admission()
    client = FakeClient(idle_since=0.0)
    _admit(admission, USER, client, *(FakeClient() for _ in range(CLIENTS_MAX - 1)))
    admission.has_room(USER, IDLE_MIN)

    admission.remove(USER, client)

    assert admission.has_room(USER, IDLE_MIN)


def test_streams_are_counted_while_they_run() -> None:
    admission = Admission()
    clients = [FakeClient(is_streaming=True) for _ in range(STREAMS_MAX)]
    _admit(admission, USER, *clients)
    assert not admission.may_stream(USER)

    clients[0].is_streaming = False

    assert admission.may_stream(USER)

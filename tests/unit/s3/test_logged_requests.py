"""What each transport tells the request log of requests that end in one way or another."""

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.native.redirects import RedirectFollower
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.request_log import RequestLog
from s3mount.s3.request_records import RequestKind
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.transport import Retryable, Transport
from tests.unit.s3.clients import TRANSPORTS, operations_over, read, soon
from tests.unit.s3.scripted_server import (
    Line,
    ScriptedServer,
    head,
    part,
    refusal,
    says,
    says_and_ends,
    scripted,
    stalls_after,
    store_at,
)
from tests.waiting import wait_until

CONTENT = bytes(range(256)) * 4
VERSION = ObjectVersion("bucket", "key", "abc", len(CONTENT))
RANGE = ByteRange(100, 900)
RESPONSE = part(CONTENT, RANGE.start, RANGE.stop)


def log_of(transport: Transport) -> RequestLog:
    """The log of a transport that was made without one."""
    log = getattr(transport, "_log", None) or transport._http._log  # type: ignore[attr-defined]
    assert isinstance(log, RequestLog)
    return log


def ended(log: RequestLog) -> dict[str, int]:
    """How many GETs ended in which way."""
    counts = log.counts()[RequestKind.GET]
    assert counts.in_flight == 0
    return {str(outcome): count for outcome, count in counts.by_outcome.items() if count}


def counted(
    name: str, *script: Line, run: Callable[[BucketOperations], object], **changes: object
) -> tuple[dict[str, int], ScriptedServer, RequestLog]:
    """Call *run* with operations over the transport *name*; its expected failures do not count."""
    with scripted(*script) as server:
        transport = TRANSPORTS[name](server.port, **changes)
        with operations_over(transport) as operations:
            with suppress(Retryable, RequestCancelledError):
                run(operations)
            return ended(log_of(transport)), server, log_of(transport)


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_read_is_one_request_with_the_bytes_of_its_body(name: str) -> None:
    outcomes, server, log = counted(
        name, says(RESPONSE), run=lambda made: read(made, VERSION, RANGE)
    )

    assert outcomes == {"succeeded": 1}
    assert len(server.requests) == 1
    assert log.counts()[RequestKind.GET].received == len(RANGE)
    assert log.latencies()[RequestKind.GET].all.count == 1


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_request_that_is_sent_again_on_a_closed_connection_counts_twice(name: str) -> None:
    def run(made: BucketOperations) -> None:
        for _ in range(2):
            read(made, VERSION, RANGE)

    outcomes, server, log = counted(name, says(RESPONSE), says_and_ends(), says(RESPONSE), run=run)

    assert outcomes == {"succeeded": 2, "repeated": 1}
    assert len(server.requests) == 3
    assert log.errors() == []


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_refusal_has_its_status_and_code(name: str) -> None:
    outcomes, _, log = counted(
        name,
        says(refusal("503 Slow Down", "SlowDown")),
        run=lambda made: read(made, VERSION, RANGE),
    )

    [error] = log.errors()
    assert outcomes == {"failed": 1}
    assert (error.status, error.code, error.key) == (503, "SlowDown", "key")
    assert error.byte_range == RANGE


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_body_that_is_cut_counts_the_bytes_that_came(name: str) -> None:
    cut = RESPONSE[: len(RESPONSE) - 300]
    outcomes, _, log = counted(
        name, says_and_ends(cut), run=lambda made: read(made, VERSION, RANGE)
    )

    assert outcomes == {"failed": 1}
    assert log.counts()[RequestKind.GET].received == len(RANGE) - 300


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_silent_response_is_timed_out_and_no_sample_of_latency(name: str) -> None:
    outcomes, _, log = counted(
        name,
        stalls_after(),
        run=lambda made: read(made, VERSION, RANGE),
        idle_timeout=0.2,
    )

    assert outcomes == {"timed-out": 1}
    assert log.latencies()[RequestKind.GET].all.count == 0
    assert [error.status for error in log.errors()] == [None]


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.parametrize("begins_with", [b"", RESPONSE[:400]])
def test_a_cancelled_request_is_no_failure(name: str, begins_with: bytes) -> None:
    token = CancelToken()
    with scripted(stalls_after(begins_with)) as server:
        transport = TRANSPORTS[name](server.port)

        def cancel() -> None:
            wait_until(lambda: server.requests != [])
            token.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        with operations_over(transport) as operations, suppress(Retryable, RequestCancelledError):
            read(operations, VERSION, RANGE, cancel_token=token)
        canceller.join()

    log = log_of(transport)
    assert ended(log) == {"cancelled": 1}
    assert log.errors() == []


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_server_that_is_not_there_gets_no_request(name: str) -> None:
    with scripted() as server:
        port = server.port
    transport = TRANSPORTS[name](port)

    with operations_over(transport) as operations, pytest.raises(Retryable):
        read(operations, VERSION, RANGE)

    assert ended(log_of(transport)) == {}


@pytest.mark.parametrize("name", TRANSPORTS)
def test_each_request_that_follows_a_redirect_counts(name: str) -> None:
    log = RequestLog()
    with scripted(says(RESPONSE)) as other:
        redirect = head(
            "307 Temporary Redirect",
            Location=f"http://127.0.0.1:{other.port}/k",
            Content_Length=0,
        )
        with scripted(says(redirect)) as server:
            transport = TRANSPORTS[name](server.port)
            follower = RedirectFollower(transport, store_at(server.port), log)
            with operations_over(follower) as operations:
                read(operations, VERSION, RANGE, deadline=soon())

    assert (ended(log_of(transport)), ended(log)) == ({"succeeded": 1}, {"succeeded": 1})


def test_a_request_is_in_flight_from_its_sending_to_its_end() -> None:
    with scripted(stalls_after(RESPONSE[:400])) as server:
        transport = TRANSPORTS["native"](server.port)
        with operations_over(transport) as operations:
            token = CancelToken()

            def run() -> None:
                with suppress(Retryable, RequestCancelledError):
                    read(operations, VERSION, RANGE, cancel_token=token)

            thread = threading.Thread(target=run)
            thread.start()
            wait_until(lambda: log_of(transport).in_flight(1) != [])
            [pending] = log_of(transport).in_flight(5)
            token.cancel()
            thread.join()

    assert (pending.kind, pending.key, pending.byte_range) == ("GET", "key", RANGE)
    assert log_of(transport).in_flight(1) == []

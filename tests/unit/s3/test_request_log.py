"""The request log: counts, latencies, errors, and who is told of a request that ends."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from s3mount.errors import StoreError
from s3mount.metrics import Metrics
from s3mount.s3.model import ByteRange, Reason
from s3mount.s3.request_counts import OTHER, STATUSES_MAX
from s3mount.s3.request_log import _COUNT_AT, ERRORS_KEPT, TRACED_MAX, RequestLog
from s3mount.s3.request_records import EndedRequest, Outcome, RequestKind
from s3mount.s3.scheduling.cancel_token import RequestCancelledError
from s3mount.s3.transport import (
    CutShortError,
    ErrorResponse,
    ErrorResponseError,
    Retryable,
    StoreRequest,
)

GET = StoreRequest("GetObject", "k", headers=(("range", "bytes=5-9"),))
HEAD = StoreRequest("HeadObject", "k", method="HEAD", reason=Reason.LOOKUP)
RESTORE = StoreRequest("RestoreObject", "k", (("restore", ""),), method="POST", body=b"<>")
LIST = StoreRequest("ListObjectsV2", None, (("prefix", "p/"),), reason=Reason.LISTING)


@dataclass
class Clock:
    """Seconds of both clocks: monotonic, and 1,000 more since 1970."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1000


@dataclass
class Response:
    """A response as the log sees it."""

    status: int = 200
    received: int = 0
    headers: Mapping[str, str] = field(default_factory=lambda: {"x-amz-request-id": "id"})


def log_at(clock: Clock) -> RequestLog:
    return RequestLog(clock=clock, wall_clock=clock.wall)


def end(
    log: RequestLog, request: StoreRequest, exc: BaseException | None = None, status: int = 200
) -> None:
    log.end(log.begin(request), Response(status), exc)  # type: ignore[arg-type]  # what is read


def nothing() -> None:
    """Heed no end of a request."""


def refusal(status: int, code: str = "") -> ErrorResponseError:
    return ErrorResponseError(ErrorResponse(status=status, code=code, request_id="theirs"))


def test_a_request_counts_when_it_is_sent() -> None:
    log = RequestLog()
    record = log.begin(GET)
    in_flight = log.counts()[RequestKind.GET]

    log.end(record, Response(206, 5))  # type: ignore[arg-type]

    ended = log.counts()[RequestKind.GET]
    assert (in_flight.sent, in_flight.in_flight) == (1, 1)
    assert (ended.sent, ended.in_flight, ended.received) == (1, 0, 5)
    assert ended.by_status == {206: 1}


def test_requests_that_are_charged_to_the_requester_count() -> None:
    log, metrics = RequestLog(), Metrics()
    log.register_metrics(metrics)
    charged = Response(206, headers={"x-amz-request-charged": "requester"})
    for response in (charged, Response(), None, charged):
        log.end(log.begin(GET), response)  # type: ignore[arg-type]  # what is read

    assert metrics.read()["charged_requests"] == 2


@pytest.mark.parametrize(
    ("request_", "kind"), [(GET, "GET"), (HEAD, "HEAD"), (LIST, "LIST"), (RESTORE, "RESTORE")]
)
def test_requests_count_by_kind_and_reason(request_: StoreRequest, kind: RequestKind) -> None:
    log = RequestLog()
    end(log, request_)
    log.begin(request_)

    assert {each: counts.sent for each, counts in log.counts().items() if counts.sent} == {kind: 2}
    assert {each: sent for each, sent in log.reasons().items() if sent} == {request_.reason: 2}


def test_the_session_of_botocore_is_a_get() -> None:
    log = RequestLog()
    log.begin(StoreRequest("CreateSession", None, reason=Reason.CHECK))

    assert log.counts()[RequestKind.GET].sent == 1


@pytest.mark.parametrize(
    ("request_", "exc", "outcome"),
    [
        (GET, None, Outcome.SUCCEEDED),
        (GET, refusal(503, "SlowDown"), Outcome.FAILED),
        (GET, refusal(404, "NoSuchKey"), Outcome.FAILED),
        (HEAD, refusal(404), Outcome.SUCCEEDED),
        (GET._replace(reason=Reason.REVALIDATE), refusal(404), Outcome.SUCCEEDED),
        (LIST, refusal(404, "NoSuchBucket"), Outcome.FAILED),
        (GET, TimeoutError(), Outcome.TIMED_OUT),
        (GET, ConnectionResetError(), Outcome.FAILED),
        (GET, CutShortError("cut"), Outcome.FAILED),
        (GET, RequestCancelledError(), Outcome.CANCELLED),
    ],
)
def test_the_outcome_says_how_a_request_ended(
    request_: StoreRequest, exc: BaseException | None, outcome: Outcome
) -> None:
    log = RequestLog()

    end(log, request_, exc)

    by_outcome = log.counts()[RequestKind(_kind(request_))]
    assert {each: count for each, count in by_outcome.by_outcome.items() if count} == {outcome: 1}
    assert bool(log.errors()) == (outcome in (Outcome.FAILED, Outcome.TIMED_OUT))


def _kind(request_: StoreRequest) -> str:
    return "LIST" if request_.key is None else request_.method


def test_a_failed_read_that_may_be_retried_is_told_by_its_cause() -> None:
    log = RequestLog()
    retryable = Retryable(StoreError("no response in time"))
    retryable.__cause__ = TimeoutError()

    end(log, GET, retryable, 206)

    assert log.counts()[RequestKind.GET].by_outcome[Outcome.TIMED_OUT] == 1


def test_a_request_that_its_token_ended_is_cancelled_whatever_it_raised() -> None:
    log = RequestLog()

    log.end(log.begin(GET), None, ConnectionResetError(), is_cancelled=True)

    assert log.counts()[RequestKind.GET].by_outcome[Outcome.CANCELLED] == 1
    assert log.errors() == []


def test_a_repeated_request_is_counted_and_no_error() -> None:
    log = RequestLog()

    log.end_repeated(log.begin(GET))

    assert log.counts()[RequestKind.GET].by_outcome[Outcome.REPEATED] == 1
    assert log.errors() == []
    assert log.latencies()[RequestKind.GET].all.count == 0


def test_an_error_has_what_a_report_to_the_store_needs() -> None:
    clock = Clock()
    log = log_at(clock)
    record = log.begin(GET)
    clock.now += 2

    log.end(record, Response(503), refusal(503, "SlowDown"))  # type: ignore[arg-type]

    assert log.errors() == [
        EndedRequest(
            time=1102.0,
            kind=RequestKind.GET,
            key="k",
            byte_range=ByteRange(5, 10),
            reason=Reason.READ,
            outcome=Outcome.FAILED,
            status=503,
            code="SlowDown",
            request_id="theirs",
            received=0,
            seconds=2.0,
            message="HTTP 503 SlowDown",
        )
    ]


def test_the_message_of_a_network_error_quotes_nothing() -> None:
    log = RequestLog()

    end(log, GET, ConnectionError("https://user:secret@proxy"))

    assert log.errors()[0].message == "ConnectionError"


def test_the_newest_errors_are_kept_and_come_first() -> None:
    log = RequestLog()
    for number in range(ERRORS_KEPT + 5):
        end(log, GET._replace(key=str(number)), refusal(500), 500)

    keys = [each.key for each in log.errors()]

    assert keys == [str(number) for number in range(ERRORS_KEPT + 4, 4, -1)]


def test_statuses_beyond_a_bound_count_together() -> None:
    log = RequestLog()
    for status in range(200, 200 + STATUSES_MAX + 7):
        end(log, GET, status=status)

    by_status = log.counts()[RequestKind.GET].by_status

    assert len(by_status) == STATUSES_MAX + 1
    assert by_status[OTHER] == 7


def test_latencies_are_of_requests_with_a_response_and_of_the_last_minute() -> None:
    clock = Clock()
    log = log_at(clock)
    for seconds in (1.0, 0.01):
        record = log.begin(GET)
        clock.now += seconds
        log.end(record, Response())  # type: ignore[arg-type]
        clock.now += 61
    clock.now -= 61
    log.end(log.begin(GET), None, TimeoutError())

    latency = log.latencies()[RequestKind.GET]

    assert (latency.all.count, latency.minute.count) == (2, 1)
    assert latency.minute.p99 == pytest.approx(0.01, rel=0.2)


def test_the_longest_in_flight_come_first() -> None:
    clock = Clock()
    log = log_at(clock)
    for request in (GET, HEAD, LIST):
        log.begin(request)
        clock.now += 1

    longest = log.in_flight(2)

    assert [(each.kind, each.seconds) for each in longest] == [("GET", 3.0), ("HEAD", 2.0)]
    assert longest[0].byte_range == ByteRange(5, 10)


def test_a_subscriber_is_told_of_what_ends_while_it_subscribes() -> None:
    log, told = RequestLog(), list[EndedRequest]()
    end(log, HEAD)
    unsubscribe = log.subscribe(told.append, nothing)
    end(log, LIST)
    log.tell_subscribers()
    unsubscribe()
    end(log, GET)

    assert [(each.kind, each.key, each.reason) for each in told] == [("LIST", "p/", "listing")]


def test_a_subscriber_that_fails_harms_no_request_and_no_other(
    expected_warnings: list[str],
) -> None:
    expected_warnings.append("telling of a request failed: this is a bug")
    log, told = RequestLog(), list[EndedRequest]()

    def fail(_: EndedRequest) -> None:
        raise ZeroDivisionError

    log.subscribe(fail, nothing)
    log.subscribe(told.append, nothing)
    end(log, GET)
    log.tell_subscribers()

    assert len(told) == 1


def test_an_event_loop_that_does_not_come_to_it_is_told_of_so_many_only() -> None:
    log, told, missed = RequestLog(), list[EndedRequest](), list[int]()
    log.subscribe(told.append, nothing, missed.append)
    for _ in range(TRACED_MAX + 3):
        end(log, GET)
        log.counts()

    for _ in range(2):
        log.tell_subscribers()

    assert (len(told), missed) == (TRACED_MAX, [3])


def test_the_event_loop_is_woken_once_until_subscribers_are_told() -> None:
    soon = list[Callable[[], None]]()
    ends = list[str]()
    log = RequestLog(soon.append)
    unsubscribe = log.subscribe(lambda _: None, lambda: ends.append("a"))
    for _ in range(1000):
        end(log, GET)
    assert len(soon) == 1
    soon.pop()()
    log.tell_subscribers()
    end(log, GET)
    end(log, GET)
    assert len(soon) == 1
    soon.pop()()
    log.tell_subscribers()

    unsubscribe()
    end(log, GET)

    assert soon == []
    assert ends == ["a", "a"]


def test_a_subscriber_that_comes_before_the_others_are_told_is_woken_too() -> None:
    ends = list[str]()
    log = RequestLog()
    log.subscribe(lambda _: None, lambda: ends.append("a"))
    end(log, GET)
    log.subscribe(lambda _: None, lambda: ends.append("b"))
    end(log, GET)

    assert ends == ["a", "a", "b"]


def test_requests_of_many_threads_are_all_counted() -> None:
    log = RequestLog()
    falls = list[int]()

    def send() -> None:
        for _ in range(2000):
            end(log, GET)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    sent = 0
    while any(thread.is_alive() for thread in threads):
        before, sent = sent, log.counts()[RequestKind.GET].sent
        falls.append(min(0, sent - before))
    for thread in threads:
        thread.join()

    assert log.counts()[RequestKind.GET].by_outcome[Outcome.SUCCEEDED] == 16_000
    assert not any(falls)


class HookedLock:
    """Lock that calls *between*, as another thread might, before it is taken a second time."""

    def __init__(self, between: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._hooks = iter([lambda: None, between])
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> None:
        next(self._hooks, lambda: None)()
        self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("is_by_reason", [False, True])
def test_what_ends_while_it_is_counted_counts_once(*, is_by_reason: bool) -> None:
    log = RequestLog()
    records = [log.begin(GET) for _ in range(_COUNT_AT)]

    def end_all() -> None:
        for record in records:
            log.end(record, None)

    log._lock = HookedLock(end_all)  # type: ignore[assignment]
    sent = log.reasons()[Reason.READ] if is_by_reason else log.counts()[RequestKind.GET].sent

    assert sent == _COUNT_AT


def test_the_metrics_are_those_of_the_log() -> None:
    log, metrics = RequestLog(), Metrics()
    log.register_metrics(metrics)
    end(log, GET)
    end(log, LIST, ConnectionError())

    families = {family.exposition_name: family.read() for family in metrics.families}
    [histogram] = metrics.histograms

    assert metrics.read() == {
        "get_requests": 1,
        "head_requests": 0,
        "list_requests": 1,
        "restore_requests": 0,
        "bytes_received": 0,
        "charged_requests": 0,
        "oldest_request_seconds": 0.0,
    }
    assert families["s3mount_requests_total"] == {
        ("GET", "succeeded", "200"): 1,
        ("LIST", "failed", "200"): 1,
    }
    assert families["s3mount_requests_sent_total"]["listing",] == 1
    assert histogram.read()["GET",].count == 1

"""Log of a mount's HTTP requests, as they leave its transport and as they end.

A request is counted when it is sent over a connection: retries, hedges, redirects that are
followed, and the bucket check are requests like all others. So the counts equal, kind by kind, what
a relay in front of the store counts. A request that is sent again, since the peer had closed its
kept-alive connection, or left its new one silent, counts twice.

Invariants:

1. `begin` and `end` are called by any thread, and wait for no lock. What they change (an entry of a
   dict, an append to a deque) is atomic under the interpreter's lock.
2. A request is in `_in_flight`, or in `_ended`, or counted. `end` appends it before it removes it,
   and a snapshot reads `_in_flight` before it counts `_ended`: none is missed, none counts twice.
3. Only `_count_ended` changes the counts, under the lock. No counter ever falls.
4. Subscribers are called in the event loop, in the order in which requests were counted. While
   there are none, they cost nothing. The event loop is woken once for all requests that end until
   `tell_subscribers`: the first request after it wakes it again. At most TRACED_MAX requests wait
   for that; subscribers learn how many more there were.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from s3mount import unawaited
from s3mount.frozen_dataclass import dataclass
from s3mount.histogram import HistogramSample
from s3mount.metrics import Family, HistogramFamily, Labels, Metrics
from s3mount.s3.model import Reason
from s3mount.s3.request_counts import KindCounts, KindLatency, RequestCounts
from s3mount.s3.request_records import (
    NO_STATUS,
    EndedRequest,
    PendingRequest,
    RequestKind,
    RequestRecord,
    is_error,
)
from s3mount.s3.transport import Response, StoreRequest

ERRORS_KEPT: Final = 20
TRACED_MAX: Final = 4096  # ended requests that wait for the event loop
_COUNT_AT: Final = 64  # ended requests; fewer are counted with the next ones, or when one asks

Subscriber = Callable[[EndedRequest], None]
"""Called in the event loop with each request that has ended; returns at once."""


OnEnd = Callable[[], None]
"""Called in the event loop soon after a request has ended, once until subscribers are told."""


OnMissed = Callable[[int], None]
"""Called in the event loop with how many requests a subscriber was not told of."""


RunInEventLoop = Callable[[Callable[[], None]], None]
"""Has a function called in the event loop soon, from any thread; once if asked repeatedly."""


@dataclass(frozen=True, slots=True, eq=False)
class _Subscription:
    tell: Subscriber
    on_end: OnEnd
    on_missed: OnMissed


def _at_once(function: Callable[[], None]) -> None:
    function()


class RequestLog:
    """All HTTP requests of one mount. Thread-safe. *clock* is monotonic, *wall_clock* since 1970.

    Without *run_in_event_loop*, the thread that ends a request calls the subscribers.
    """

    def __init__(
        self,
        run_in_event_loop: RunInEventLoop = _at_once,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._run_in_event_loop = run_in_event_loop
        self._clock = clock
        self._wall_clock = wall_clock
        self._in_flight: dict[RequestRecord, None] = {}
        self._ended: deque[RequestRecord] = deque()
        self._lock = threading.Lock()
        # under the lock
        self._counts = RequestCounts()
        self._errors: deque[EndedRequest] = deque(maxlen=ERRORS_KEPT)
        # the subscribers; what they are still to be told; how many more requests there were;
        # whether the next request that ends wakes them
        self._subscribers: tuple[_Subscription, ...] = ()
        self._traced: deque[RequestRecord] = deque()
        self._missed = 0
        self._is_awaited = False

    def begin(self, request: StoreRequest) -> RequestRecord:
        """Return the record of *request*, which is sent now; `end` is to be called for it."""
        record = RequestRecord(request, self._clock())
        self._in_flight[record] = None
        return record

    def end(
        self,
        record: RequestRecord,
        response: Response | None,
        exc: BaseException | None = None,
        *,
        is_cancelled: bool = False,
    ) -> None:
        """Record the end of *record*; see `RequestRecord.end`."""
        record.end(self._clock(), response, exc, is_cancelled=is_cancelled)
        self._append(record)

    def end_repeated(self, record: RequestRecord) -> None:
        """Record the end of *record*, whose request is sent once more, over another connection."""
        record.end_repeated(self._clock())
        self._append(record)

    def counts(self) -> Mapping[RequestKind, KindCounts]:
        """Return what was counted of each kind."""
        with self._lock:
            in_flight = [record.kind for record in self._count_all()]
            return {kind: self._counts.of_kind(kind, in_flight.count(kind)) for kind in RequestKind}

    def reasons(self) -> Mapping[Reason, int]:
        """Return how many requests were sent for each reason."""
        with self._lock:
            in_flight = self._count_all()
            counts = self._counts.by_reason()
        counts.update(record.request.reason for record in in_flight)
        return counts

    def latencies(self) -> Mapping[RequestKind, KindLatency]:
        """Return percentiles of each kind, of the last minute and of all."""
        now = self._clock()
        with self._lock:
            self._count_ended()
            return {kind: each.latency(now) for kind, each in self._counts.latencies.items()}

    def errors(self) -> list[EndedRequest]:
        """Return the last requests that failed or timed out, the newest first."""
        with self._lock:
            self._count_ended()
            return list(reversed(self._errors))

    def in_flight(self, most: int) -> list[PendingRequest]:
        """Return the requests in flight, *most* of them at most, the longest in flight first."""
        now = self._clock()
        records = sorted(self._records_in_flight(), key=lambda record: record.sent_at)
        return [PendingRequest.of(record, now) for record in records[:most]]

    def subscribe(
        self, subscriber: Subscriber, on_end: OnEnd, on_missed: OnMissed = lambda _: None
    ) -> Callable[[], None]:
        """Tell *subscriber* of each request that ends from now on, until the result is called.

        It is told by `tell_subscribers`, for which *on_end* is the time; *on_missed* is told of how
        many it is not, since the event loop did not come to it. For the event loop.
        """
        self.tell_subscribers()  # what ended before, to those before
        added = _Subscription(subscriber, on_end, on_missed)
        self._subscribers = (*self._subscribers, added)
        self._is_awaited = True

        def unsubscribe() -> None:
            self._subscribers = tuple(each for each in self._subscribers if each is not added)
            self._is_awaited = self._is_awaited and bool(self._subscribers)

        return unsubscribe

    def tell_subscribers(self) -> None:
        """Tell subscribers of what has ended. For the event loop."""
        self._is_awaited = bool(self._subscribers)  # before counting, so that no request is missed
        with self._lock:
            self._count_ended()
            missed, self._missed = self._missed, 0
        while self._traced:
            ended = self._ended_request(self._traced.popleft())
            for each in self._subscribers:
                unawaited.call("telling of a request", each.tell, ended)
        if missed:
            for each in self._subscribers:
                unawaited.call("telling of missed requests", each.on_missed, missed)

    def register_metrics(self, metrics: Metrics) -> None:
        """Register the counts and the latencies of requests."""
        for kind in RequestKind:
            self._register_kind(metrics, kind)
        metrics.counter(
            "bytes_received", "bytes", "Bytes of bodies received.", self._bytes_received
        )
        metrics.counter(
            "charged_requests",
            "requests",
            "Requests that the store charged to the requester (`--requester-pays`).",
            self._charged,
        )
        metrics.gauge(
            "oldest_request_seconds",
            "seconds",
            "How long the oldest request in flight has been waiting.",
            lambda: max((each.seconds for each in self.in_flight(1)), default=0.0),
        )
        for family in self._families():
            metrics.family(family)
        metrics.histogram(
            HistogramFamily(
                "request_duration",
                "Time from the sending of a request to the end of its response.",
                ("kind",),
                self._histograms,
            )
        )

    def _register_kind(self, metrics: Metrics, kind: RequestKind) -> None:
        metrics.counter(
            f"{kind.lower()}_requests",
            "requests",
            f"{kind} requests sent.",
            lambda: self.counts()[kind].sent,
        )

    def _families(self) -> tuple[Family, ...]:
        return (
            Family(
                "requests",
                "counter",
                "requests",
                "Requests that have ended, by kind, outcome and HTTP status.",
                ("kind", "outcome", "status"),
                self._by_outcome,
            ),
            Family(
                "requests_sent",
                "counter",
                "requests",
                "Requests sent, by the reason for them.",
                ("reason",),
                lambda: {(reason,): count for reason, count in self.reasons().items()},
            ),
            Family(
                "requests_in_flight",
                "gauge",
                "requests",
                "Requests in flight, by kind.",
                ("kind",),
                lambda: {(kind,): each.in_flight for kind, each in self.counts().items()},
            ),
        )

    def _bytes_received(self) -> int:
        with self._lock:
            self._count_ended()
            return self._counts.received

    def _charged(self) -> int:
        with self._lock:
            self._count_ended()
            return self._counts.charged

    def _by_outcome(self) -> Mapping[Labels, float]:
        with self._lock:
            self._count_ended()
            counts = self._counts.by_outcome()
        return {
            (kind, outcome, "" if status == NO_STATUS else str(status or "other")): count
            for (kind, outcome, status), count in counts.items()
        }

    def _histograms(self) -> Mapping[Labels, HistogramSample]:
        with self._lock:
            self._count_ended()
            return {(kind,): each.all.sample() for kind, each in self._counts.latencies.items()}

    def _append(self, record: RequestRecord) -> None:
        self._ended.append(record)
        del self._in_flight[record]
        if self._is_awaited:
            self._is_awaited = False
            self._run_in_event_loop(self._announce_end)
        if len(self._ended) >= _COUNT_AT and self._lock.acquire(blocking=False):
            try:
                self._count_ended()
            finally:
                self._lock.release()

    def _count_all(self) -> list[RequestRecord]:
        """Count what has ended; return what is in flight, and is not counted. The lock is held."""
        in_flight = self._records_in_flight()
        self._count_ended()
        return [record for record in in_flight if not record.is_counted]

    def _records_in_flight(self) -> list[RequestRecord]:
        return list(self._in_flight)  # one step for the interpreter

    def _count_ended(self) -> None:
        """Count what has ended. The lock is held."""
        while self._ended:
            record = self._ended.popleft()
            record.is_counted = True
            self._counts.add(record)
            if is_error(record.outcome):
                self._errors.append(self._ended_request(record))
            if self._subscribers:
                self._trace(record)

    def _trace(self, record: RequestRecord) -> None:
        if len(self._traced) < TRACED_MAX:
            self._traced.append(record)
        else:
            self._missed += 1

    def _ended_request(self, record: RequestRecord) -> EndedRequest:
        return EndedRequest.of(record, self._wall_clock() - self._clock())

    def _announce_end(self) -> None:
        for each in self._subscribers:
            unawaited.call("telling that a request ended", each.on_end)

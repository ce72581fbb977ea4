"""Counts of HTTP requests that have ended, and the histograms of how long they took.

Pure, and not thread-safe. The number of its counters is bounded: kinds, reasons and outcomes are
enumerations, and of HTTP statuses STATUSES_MAX are told apart.
"""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Final

from s3mount.frozen_dataclass import dataclass
from s3mount.histogram import Histogram, Percentiles
from s3mount.s3.model import Reason
from s3mount.s3.request_records import NO_STATUS, Outcome, RequestKind, RequestRecord

STATUSES_MAX: Final = 32  # distinct ones; a store may send any
OTHER: Final = 0  # the status of a response whose own is beyond STATUSES_MAX
SLOT: Final = 5.0  # seconds of one histogram of the last minute
SLOTS: Final = 12

_MEASURED: Final = (Outcome.SUCCEEDED, Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class KindCounts:
    """Requests of one kind: *sent* ones include those in flight.

    *by_status* has those with a response. *received* counts the bytes of bodies.
    """

    sent: int
    in_flight: int
    by_outcome: Mapping[Outcome, int]
    by_status: Mapping[int, int]
    received: int


@dataclass(frozen=True, slots=True)
class KindLatency:
    """Seconds from the sending of a request to its end, of the requests that got a response.

    One that was cancelled or timed out is no sample.
    """

    minute: Percentiles
    all: Percentiles


class LatencyCounts:
    """Latencies of one kind: of all requests, and of those of the last minute.

    A sample is in the histogram of its slot of SLOT seconds, or in that of all former slots.
    """

    def __init__(self) -> None:
        self._former = Histogram()
        self._slots: deque[tuple[int, Histogram]] = deque()
        self._slot_ends_at = 0.0

    @property
    def all(self) -> Histogram:
        """All samples, in a new histogram."""
        merged = Histogram()
        for each in (self._former, *(histogram for _, histogram in self._slots)):
            merged.merge(each)
        return merged

    def add(self, ended_at: float, seconds: float) -> None:
        if ended_at >= self._slot_ends_at:
            self._start_slot(ended_at)
        self._slots[-1][1].add(seconds)

    def _start_slot(self, now: float) -> None:
        slot = int(now / SLOT)
        self._slot_ends_at = (slot + 1) * SLOT
        self._slots.append((slot, Histogram()))
        if len(self._slots) > SLOTS + 1:
            self._former.merge(self._slots.popleft()[1])

    def latency(self, now: float) -> KindLatency:
        minute = Histogram()
        for slot, histogram in self._slots:
            if slot > int(now / SLOT) - SLOTS:
                minute.merge(histogram)
        return KindLatency(minute.percentiles(), self.all.percentiles())


class _Count:
    """Requests of one kind, reason, outcome and status, and the bytes of their bodies."""

    __slots__ = ("latency", "number", "received")

    def __init__(self, latency: LatencyCounts | None) -> None:
        self.number = 0
        self.received = 0
        self.latency = latency  # None if they are no samples


class RequestCounts:
    """Counters of the requests that have ended; *charged* ones were charged to the requester."""

    def __init__(self) -> None:
        self.charged = 0
        self.latencies = {kind: LatencyCounts() for kind in RequestKind}
        self._counts: dict[tuple[RequestKind, Reason, Outcome, int], _Count] = {}
        self._statuses = {NO_STATUS, OTHER}

    def add(self, record: RequestRecord) -> None:
        """Count *record*, which has ended."""
        outcome = record.outcome
        assert outcome is not None
        key = record.kind, record.request.reason, outcome, record.status
        count = self._counts.get(key)
        if count is None:
            count = self._new_count(*key)
        count.number += 1
        count.received += record.received
        self.charged += record.is_charged
        if count.latency is not None:
            count.latency.add(record.ended_at, record.ended_at - record.sent_at)

    def _new_count(
        self, kind: RequestKind, reason: Reason, outcome: Outcome, status: int
    ) -> _Count:
        """Return the count of these, or that of all statuses beyond the bound."""
        is_sample = outcome in _MEASURED and status != NO_STATUS
        if status not in self._statuses and len(self._statuses) == STATUSES_MAX + 2:
            status = OTHER
        self._statuses.add(status)
        latency = self.latencies[kind] if is_sample else None
        return self._counts.setdefault((kind, reason, outcome, status), _Count(latency))

    @property
    def received(self) -> int:
        """The bytes of all bodies."""
        return sum(count.received for count in self._counts.values())

    def of_kind(self, kind: RequestKind, in_flight: int) -> KindCounts:
        """Return the counts of *kind*, of which so many are *in_flight*."""
        by_outcome: Counter[Outcome] = Counter(dict.fromkeys(Outcome, 0))
        by_status: Counter[int] = Counter()
        received = 0
        for (of_kind, _, outcome, status), count in self._counts.items():
            if of_kind is kind:
                by_outcome[outcome] += count.number
                received += count.received
                if status != NO_STATUS:
                    by_status[status] += count.number
        sent = by_outcome.total() + in_flight
        return KindCounts(sent, in_flight, by_outcome, by_status, received)

    def by_outcome(self) -> Mapping[tuple[RequestKind, Outcome, int], int]:
        """Return the requests that have ended by kind, outcome and status."""
        counts: Counter[tuple[RequestKind, Outcome, int]] = Counter()
        for (kind, _, outcome, status), count in self._counts.items():
            counts[kind, outcome, status] += count.number
        return counts

    def by_reason(self) -> Counter[Reason]:
        """Return the requests that have ended by reason; each reason is there."""
        counts = Counter(dict.fromkeys(Reason, 0))
        for (_, reason, _, _), count in self._counts.items():
            counts[reason] += count.number
        return counts

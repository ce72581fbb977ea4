"""Rates of a mount: differences between successive answers to the command activity. Pure."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from s3mount.ctl.client import Reply
from s3mount.frozen_dataclass import dataclass

HISTORY: Final = 300  # samples that sparklines may show

SORT_KEYS: Final = ("rate", "readers", "position", "size", "key")


@dataclass(frozen=True, slots=True)
class FileRate:
    """One open file; *rate* is in bytes per second, *window* and *size* in bytes."""

    key: str
    readers: int
    position: int
    size: int
    window: int
    rate: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates between two answers: requests by kind, and bytes, per second.

    *disk* is the disk cache as the later answer has it; None without one.
    """

    requests: Mapping[str, float]
    fetched: float
    served: float
    from_disk: float = 0.0
    files: tuple[FileRate, ...] = ()
    in_flight: tuple[Mapping[str, Any], ...] = ()
    disk: Mapping[str, Any] | None = None

    @property
    def all_requests(self) -> float:
        return sum(self.requests.values())

    def sorted_files(self, by: str) -> list[FileRate]:
        """Return the files, the largest first; by key in alphabetic order."""
        if by == "key":
            return sorted(self.files, key=lambda file: file.key)
        return sorted(self.files, key=lambda file: (getattr(file, by), file.key), reverse=True)


class RateHistory:
    """Rates over time. *_before* is the last answer and its time; *rates* the newest last."""

    def __init__(self) -> None:
        self._before: tuple[float, Reply] | None = None
        self.rates: deque[Rates] = deque(maxlen=HISTORY)

    def add(self, now: float, activity: Reply) -> Rates:
        """Add an answer of the time *now*, in seconds; the first has rates of 0."""
        before, self._before = self._before, (now, activity)
        if before is None:
            return _rates({}, activity, 0.0)
        added = _rates(before[1], activity, max(now - before[0], 1e-3))
        self.rates.append(added)
        return added


def _rates(before: Reply, after: Reply, elapsed: float) -> Rates:
    sent_before, sent = _sent(before), _sent(after)
    served_before = {file["key"]: file.get("served", 0) for file in before.get("files", ())}

    def rate(new: float, old: float) -> float:
        return max(0.0, new - old) / elapsed if elapsed else 0.0

    return Rates(
        {kind: rate(count, sent_before.get(kind, 0)) for kind, count in sent.items()},
        rate(_octets(after, "fetched"), _octets(before, "fetched")),
        rate(_octets(after, "served"), _octets(before, "served")),
        rate(_octets(after, "disk"), _octets(before, "disk")),
        tuple(
            FileRate(
                file["key"],
                file.get("readers", 0),
                file.get("position") or 0,
                file.get("size") or 0,
                file.get("window") or 0,
                # a file that was not there before was opened since
                rate(file.get("served", 0), served_before.get(file["key"], 0)),
            )
            for file in after.get("files", ())
        ),
        tuple(after.get("requests", ())),
        after.get("disk"),
    )


def _sent(activity: Reply) -> dict[str, float]:
    requests = activity.get("counters", {}).get("requests", {})
    return {kind: counts.get("sent", 0) for kind, counts in requests.items()}


def _octets(activity: Reply, name: str) -> float:
    return float(activity.get("counters", {}).get("bytes", {}).get(name, 0))

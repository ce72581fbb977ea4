"""Judgement of a report: the samples of each row over each link, held against its limits.

Pure: samples in, checks out. Times and CPU count by medians, requests, bytes and memory by the
worst round.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.content import KIB, MIB
from benchmarks.row import FAR, HTTPS, NEAR, Limits, Row
from benchmarks.rows import ROWS
from benchmarks.samples import Report, Sample

LINKS = {FAR: "far (20 ms, 90 MB/s a connection)", NEAR: "near", HTTPS: "HTTPS, loopback"}


@dataclass(frozen=True, slots=True)
class Check:
    """One limit: its text, the measured value, and whether it is kept; None if undecidable."""

    limit: str
    seen: str
    passed: bool | None

    @property
    def mark(self) -> str:
        return {True: "pass", False: "FAIL", None: "not judged"}[self.passed]


@dataclass(frozen=True, slots=True)
class Block:
    """One row over one link.

    *lines* are the samples of each system, *checks* are of the row's `ours`.
    """

    row: Row
    link: str
    again: bool
    lines: dict[str, list[Sample]]
    checks: list[Check]

    @property
    def title(self) -> str:
        return f"{self.row.title}{', again' if self.again else ''} · {LINKS[self.link]}"

    @property
    def reference(self) -> tuple[str, float] | None:
        """Return the fastest of the systems that the row names, and the median of its seconds."""
        limits = self.row.again if self.again else self.row.links[self.link]
        return _reference(_compared(limits or Limits(), self.row, self.lines)[0], self.lines)


def blocks(report: Report) -> Iterator[Block]:
    """Return blocks in the order of the rows: far before near, second runs after first ones."""
    for row in ROWS:
        for link, limits in row.links.items():
            first = _lines(report.samples, row, link, again=False)
            if first:
                yield Block(row, link, False, first, _checks(limits, row, first))
            again = _lines(report.samples, row, link, again=True)
            if again and row.again is not None:
                yield Block(row, link, True, again, _checks(row.again, row, again))


def median_seconds(samples: list[Sample]) -> float | None:
    """Return the median seconds of the samples without an error."""
    times = [sample.seconds for sample in samples if not sample.error]
    return statistics.median(times) if times else None


def median(samples: list[Sample], value: Callable[[Sample], float]) -> float:
    """Return the median of *value* over *samples*, none of which has an error."""
    return statistics.median(map(value, samples))


def _lines(
    samples: Sequence[Sample], row: Row, link: str, *, again: bool
) -> dict[str, list[Sample]]:
    lines: dict[str, list[Sample]] = {}
    for sample in samples:
        if (sample.row, sample.link, sample.again) == (row.name, link, again):
            lines.setdefault(sample.system, []).append(sample)
    return lines


def _reference(names: Sequence[str], lines: dict[str, list[Sample]]) -> tuple[str, float] | None:
    """Return the fastest of *names* and its median, ignoring systems that failed once."""
    medians = {
        name: median(lines[name], lambda sample: sample.seconds)
        for name in names
        if name in lines and not any(sample.error for sample in lines[name])
    }
    return min(medians.items(), key=lambda item: item[1]) if medians else None


def _checks(limits: Limits, row: Row, lines: dict[str, list[Sample]]) -> list[Check]:
    """Check every limit: times and CPU by medians, counts and memory by the worst round."""
    ours = lines.get(row.ours, [])
    if not ours:
        return []
    if errors := [sample.error for sample in ours if sample.error]:
        return [Check("it works", errors[0], passed=False)]
    return [*_ratio_check(limits, row, lines, ours), *_plain_checks(limits, ours)]


def _compared(
    limits: Limits, row: Row, lines: dict[str, list[Sample]]
) -> tuple[Sequence[str], float]:
    """Return the systems that the ratio is to, and the limit of it: the preferred one if it ran."""
    if limits.preferred is not None and _reference(limits.preferred[:1], lines):
        return limits.preferred[:1], limits.preferred[1]
    return row.beside, limits.ratio or math.inf


def _ratio_check(
    limits: Limits, row: Row, lines: dict[str, list[Sample]], ours: list[Sample]
) -> Iterator[Check]:
    if limits.ratio is None:
        return
    names, most = _compared(limits, row, lines)
    limit = f"≤ {most:g} of the time of {' or '.join(names)}"
    if (reference := _reference(names, lines)) is None:
        yield Check(limit, "none of them here", passed=None)
    else:
        ratio = median(ours, lambda sample: sample.seconds) / reference[1]
        yield Check(limit, f"{ratio:.3g} ({reference[0]})", passed=ratio <= most)


def _plain_checks(limits: Limits, ours: list[Sample]) -> Iterator[Check]:
    is_counted = all(sample.requests is not None for sample in ours)
    measured: tuple[tuple[float | None, str, float, float], ...] = (
        (
            limits.requests,
            "{:.0f} requests",
            max(sum(sample.kinds().values()) for sample in ours),
            1,
        ),
        (limits.lists, "{:.0f} LIST", max(sample.kinds().get("LIST", 0) for sample in ours), 1),
        (limits.heads, "{:.0f} HEAD", max(sample.kinds().get("HEAD", 0) for sample in ours), 1),
        (limits.down, "{:.1f} MiB down", max(sample.down for sample in ours), MIB),
        (
            limits.object_bytes,
            "{:.0f} KiB of objects",
            max(sample.object_bytes for sample in ours),
            KIB,
        ),
        (limits.seconds, "{:.2f} s", median(ours, lambda sample: sample.seconds), 1),
        (
            limits.first,
            "{:.3f} s to the first name",
            median(ours, lambda sample: sample.first or 0),
            1,
        ),
        (limits.cpu, "{:.2f} CPU s", median(ours, lambda sample: sample.cpu), 1),
        (limits.peak, "{:.0f} MiB at most", max(sample.peak for sample in ours), MIB),
        (limits.growth, "{:.0f} B a name", max(sample.growth_each for sample in ours), 1),
    )
    for limit, form, seen, unit in measured:
        if limit is not None:
            passed = seen <= limit if is_counted or form not in _COUNTED else None
            yield Check(f"≤ {form.format(limit / unit)}", form.format(seen / unit), passed=passed)


_COUNTED = (
    *("{:.0f} requests", "{:.0f} LIST", "{:.0f} HEAD"),
    *("{:.1f} MiB down", "{:.0f} KiB of objects"),
)

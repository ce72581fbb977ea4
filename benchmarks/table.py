"""Table of a report: each row with its systems, and whether s3mount keeps its limits.

Pure: samples in, lines and Markdown out.
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
_ERROR_LENGTH = 100  # characters of an error in a table; the JSON has all of it
_HEADS = ("", "seconds (min, max)", "CPU s", "peak MiB", "requests", "MiB down", "ratio", "n")


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


def head(report: Report) -> list[str]:
    """Return lines about the machine, the versions and the reliability of the figures."""
    machine = report.machine
    cost = "not measured" if report.relay_cost is None else f"{report.relay_cost:.2f} (limit 1.3)"
    memory = f"{machine.memory / 2**30:.0f} GiB"
    where = f"{machine.processor}, {machine.cores} cores, {memory}, Linux {machine.kernel}"
    loops = f"a typical one of equal loops {machine.spin:.2f} times the fastest"
    return [
        f"{machine.date} · {where} · Python {machine.python}",
        f"before: load {machine.load:.2f}, {loops}",
        f"four parallel ranges through the near relay, over the time without it: {cost}",
        " · ".join(f"{name}: {version}" for name, version in report.versions.items()),
    ]


def median_seconds(samples: list[Sample]) -> float | None:
    """Return the median seconds of the samples without an error."""
    times = [sample.seconds for sample in samples if not sample.error]
    return statistics.median(times) if times else None


def text(report: Report) -> str:
    """Format the table for a terminal."""
    parts = ["\n".join(head(report))]
    for block in blocks(report):
        rows = [_HEADS, *_cells(block)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
        table = "\n".join("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        checks = "".join(
            f"\n  {check.mark}: {check.limit}, seen {check.seen}" for check in block.checks
        )
        parts.append(f"{block.title}\n{table}{checks}")
    return "\n\n".join(parts) + "\n"


def markdown(report: Report) -> str:
    """Format the table for benchmarks/RESULTS.md: the checks first, then every figure."""
    found = list(blocks(report))
    lines = [
        "# Results",
        "",
        *(f"- {line}" for line in head(report)),
        "",
        _SUMMARY,
        "|---|---|---|---|---|---|",
    ]
    for block in found:
        lines += [_summary(block, check) for check in block.checks]
    lines += [*_program_table(found), "", "## Every figure", "", _FIGURES, ""]
    for block in found:
        if block.row.is_program:
            continue
        rows = [_HEADS, ("---",) * len(_HEADS), *_cells(block)]
        lines += [f"### {block.title}", "", *("| " + " | ".join(row) + " |" for row in rows), ""]
    return "\n".join(lines)


def _program_table(found: Sequence[Block]) -> Iterator[str]:
    """Yield one table of all programs: a line for each link and system, the fastest first."""
    programs = [block for block in found if block.row.is_program]
    if not programs:
        return
    yield from ("", "## Programs", "", _FIGURES, "")
    yield "| program | link | mount | seconds (min, max) | requests | MiB down |"
    yield "|---|---|---|---|---|---|"
    for block in programs:
        for name, samples in sorted(block.lines.items(), key=lambda line: _rank(line[1])):
            good = [sample for sample in samples if not sample.error]
            cells = (_seconds(good), _requests(good), _down(good)) if good else ("failed", "", "")
            yield f"| {' | '.join((block.row.title, block.link, name, *cells))} |"


def _rank(samples: list[Sample]) -> float:
    return median_seconds(samples) or math.inf


_FIGURES = "Medians; requests, MiB down and peaks are the most of all rounds."
_SUMMARY = "| workload | link | s3mount, seconds | must show | seen | |"


def _summary(block: Block, check: Check) -> str:
    title = block.row.title + (", again" if block.again else "")
    ours = block.lines.get(block.row.ours, [])
    columns = (title, block.link, _seconds(ours), check.limit, check.seen, check.mark)
    return f"| {' | '.join(columns)} |"


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
        name: _median(lines[name], lambda sample: sample.seconds)
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
        ratio = _median(ours, lambda sample: sample.seconds) / reference[1]
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
        (limits.seconds, "{:.2f} s", _median(ours, lambda sample: sample.seconds), 1),
        (
            limits.first,
            "{:.3f} s to the first name",
            _median(ours, lambda sample: sample.first or 0),
            1,
        ),
        (limits.cpu, "{:.2f} CPU s", _median(ours, lambda sample: sample.cpu), 1),
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


def _cells(block: Block) -> Iterator[tuple[str, ...]]:
    for name, samples in block.lines.items():
        good = [sample for sample in samples if not sample.error]
        if not good:
            yield (
                name,
                "failed",
                "",
                "",
                "",
                "",
                "",
                f"0 of {len(samples)}: {(samples[0].error or '')[:_ERROR_LENGTH]}",
            )
            continue
        seconds, reference = _median(good, lambda sample: sample.seconds), block.reference
        is_mount = any(sample.peak for sample in good)
        yield (
            name,
            _seconds(good),
            f"{_median(good, lambda sample: sample.cpu):.2f}" if is_mount else "",
            _memory(block, good) if is_mount else "",
            _requests(good),
            _down(good),
            "" if reference is None else f"{seconds / reference[1]:.3g}",
            str(len(good)) if len(good) == len(samples) else f"{len(good)} of {len(samples)}",
        )


def _memory(block: Block, samples: list[Sample]) -> str:
    """Check the peak memory, and its growth for each name if that is limited."""
    peak = f"{max(sample.peak for sample in samples) / MIB:.0f}"
    if block.again or block.row.links[block.link].growth is None:
        return peak
    return f"{peak} ({max(sample.growth_each for sample in samples):.0f} B a name)"


def _down(samples: list[Sample]) -> str:
    """Return the MiB, the most of all rounds."""
    counted = samples[0].requests is not None
    return f"{max(sample.down for sample in samples) / MIB:.1f}" if counted else ""


def _requests(samples: list[Sample]) -> str:
    """Return the requests by kind, the most of all rounds."""
    if samples[0].requests is None:
        return ""
    kinds = sorted({kind for sample in samples for kind in sample.kinds()})
    return (
        ", ".join(
            f"{max(sample.kinds().get(kind, 0) for sample in samples)} {kind}" for kind in kinds
        )
        or "0"
    )


def _seconds(samples: list[Sample]) -> str:
    if not samples:
        return ""
    times = [sample.seconds for sample in samples]
    firsts = [sample.first for sample in samples if sample.first is not None]
    first = f"; first name {statistics.median(firsts):.3f}" if firsts else ""
    return f"{statistics.median(times):.3f} ({min(times):.3f}, {max(times):.3f}){first}"


def _median(samples: list[Sample], value: Callable[[Sample], float]) -> float:
    return statistics.median(map(value, samples))

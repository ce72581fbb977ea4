"""Table of a report: each row with its systems, and whether s3mount keeps its limits.

Pure: samples in, lines and Markdown out.
"""

import math
import statistics
from collections.abc import Iterator, Sequence

from benchmarks.content import MIB
from benchmarks.judgement import Block, Check, blocks, median, median_seconds
from benchmarks.samples import Report, Sample

_ERROR_LENGTH = 100  # characters of an error in a table; the JSON has all of it
_HEADS = ("", "seconds (min, max)", "CPU s", "peak MiB", "requests", "MiB down", "ratio", "n")


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
        seconds, reference = median(good, lambda sample: sample.seconds), block.reference
        is_mount = any(sample.peak for sample in good)
        yield (
            name,
            _seconds(good),
            f"{median(good, lambda sample: sample.cpu):.2f}" if is_mount else "",
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

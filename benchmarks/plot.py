"""Plot of a report: a line for each row, a dot for each system's time, on a logarithmic scale."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.judgement import LINKS, Block, blocks, median_seconds
from benchmarks.row import FAR, HTTPS, NEAR, OURS
from benchmarks.samples import Report

_OURS, _PEER, _GRID = "#d1495b", "#5b6c7d", "#e6e9ec"
_MARKS = {
    "rclone": "o",
    "rclone-16": "h",
    "s3fs": "s",
    "mount-s3": "^",
    "goofys": "v",
    "geesefs": "D",
}
_ROW_HEIGHT, _WIDTH = 0.36, 9.0  # inches


def draw(report: Report, path: Path) -> None:
    """Write *path* in the format of its suffix."""
    mpl.use("agg")
    cold = (block for block in blocks(report) if not block.again)
    found = [block for block in cold if any(name in _MARKS for name in block.lines)]
    links = [link for link in (FAR, NEAR, HTTPS) if any(block.link == link for block in found)]
    heights = [sum(block.link == link for block in found) + 1 for link in links]
    figure = Figure(figsize=(_WIDTH, sum(heights) * _ROW_HEIGHT + 1), layout="constrained")
    panels = figure.subplots(len(links), 1, sharex=True, height_ratios=heights, squeeze=False)
    for panel, link in zip(panels[:, 0], links, strict=True):
        _draw_link(panel, link, [block for block in found if block.link == link])
    marks = {
        name: mark
        for panel in panels[:, 0]
        for mark, name in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    names = sorted(marks, key=lambda name: (name != OURS, name))
    figure.legend(
        [marks[name] for name in names],
        names,
        loc="outside upper center",
        ncols=len(names),
        frameon=False,
    )
    figure.savefig(path, dpi=160)


def _draw_link(panel: Axes, link: str, found: list[Block]) -> None:
    for height, block in enumerate(found):
        times = {
            name: median_seconds(samples)
            for name, samples in block.lines.items()
            if name in _MARKS or name == OURS
        }
        known = {name: seconds for name, seconds in times.items() if seconds}
        panel.plot(
            [min(known.values()), max(known.values())],
            [height, height],
            color=_GRID,
            linewidth=3,
            zorder=1,
        )
        for name, seconds in known.items():
            is_ours = name == OURS
            panel.plot(
                seconds,
                height,
                marker="o" if is_ours else _MARKS[name],
                markersize=9 if is_ours else 6,
                color=_OURS if is_ours else _PEER,
                markerfacecolor=_OURS if is_ours else "white",
                linestyle="none",
                label=name,
                zorder=3 if is_ours else 2,
            )
    panel.set_title(f"seconds, {LINKS[link]}", loc="left", fontsize=10, color=_PEER)
    panel.set_yticks(
        range(len(found)),
        [f"{block.row.title}{', again' if block.again else ''}" for block in found],
        fontsize=8,
    )
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set_ylim(len(found) - 0.5, -0.5)
    panel.grid(axis="x", color=_GRID)
    panel.tick_params(which="both", length=0, labelbottom=True)
    for side in panel.spines.values():
        side.set_visible(False)

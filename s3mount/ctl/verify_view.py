"""Progress bar of the file that is verified, at a terminal."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from s3mount.ctl import units
from s3mount.ctl.client import Reply
from s3mount.ctl.output import escaped
from s3mount.ctl.progress_columns import Figures, Rate, shortened


class BarDisplay:
    """Bar of one file after another; it is gone at the end, and the cursor restored."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),  # a name may have brackets
            BarColumn(bar_width=None),
            Figures(),
            Rate(),
            TimeRemainingColumn(compact=True),
            console=console,
            expand=True,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, figures="")
        self._phase = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._progress.stop()

    def begin(self, path: str) -> None:
        """Show *path* from now on."""
        self._phase = ""
        self._progress.reset(
            self._task, total=None, figures="", description=shortened(escaped(path))
        )

    def write(self, line: str, style: str) -> None:
        """Write *line*, which stays above the bar."""
        self._progress.console.print(Text(line, style), soft_wrap=True)

    def show(self, item: Reply) -> None:
        """Show the newest *item*."""
        phase, octets = escaped(item.get("phase", "")), item.get("bytes", 0)
        done = item.get("bytes_done", 0)
        if phase != self._phase:
            self._phase = phase
            self._progress.reset(self._task, total=None, figures=phase)
        if octets:
            figures = f"{phase}: {units.size(done)}/{units.size(octets)}"
            self._progress.update(self._task, total=octets, completed=done, figures=figures)

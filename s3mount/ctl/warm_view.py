"""Progress bars of a warm-up at a terminal: files, bytes, rate and time left."""

from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from s3mount.ctl import units
from s3mount.ctl.client import Reply
from s3mount.ctl.output import escaped
from s3mount.ctl.progress_columns import Figures, Rate, shortened


class BarDisplay:
    """Bars of the two phases, and the path that is fetched; the cursor is restored at the end."""

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
        )
        self._listing = self._progress.add_task("Listing", total=None, figures="")
        self._fetching = self._progress.add_task(
            "Fetching", total=None, figures="", visible=False, start=False
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._progress.stop()

    def announce(self, text: str) -> None:
        """Show a line that stays above the bars."""
        self._progress.console.print(Text(text), soft_wrap=True)

    def show(self, item: Reply) -> None:
        """Show the newest *item*."""
        files, directories = item.get("files", 0), item.get("directories", 0)
        listed = f"{units.directories(directories)}, {units.files(files)}"
        self._progress.update(self._listing, figures=listed)
        if item.get("phase") != "fetching":
            return
        if not self._progress.tasks[self._fetching].started:
            self._progress.update(self._listing, total=1, completed=1)
            self._progress.start_task(self._fetching)
        octets, done = item.get("bytes", 0), item.get("bytes_done", 0)
        figures = (
            f"{units.number(item.get('files_done', 0))}/{units.number(files)} files, "
            f"{units.size(done)}/{units.size(octets)}"
        )
        self._progress.update(
            self._fetching,
            total=octets or None,
            completed=done,
            visible=True,
            figures=figures,
            description=shortened(escaped(item.get("path") or "Fetching")),
        )

"""Columns of progress bars: figures that never wrap, and bytes per second."""

from typing import Final

from rich.progress import ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from s3mount.ctl import units

_PATH: Final = 40  # cells


class Figures(ProgressColumn):
    """Figures of a task, never wrapped."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(str(task.fields["figures"]))


class Rate(ProgressColumn):
    """Bytes per second of the task that fetches."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True, justify="right"))

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{units.size(speed)}/s" if speed and task.total != 1 else "", "green")


def shortened(path: str) -> str:
    """Return the end of *path* that a bar has room for."""
    return path if len(path) <= _PATH else f"…{path[1 - _PATH :]}"

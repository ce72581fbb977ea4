"""Output of the commands: tables at a terminal, aligned lines in a pipe, or JSON.

Names and texts of the server pass through `escaped` before they are written. JSON is as the server
said it, in ASCII: what is not UTF-8 is a lone surrogate there.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from s3mount.cli.completion import CompletedText
from s3mount.ctl.mounts import Machine
from s3mount.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_TEXT_MAX: Final = 1100  # bytes: keys are up to 1,024
_Command = Callable[..., object]

json_option: Final = click.option(
    "--json", "is_json", is_flag=True, help="Print what the mount says, as JSON."
)


class MountType(CompletedText):
    """A mount, by its mount point, a path in it, or its source.

    The shell completes mount points and sources: completing paths would access the mounts.
    """

    name = "mount"

    def words(self) -> list[str]:
        return [text for mount in Machine().mounts() for text in (mount.mountpoint, mount.source)]


mount_argument: Final = click.argument("mount", required=False, type=MountType())


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def console() -> "Console":
    """Return rich's console on stdout; it heeds NO_COLOR."""
    from rich.console import Console  # noqa: PLC0415 - 60 ms that pipes need not wait for

    return Console(highlight=False, soft_wrap=False)


def escaped(value: object) -> str:
    """Return *value* as one line that cannot control a terminal."""
    return printable(str(value), _TEXT_MAX)


def write_line(text: str) -> None:
    """Write a line, at once: a reader may wait for it. Raises OutputError."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_json(value: object) -> None:
    """Write *value* as one line of JSON."""
    write_line(json.dumps(value))


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield *rows* as lines with aligned columns, two spaces apart; no cell is left out."""
    cells = [[cell or "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def show_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print *rows* of cells below *head*: a table at a terminal, aligned lines in a pipe."""
    if is_terminal():
        console().print(table(head, rows))
        return
    for line in aligned([head, *rows]):
        write_line(line)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    """Return *rows* of cells as a terminal shows them."""
    from rich.table import Table  # noqa: PLC0415 - not for pipes
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=None, pad_edge=False)
    for name in head:
        drawn.add_column(name.capitalize(), overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    return drawn


def flattened(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of a JSON value, each with its dotted name; null is an empty text."""
    children: Mapping[str, object] = {}
    if isinstance(value, Mapping):
        children = value
    elif isinstance(value, list):
        children = {str(index): each for index, each in enumerate(value)}
    else:
        yield name, _leaf(value)
    for key, each in children.items():
        yield from flattened(each, f"{name}.{escaped(key)}" if name else escaped(key))


def _leaf(value: object) -> str:
    if value is None:
        return ""
    return escaped(value) if isinstance(value, str) else json.dumps(value)

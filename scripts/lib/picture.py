"""Pictures of commands at a terminal, as SVG: the command runs for real, in a pseudo-terminal."""

import argparse
import io
import os
import time
from itertools import groupby
from pathlib import Path

from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.terminal import Terminal, terminal

NAMES = {"default": None, "brown": "yellow"}  # pyte's names of colours → rich's


def main() -> None:
    arguments = _arguments()
    command = arguments.command
    with terminal(command, dict(os.environ), arguments.columns, arguments.rows) as screen:
        if arguments.seconds is None:
            screen.wait_end()
        else:
            end = time.monotonic() + arguments.seconds
            while (left := end - time.monotonic()) > 0 and screen.process.poll() is None:
                screen.pump(left)
            drawn = picture(screen, arguments.title or " ".join(command))
            screen.press("q" if arguments.key is None else arguments.key)
            screen.wait_end()
            arguments.file.write_text(drawn)
            return
        arguments.file.write_text(picture(screen, arguments.title or " ".join(command)))


def picture(screen: Terminal, title: str) -> str:
    """Return what is on *screen*, as SVG."""
    console = Console(
        record=True,
        width=screen.screen.columns,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    used = len(screen.text.rstrip().splitlines())
    for row in range(used):
        line = screen.screen.buffer[row]
        cells = [line[column] for column in range(screen.screen.columns)]
        runs = [
            ("".join(cell.data for cell in run), kind) for kind, run in groupby(cells, key=style)
        ]
        text = Text.assemble(*runs, no_wrap=True)
        text.rstrip()
        console.print(text)
    return console.export_svg(title=title)


def style(char: Char) -> Style:
    return Style(
        color=_colour(char.fg),
        bgcolor=_colour(char.bg),
        bold=char.bold,
        italic=char.italics,
        underline=char.underscore,
        reverse=char.reverse,
    )


def _colour(name: str) -> str | None:
    if name in NAMES:
        return NAMES[name]
    if len(name) == 6 and all(digit in "0123456789abcdef" for digit in name):
        return f"#{name}"
    return name.replace("bright", "bright_").replace("brown", "yellow")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/picture", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.svg")
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument(
        "--seconds", type=float, help="Draw then, and press a key; else at the end."
    )
    parser.add_argument("--key", help="Key that ends the command (q).")
    parser.add_argument("--title", help="Title of the window; else the command.")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    return parser.parse_args()


if __name__ == "__main__":
    main()

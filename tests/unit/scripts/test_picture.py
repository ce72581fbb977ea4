"""scripts/picture: what a program writes at a terminal is in the picture, in its colours."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_screen_of_a_program_is_drawn(tmp_path: Path) -> None:
    picture = tmp_path / "a.svg"
    program = ["sh", "-c", r"printf 'plain\n\033[1;38;2;1;2;3mcoloured\033[0m\n'"]

    subprocess.run(
        [sys.executable, ROOT / "scripts/lib/picture.py", "--title", "A title", picture, *program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )

    drawn = picture.read_text()
    assert all(text in drawn for text in ("A&#160;title", "plain", "coloured", "#010203"))

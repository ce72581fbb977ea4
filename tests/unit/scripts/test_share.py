"""share/: manual pages and completions follow the tables, and work in groff and in the shells."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.terminal import terminal

ROOT = Path(__file__).parents[3]
SHARE = ROOT / "share"
PAGES = sorted(SHARE.glob("man/man?/*"))
COMPLETE = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "source {}/bash-completion/completions/s3mountctl",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        "fpath=({}/zsh/site-functions $fpath); autoload -Uz compinit; compinit -D -u",
    ),
    "fish": (["fish", "--no-config", "-i"], "source {}/fish/vendor_completions.d/s3mountctl.fish"),
}


def test_the_files_are_up_to_date(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "scripts/lib/share.py", tmp_path],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )

    def texts(top: Path) -> dict[str, str]:
        return {
            str(path.relative_to(top)): path.read_text()
            for path in top.rglob("*")
            if path.is_file()
        }

    assert texts(SHARE) == texts(tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_groff_has_no_warning_of_a_page(page: Path) -> None:
    done = subprocess.run(
        ["groff", "-I", SHARE / "man", "-Tutf8", "-ww", "-man", page],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == ""
    assert page.stem.partition(".")[0] in done.stdout


@pytest.mark.parametrize("shell", COMPLETE)
def test_shells_complete_commands(shell: str, tmp_path: Path) -> None:
    command, load = COMPLETE[shell]
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "PS1": "ready> ",
        "TERM": "xterm",
    }

    with terminal(command, env) as screen:
        screen.press(f"{load.format(SHARE)}; echo load''ed\r")
        screen.wait_for("loaded")
        screen.press("s3mountctl log-l\t")
        screen.wait_for("s3mountctl log-level")
        screen.press("warn")
        screen.wait_for("s3mountctl log-level warn")
        screen.press("\t")
        screen.wait_for("s3mountctl log-level warning")

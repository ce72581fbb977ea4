"""share/: manual pages and completions follow the tables, and work in groff and in the shells."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.terminal import Terminal, terminal

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

# a program with click's protocol, and one mount point that shells must quote
ODD_MOUNT = """#!{python}
import os, sys
import click
from s3mount.cli.completion import CompletedText, complete
mount = click.Argument(["mount"], type=CompletedText(["/mnt/a, b"]))
group = click.Group("s3mountctl", commands=[click.Command("status", params=[mount])])
sys.exit(complete(lambda: group, "s3mountctl", os.environ))
"""
QUOTED = {"bash": r"/mnt/a\,\ b", "zsh": r"/mnt/a,\ b", "fish": r"/mnt/a,\ b"}


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
    with _shell(shell, Path(sys.executable).parent, tmp_path) as screen:
        screen.press("s3mountctl log-l\t")
        screen.wait_for("s3mountctl log-level")
        screen.press("warn")
        screen.wait_for("s3mountctl log-level warn")
        screen.press("\t")
        screen.wait_for("s3mountctl log-level warning")


@pytest.mark.parametrize("shell", COMPLETE)
def test_shells_quote_what_they_complete(shell: str, tmp_path: Path) -> None:
    program = tmp_path / "s3mountctl"
    program.write_text(ODD_MOUNT.format(python=sys.executable))
    program.chmod(0o755)

    with _shell(shell, tmp_path, tmp_path) as screen:
        screen.press("s3mountctl status /mn\t")
        screen.wait_for(f"s3mountctl status {QUOTED[shell]}")


def test_fish_shows_whole_descriptions() -> None:
    ask = f"{COMPLETE['fish'][1].format(SHARE)}; complete -C 's3mountctl wa'"
    completed = subprocess.run(
        ["fish", "--no-config", "-c", ask],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert completed.stdout == "warm\tList directories, and fetch files into the caches.\n"


@contextmanager
def _shell(shell: str, programs: Path, home: Path) -> Iterator[Terminal]:
    """Run *shell* with the completions of s3mountctl, which is in *programs*."""
    command, load = COMPLETE[shell]
    env = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PS1": "ready> ",
        "TERM": "xterm",
    }
    with terminal(command, env) as screen:
        screen.press(f"{load.format(SHARE)}; echo load''ed\r")
        screen.wait_for("loaded")
        yield screen

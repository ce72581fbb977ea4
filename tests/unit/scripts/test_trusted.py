"""scripts/install --program refuses what another user could change."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/lib/trusted.py"
SOMEBODY = 65534

Change = Callable[[Path], None]


def verdict(environment: Path) -> str:
    """Return the error line; empty if only root could change it."""
    command = [sys.executable, "-I", str(SCRIPT), str(environment), "s3mount"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == bool(done.stderr)
    assert done.stderr.count("\n") <= 1
    return done.stderr.strip()


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment with a command that leaves a trace if it is run."""
    path = tmp_path / "opt" / "program"
    packages = path / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (path / "bin").mkdir(parents=True)
    (path / "lib64").symlink_to("lib")
    packages.mkdir(parents=True)
    (packages / "s3mount.py").write_text("")
    (path / "bin/python").symlink_to(Path(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}"))
    (path / "bin/s3mount").write_text(f"#!{path}/bin/python\n")
    (path / "bin/s3mount").chmod(0o755)
    (path / "pyvenv.cfg").write_text(f"home = {sys.base_prefix}/bin\n")
    return path


def test_an_environment_of_root_is_accepted(environment: Path) -> None:
    assert verdict(environment) == ""


def package(environment: Path) -> Path:
    return next(environment.glob("lib/*/site-packages"))


def give(path: Path) -> None:
    os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)


def open_to_group(path: Path) -> None:
    os.chown(path, 0, SOMEBODY)
    path.chmod(0o775)


def link_library(environment: Path) -> None:
    theirs = environment.parents[1] / "theirs"
    theirs.mkdir()
    give(theirs)
    (package(environment) / "other").symlink_to(theirs)


def add_checkout(environment: Path) -> None:
    theirs = environment.parents[1] / "checkout"
    theirs.mkdir()
    (theirs / "module.py").write_text("import os; os.mkdir('/run-as-root')")
    give(theirs / "module.py")
    (package(environment) / "editable.pth").write_text(f"{theirs}\nimport module\n")


def turn_interpreter(environment: Path) -> None:
    theirs = environment.parents[1] / "bin"
    theirs.mkdir()
    (theirs / "python").write_text("#!/bin/sh\ntouch /run-as-root\n")
    (theirs / "python").chmod(0o755)
    give(theirs / "python")
    (environment / "bin/python").unlink()
    (environment / "bin/python").symlink_to(theirs / "python")


def use_other_interpreter(environment: Path) -> None:
    (environment / "bin/s3mount").write_text("#!/home/somebody/bin/python3\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (give, "/opt/program belongs to another user (65534)"),
        (lambda top: give(top.parent), "/opt belongs to another user (65534)"),
        (lambda top: top.parent.chmod(0o777), "/opt can be written by every user"),
        (lambda top: open_to_group(top.parent), "/opt can be written by a group"),
        (lambda top: (top / "bin").chmod(0o757), "/opt/program/bin can be written by every user"),
        (lambda top: (top / "bin").chmod(0o1777), "/opt/program/bin can be written by every user"),
        (lambda top: give(top / "bin/s3mount"), "/bin/s3mount belongs to another user (65534)"),
        (lambda top: give(top / "bin/python"), "/bin/python belongs to another user (65534)"),
        (lambda top: (top / "pyvenv.cfg").chmod(0o666), "/pyvenv.cfg can be written by every user"),
        (
            lambda top: (package(top) / "s3mount.py").chmod(0o646),
            "/s3mount.py can be written by every user",
        ),
        (lambda top: open_to_group(package(top)), "/site-packages can be written by a group"),
        (link_library, "/theirs belongs to another user (65534)"),
        (add_checkout, "/checkout/module.py belongs to another user (65534)"),
        (turn_interpreter, "/bin/python belongs to another user (65534)"),
        (use_other_interpreter, "its commands are run by /home/somebody/bin/python3"),
        (
            lambda top: (top / "bin/s3mount").write_text("#!/bin/sh\n"),
            "/bin/s3mount is not a script of a Python",
        ),
        (lambda top: (top / "bin/s3mount").unlink(), "/bin/s3mount: No such file or directory"),
    ],
)
def test_a_path_that_others_could_change_is_named_and_nothing_is_run(
    environment: Path, change: Change, message: str
) -> None:
    change(environment)

    said = verdict(environment)

    assert said.startswith(f"{environment} is not for root to run: ")
    assert message in said
    assert not Path("/run-as-root").exists()


def test_an_environment_behind_a_link_of_root_is_accepted(
    environment: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("opt/program")
    (environment / "bin/s3mount").write_text(f"#!{tmp_path}/link/bin/python\n")

    assert verdict(tmp_path / "link") == ""
    give(tmp_path / "link")
    assert "/link belongs to another user (65534)" in verdict(tmp_path / "link")

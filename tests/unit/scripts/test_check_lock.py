"""The comparison of the lock files with pyproject.toml, as scripts/check prints it."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HASH = "--hash=sha256:" + "0" * 64


def complaints(root: Path) -> list[str]:
    script = ROOT / "scripts/lib/check_lock.py"
    done = subprocess.run(
        [sys.executable, script, root], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (bool(done.stdout), "")
    return done.stdout.splitlines()[:-1]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "requirements.lock", "requirements-build.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def edited(root: Path) -> None:
        path = root / name
        before = path.read_text()
        path.write_text(change(before))
        assert path.read_text() != before

    return edited


def without(package: str) -> Callable[[str], str]:
    """Less *package* and its hashes."""
    return lambda text: text.replace(f"{package}==", "left-out==")


def test_the_lock_files_of_this_checkout_are_consistent() -> None:
    assert complaints(ROOT) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            edit("pyproject.toml", lambda text: text.replace('"click>=8.1"', '"click>=99"')),
            "requirements.lock: pyproject.toml requires click>=99, but ",
        ),
        (
            edit("pyproject.toml", lambda text: text.replace('"click>=8.1"', '"clack>=8.1"')),
            "requirements.lock: pyproject.toml requires clack>=8.1, which is not locked",
        ),
        (
            edit("requirements.lock", without("jmespath")),
            "requirements.lock: left-out is locked, but nothing requires it",
        ),
        (
            edit("requirements-build.lock", without("cython")),
            "requires cython, which is not locked",
        ),
        (
            edit("requirements.lock", lambda text: f"{text}more==1 {HASH}\n"),
            "requirements.lock: more is locked, but nothing requires it",
        ),
        (
            edit("requirements.lock", lambda text: f"{text}more==1\n"),
            "requirements.lock: this is not a version with hashes: more==1",
        ),
        (
            edit("requirements.lock", lambda text: f"--index-url https://example.org\n{text}"),
            "requirements.lock: this is not a version with hashes: --index-url",
        ),
        (
            edit("requirements.lock", lambda text: re.sub("(?m)^six==[^ ]*", "six==0.1", text)),
            " requires six>=1.5, but 0.1 is locked",
        ),
    ],
)
def test_an_inconsistent_lock_file_is_named(
    root: Path, change: Callable[[Path], None], message: str
) -> None:
    change(root)

    assert any(message in line for line in complaints(root))

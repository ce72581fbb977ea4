"""Scripts that root runs: none imports from the current directory, and each explains itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SETUP = ROOT / "scripts/lib/setup.sh"


def test_requirements_are_read_without_the_modules_of_the_current_directory(tmp_path: Path) -> None:
    """`cd /tmp; sudo .../scripts/install` ran /tmp/tomllib.py, which any user can write."""
    (tmp_path / "tomllib.py").write_text("raise SystemExit('run')\n")

    done = subprocess.run(
        [
            "bash",
            "-c",
            (
                f"source {SETUP}; "
                f"requirements {sys.executable} $root/pyproject.toml build-system requires"
            ),
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "hatchling" in done.stdout


@pytest.mark.parametrize(
    "script", [SETUP, ROOT / "scripts/install", ROOT / "scripts/lock"], ids=lambda path: path.name
)
def test_no_module_is_run_from_the_current_directory(script: Path) -> None:
    runs = re.findall(r'^.*"\$python" .*-m venv.*$', script.read_text(), re.MULTILINE)

    assert runs
    assert [run for run in runs if '"$python" -I -m venv' not in run] == []


@pytest.mark.parametrize("script", ["install", "uninstall", "package"])
@pytest.mark.parametrize(("option", "status"), [("--help", 0), ("--nonsense", 2)])
def test_a_script_says_how_it_is_used(script: str, option: str, status: int) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / script, option], check=False, capture_output=True, text=True
    )

    assert done.returncode == status
    shown, silent = (done.stderr, done.stdout) if status else (done.stdout, done.stderr)
    assert f"  scripts/{script}  " in shown
    assert "shellcheck" not in shown
    assert silent == ""

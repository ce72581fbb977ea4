"""Scripts that root runs: none imports from the current directory."""

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

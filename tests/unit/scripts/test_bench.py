"""scripts/bench --help on a machine that has only Python."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_help_is_printed_before_anything_is_installed(tmp_path: Path) -> None:
    """`scripts/bench --help` installed s3fs, and prepared .venv, before it printed a line."""
    _program(tmp_path / "dpkg-query", "exit 1")
    _program(tmp_path / "apt-get", f"echo $* >>{tmp_path}/installed")
    _program(tmp_path / "python", f'exec {sys.executable} -S "$@"')

    done = subprocess.run(
        [ROOT / "scripts/bench", "--help"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(tmp_path / "python")},
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "--rows" in done.stdout
    assert not (tmp_path / "installed").exists()


def test_only_what_the_chosen_rows_run_is_needed() -> None:
    command = [sys.executable, "-S", "-m", "benchmarks", "--rows", "unzip,duckdb,ls"]

    needed = {
        kind: subprocess.run(
            [*command, "--print-needed", kind], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split()
        for kind in ("packages", "wheels")
    }

    assert needed == {"packages": ["unzip"], "wheels": ["duckdb>=1.1"]}

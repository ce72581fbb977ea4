"""scripts/demo and a mount at its path."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_mount_at_its_path_is_left_alone() -> None:
    """It unmounted the user's own mount at /mnt/s3, which s3mount had refused to cover."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/lib/demo.py", "/dev/shm"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "something is mounted at /dev/shm already" in done.stderr

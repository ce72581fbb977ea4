"""Process of a workload, which times itself and reports what it saw."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.servers import CHECKOUT

_TIMEOUT = 900.0  # seconds


def workload_report(
    workload: str, root: Path | str, mount_pid: int | None = None
) -> dict[str, float]:
    """Return what *workload* reports; raises RuntimeError if it fails or takes too long."""
    command = [sys.executable, "-m", "benchmarks.workloads", workload, str(root)]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    try:
        out, err = process.communicate(timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        if mount_pid is not None:
            os.kill(
                mount_pid, signal.SIGKILL
            )  # a process that waits for a mount can only end with it
        raise RuntimeError(f"{workload} took longer than {_TIMEOUT:.0f} s") from None
    if process.returncode:
        raise RuntimeError(
            err.decode().strip().split("\n")[-1] or f"{workload} ended with {process.returncode}"
        )
    report: dict[str, float] = json.loads(out)
    return report

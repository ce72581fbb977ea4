"""Mount of a system: started with its command, awaited, unmounted at the end."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import end
from benchmarks.system import System, Target, command_environment

_MOUNT_TIMEOUT = 60.0  # seconds
# seconds after the mount responds, in which its own startup work (checks, readahead) ends
_SETTLE = 0.6
_POLL = 0.003  # seconds


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount that responds, *started* seconds after its command was given."""

    pid: int
    root: Path
    started: float


@contextlib.contextmanager
def mounted(system: System, target: Target) -> Iterator[Mount]:
    """Mount *target* with *system*; raises RuntimeError if it does not come up."""
    target.mountpoint.mkdir(exist_ok=True)
    if target.cache is not None:
        target.cache.mkdir(mode=0o700, exist_ok=True)
    log_path = target.scratch / f"{system.name}.log"
    begin = time.perf_counter()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            system.command(target),
            env=command_environment(target.ca),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal is for this process, which unmounts
        )
    try:
        _await_mount(process, target.mountpoint, log_path)
        started = time.perf_counter() - begin
        time.sleep(_SETTLE)
        yield Mount(process.pid, target.mountpoint, started)
    finally:
        _unmount(process, target.mountpoint)


def _await_mount(process: subprocess.Popen[bytes], mountpoint: Path, log: Path) -> None:
    deadline = time.monotonic() + _MOUNT_TIMEOUT
    while not mountpoint.is_mount():
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"did not mount: status {process.returncode}, {said!r}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"did not mount within {_MOUNT_TIMEOUT:.0f} s")
        time.sleep(_POLL)


def _unmount(process: subprocess.Popen[bytes], mountpoint: Path) -> None:
    """Unmount, lazily if that fails, and wait for the process to end."""
    for option in ("-u", "-uz"):
        if (
            subprocess.run(
                ["fusermount3", option, mountpoint], capture_output=True, check=False
            ).returncode
            == 0
        ):
            break
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        end(process)

"""Runner of the one-file mount: starts, watches and cleans up its processes.

The test process adopts background processes, to see their exit statuses.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from s3mount.daemon.mounting.mount_table import mount_at
from s3mount.daemon.syscalls import MNT_DETACH, unmount
from tests.waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
STAND_IN: Final = (sys.executable, str(ROOT / "tests/mount/one_file_mount.py"))
NOBODY: Final = 65534
# may read everything, since the interpreter may be in root's home, but not mount
AS_NOBODY: Final = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *(
        "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search",
        "--bounding-set=+all",
    ),
)
PR_SET_CHILD_SUBREAPER: Final = 36
WITHIN: Final = 20.0  # seconds until a test fails, not a waiting time


class MountRunner:
    """Runner of the one-file mount at *mountpoint*, and of the processes that it leaves."""

    def __init__(self, place: Path) -> None:
        self.mountpoint = place
        self.environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    def command(
        self, *arguments: object, bucket: str = "bucket", prefix: Sequence[str] = ()
    ) -> list[str]:
        return [
            *prefix,
            *STAND_IN,
            bucket,
            str(self.mountpoint),
            *(str(argument) for argument in arguments),
        ]

    def run(
        self,
        *arguments: object,
        bucket: str = "bucket",
        prefix: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, bucket=bucket, prefix=prefix),
            pass_fds=pass_fds,
            check=False,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            env=self.environment,
        )

    def start(self, *arguments: object, bucket: str = "bucket") -> subprocess.Popen[str]:
        command = self.command(*arguments, bucket=bucket)
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )

    def mount(
        self,
        *arguments: object,
        bucket: str = "bucket",
        prefix: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> int:
        """Mount in the background, and return the pid of the serving process."""
        done = self.run(*arguments, bucket=bucket, prefix=prefix, pass_fds=pass_fds)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return min(adopted())

    @property
    def is_mounted(self) -> bool:
        return mount_at(str(self.mountpoint)) is not None


def adopted() -> set[int]:
    """Return the children of this process that started a session, as daemons do."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {pid for pid in map(int, children) if os.getsid(pid) != os.getsid(0)}


def wait_exit(pid: int) -> int:
    """Return the exit status of an adopted process; negative if a signal killed it."""
    ended = {}

    def has_ended() -> bool:
        found, status = os.waitpid(pid, os.WNOHANG)
        ended[found] = status
        return found == pid

    wait_until(has_ended)
    return os.waitstatus_to_exitcode(ended[pid])


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def helper_of(server: int) -> int:
    """Return the pid of the helper process that unmounts for *server*."""
    (helper,) = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return int(helper)


@contextmanager
def public_directory() -> Iterator[Path]:
    """Make a directory that every user may enter; pytest's own are for root only."""
    with tempfile.TemporaryDirectory(prefix="s3mount-life-") as made:
        Path(made).chmod(0o777)
        yield Path(made)


@contextmanager
def adopting(place: Path) -> Iterator[MountRunner]:
    """Yield a runner at *place*, and end the processes and mounts that it leaves."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield MountRunner(place)
    finally:
        while orphans := adopted():  # a helper is adopted when its server has ended
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        while mount_at(str(place)):
            unmount(str(place), MNT_DETACH)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

"""Mounts that are forked off a process with all imports made: hundreds in a minute, to be killed.

python -m tests.mount.forked_mounts         reads one JSON list of arguments a line, and writes the
                                            process id of the mount that it has begun with them
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.mount.mount_process import environment


class ForkedMounts:
    """The parent of the mounts."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def begin(self, *arguments: str) -> int:
        """Begin a mount; its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def forked_mounts(log: Path, env: Mapping[str, str]) -> Iterator[ForkedMounts]:
    """Start the parent; all mounts log to *log*."""
    with (
        log.open("ab") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "tests.mount.forked_mounts"],
            env=environment(**env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        yield ForkedMounts(process)
        assert process.stdin is not None
        process.stdin.close()


def main() -> None:
    """Fork a mount for each line of standard input."""
    from s3mount.cli.main import main as mount_main  # noqa: PLC0415
    from s3mount.daemon import wiring  # noqa: PLC0415

    wiring.import_late_libraries()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(2, 1)
            sys.argv = ["s3mount", *json.loads(line)]
            mount_main()
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

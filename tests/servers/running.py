"""Start and stop of a server process that leaves nothing behind."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from shutil import which

from tests.waiting import wait_until

START_LIMIT = 60.0  # seconds, for a busy machine


PORTS = range(20_000, 32_000)  # below the range of outgoing connections


@contextlib.contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Reserve ports that are free, and that no outgoing connection can take.

    A server binds its ports some seconds after they were chosen. So an abstract Unix socket named
    after each port keeps it from every other test run of this machine until the block ends.
    """
    found: list[int] = []
    with contextlib.ExitStack() as reservations:
        for port in random.sample(PORTS, len(PORTS)):
            with contextlib.suppress(OSError), contextlib.ExitStack() as attempt:
                reservation = attempt.enter_context(socket.socket(socket.AF_UNIX))
                reservation.bind(f"\0s3mount-tests-port-{port}")  # refused if reserved
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))  # refused if in use
                reservations.push(attempt.pop_all())
                found.append(port)
            if len(found) == count:
                break
        else:
            raise OSError(f"fewer than {count} ports are free")
        yield found


def program(name: str) -> str:
    """Return the path of a program from this environment, or from PATH."""
    beside = Path(sysconfig.get_path("scripts"), name)
    found = str(beside) if beside.exists() else which(name)
    if found is None:
        raise FileNotFoundError(
            f"{name} is not installed: scripts/test does that (scripts/lib/setup.sh)"
        )
    return found


@contextlib.contextmanager
def running(
    command: Sequence[str], *, port: int, log: Path, patience: float = 10.0
) -> Iterator[Callable[[], None]]:
    """Run *command* for the block, once *port* accepts; it has *patience* seconds to stop.

    Yields a function that raises RuntimeError, with the end of the log, if the server has ended.
    It has no AWS_* variables: SeaweedFS would accept the keys of the test that is run first.
    """
    environment = {name: each for name, each in os.environ.items() if not name.startswith("AWS_")}
    with log.open("wb") as output:
        # the server dies with a killed test run
        bound = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        process = subprocess.Popen(
            bound, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
    try:
        check_running = partial(_check_running, process, log)
        _wait_accepting(port, check_running)
        yield check_running
    finally:
        _stop(process, patience)


def _check_running(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        tail = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{process.args!r} ended with status {process.returncode}: {tail}")


def _wait_accepting(port: int, check_running: Callable[[], None]) -> None:
    def is_accepting() -> bool:
        check_running()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        return False

    wait_until(is_accepting, START_LIMIT)


def _stop(process: subprocess.Popen[bytes], patience: float) -> None:
    if patience:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    process.kill()
    process.wait()

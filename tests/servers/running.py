"""Start and stop of a server process that leaves nothing behind."""

import contextlib
import random
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import which

START_LIMIT = 60.0  # seconds, for a busy machine


PORTS = range(20_000, 32_000)  # below the range of outgoing connections


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, and that no outgoing connection can take."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in random.sample(PORTS, len(PORTS)):
            with contextlib.suppress(OSError):  # in use
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise OSError("no port is free")


def program(name: str) -> str:
    """Return the path of a program from this environment, or from PATH."""
    beside = Path(sysconfig.get_path("scripts"), name)
    found = str(beside) if beside.exists() else which(name)
    if found is None:
        raise FileNotFoundError(
            f"{name} is not installed: see the dependency group 'dev' in pyproject.toml"
        )
    return found


@contextlib.contextmanager
def running(
    command: Sequence[str], *, port: int, log: Path, patience: float = 10.0
) -> Iterator[None]:
    """Run *command* for the block, once *port* accepts; it has *patience* seconds to stop."""
    with log.open("wb") as output:
        # the server dies with a killed test run
        bound = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        process = subprocess.Popen(bound, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait_accepting(process, port, log)
        yield
    finally:
        _stop(process, patience)


def _wait_accepting(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up = time.monotonic() + START_LIMIT
    while time.monotonic() < give_up:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(
        f"{process.args!r} does not serve: {log.read_text(errors='replace')[-2000:]}"
    )


def _stop(process: subprocess.Popen[bytes], patience: float) -> None:
    if patience:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    process.kill()
    process.wait()

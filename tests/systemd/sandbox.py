"""A real systemd in its own namespaces, over a copy-on-write view of a file system; see `boot`.

Knows processes and namespaces, nothing of s3mount. Needs root.
"""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
MACHINE = Path("/")
START_LIMIT = 30.0  # seconds; half a second is usual
SETTLE_LIMIT = 20.0  # seconds a service has to reach the state that a test waits for


class Sandbox:
    """A running service manager; *manager* is its pid outside."""

    def __init__(self, manager: int) -> None:
        self._enter = ["nsenter", f"--target={manager}", "--pid", "--mount", "--cgroup", "--"]

    def run(
        self, *command: str | Path, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* as root, with the environment of services; its output is text."""
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": "/root",
        }
        done = subprocess.run(
            [*self._enter, *command],
            input=stdin,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0 or not check, (
            f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def output(self, *command: str | Path) -> str:
        return self.run(*command).stdout.rstrip("\n")

    def write(self, path: str | Path, text: str, mode: str = "600") -> None:
        """Write the file *path* inside, owned by root."""
        self.run("install", "-D", f"--mode={mode}", "/dev/stdin", path, stdin=text)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Poll until *condition* holds; AssertionError after `SETTLE_LIMIT`."""
        wait_until(condition, SETTLE_LIMIT)


@contextmanager
def booted(lower: Path = MACHINE, kept: Iterable[str | Path] | None = None) -> Iterator[Sandbox]:
    """Yield a sandbox with a ready manager, and kill all of its processes afterwards.

    It sees the file system *lower*, and the directories *kept* as they are: by default the checkout
    and the environment of the tests.
    """
    with tempfile.TemporaryDirectory(prefix="sandbox-") as layers:
        console = Path(layers, "console")
        outer = _launch(layers, console, lower, _environment() if kept is None else kept)
        try:
            wait_until(lambda: _has_booted(outer), START_LIMIT)
            yield Sandbox(_manager(outer))
        except AssertionError as exc:
            exc.add_note(
                f"the console of the sandbox says: {console.read_text(errors='replace')[-2000:]}"
            )
            raise
        finally:
            outer.send_signal(
                signal.SIGKILL
            )  # and with it, by --kill-child, the manager and all that it runs
            outer.wait()


def _environment() -> list[str]:
    return sorted({str(CHECKOUT), sys.prefix, sys.base_prefix} - {"/usr"})


def _launch(
    layers: str, console: Path, lower: Path, kept: Iterable[str | Path]
) -> subprocess.Popen[bytes]:
    namespaces = ["unshare", "--fork", "--pid", "--mount", "--cgroup", "--kill-child"]
    root = Path(layers, "root")
    root.mkdir()
    with console.open("wb") as out:
        return subprocess.Popen(
            [*namespaces, Path(__file__).with_name("boot"), root, lower, *kept],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )


def _manager(outer: subprocess.Popen[bytes]) -> int:
    """The pid of the child that `unshare` forked; 0 while it has none."""
    return int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text() or 0)


def _has_booted(outer: subprocess.Popen[bytes]) -> bool:
    assert outer.poll() is None, "the sandbox ended while it started"
    manager = _manager(outer)
    # Before systemd takes over, the child is still the script, in the machine's own file system.
    if not manager or Path(f"/proc/{manager}/comm").read_text() != "systemd\n":
        return False
    state = Sandbox(manager).run("systemctl", "is-system-running", check=False).stdout.strip()
    return state in {"running", "degraded"}

"""Cost of watching a mount: a sequential read beside s3mountctl or a scrape of the metrics.

Reads 1 GiB over the near link in pairs, once undisturbed and once disturbed, in turn first. A
disturbance is in its steady state before the read begins. With --idle nothing is read: then the CPU
of the mount is that of the watchers alone, which other processes on the machine hardly change.

python -m benchmarks.disturbed [--pairs 8] [--rows top,trace,…]    prints each pair, and a table
"""

import argparse
import contextlib
import fcntl
import json
import os
import pty
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import measure
from benchmarks.datasets import DATASETS
from benchmarks.environment import data_directory
from benchmarks.mounted import Mount, mounted
from benchmarks.seed import seed
from benchmarks.servers import RelayAddress, free_ports, relay, seaweedfs
from benchmarks.system import Target, command_environment
from benchmarks.systems import systems
from benchmarks.workload_process import workload_report
from s3mount.ctl.client import connected
from s3mount.ctl.mounts import Machine

PAIRS = 8
INTERVAL = 1.0  # seconds between two requests of the metrics, or of the status
IDLE = 10.0  # seconds of a mount that nobody reads
SETTLE = 1.5  # seconds until a disturbance is in its steady state
_ROWS, _COLUMNS = 40, 120  # of the terminal of top and trace
_CTL = (sys.executable, "-c", "from s3mount.ctl.main import main; main()")


# what watches the mount, by the name of the row
ROWS: Mapping[str, tuple[str, ...]] = {
    "nothing": (),
    "top": ("top",),
    "trace": ("trace",),
    "scrape": ("scrape",),
    "status": ("status",),
    "status-command": ("status-command",),
    "top+trace": ("top", "trace"),
    "all": ("top", "trace", "scrape", "status"),
}


@dataclass(frozen=True, slots=True)
class Read:
    """One read of 1 GiB: its time, and CPU seconds of the mount and of what watches it."""

    seconds: float
    mount: float
    watchers: float


@dataclass(frozen=True, slots=True)
class Bench:
    """A store behind *link*, and what is done with each mount of it; *work* returns seconds."""

    link: RelayAddress
    scratch: Path
    work: Callable[[Mount], float]


def main() -> None:
    """Measure, print each pair, and print the table."""
    args = _arguments()
    # the contexts end, and nothing stays
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows: dict[str, list[tuple[Read, Read]]] = {}
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3mount-bench-")))
        data = stack.enter_context(data_directory(args.data))
        store = stack.enter_context(seaweedfs(data, scratch))
        seed(store, {"gibibyte"}, data / "seeded.json")
        link = stack.enter_context(relay(store.url, scratch))
        bench = Bench(link, scratch, _idle if args.idle else _sequential)
        for name in args.rows.split(","):
            rows[name] = list(_pairs(name, args.pairs, bench))

    print("\n".join(table(rows)))


def table(rows: Mapping[str, Sequence[tuple[Read, Read]]]) -> Iterator[str]:
    """Yield the lines of the table, in Markdown: medians of pairs, and CPU of all reads."""
    yield "| beside the read | pairs | time, ratio | quartiles | mount, CPU s | of it | watchers |"
    yield "|---|---|---|---|---|---|---|"
    for name, pairs in rows.items():
        ratios = sorted(beside.seconds / alone.seconds for alone, beside in pairs)
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        alone = statistics.fmean(pair[0].mount for pair in pairs)
        beside = statistics.fmean(pair[1].mount for pair in pairs)
        watchers = statistics.fmean(pair[1].watchers for pair in pairs)
        yield (
            f"| {name} | {len(pairs)} | {middle:.3f} | {low:.3f} to {high:.3f} | {alone:.3f} "
            f"| {beside - alone:+.3f} | {watchers:.3f} |"
        )


def _pairs(name: str, count: int, bench: Bench) -> Iterator[tuple[Read, Read]]:
    for number in range(count):
        order = [(), ROWS[name]][:: -1 if number % 2 else 1]
        reads = [_read(watchers, bench) for watchers in order]
        alone, beside = reads[:: -1 if number % 2 else 1]
        print(json.dumps({"beside": name, "reads": [asdict(alone), asdict(beside)]}), flush=True)
        yield alone, beside


def _read(watchers: tuple[str, ...], bench: Bench) -> Read:
    """Do the work of *bench* with a fresh mount, beside *watchers*."""
    (port,) = free_ports(1)
    known = systems(None)["s3mount"]
    system = replace(known, arguments=lambda to: [*known.arguments(to), "--metrics", str(port)])
    scratch = bench.scratch
    target = Target(bench.link.url, DATASETS["gibibyte"].bucket, scratch / "mnt", scratch)
    with mounted(system, target) as mount, contextlib.ExitStack() as stack:
        watched = [stack.enter_context(_watch(watcher, mount, port)) for watcher in watchers]
        time.sleep(SETTLE)
        before = _cpu([mount.pid]), _cpu(watched)
        seconds = bench.work(mount)
        return Read(seconds, _cpu([mount.pid]) - before[0], _cpu(watched) - before[1])


def _sequential(mount: Mount) -> float:
    return workload_report("sequential", mount.root, mount.pid)["seconds"]


def _idle(_mount: Mount) -> float:
    time.sleep(IDLE)
    return IDLE


def _cpu(pids: Sequence[int | None]) -> float:
    return sum(measure.precise_cpu_seconds(pid) for pid in pids if pid is not None)


@contextlib.contextmanager
def _watch(watcher: str, mount: Mount, port: int) -> Iterator[int | None]:
    """Run *watcher*; yields its process, if it has one of its own."""
    match watcher:
        case "scrape":
            with _repeated(lambda: _scrape(port)):
                yield None
        case "status":
            with _repeated(lambda: _status(mount.root)):
                yield None
        case "status-command":
            with _repeated(lambda: _run_status(mount.root)):
                yield None
        case command:
            with _ctl(command, mount) as pid:
                yield pid


def _scrape(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        response.read()


def _status(mountpoint: Path) -> None:
    with connected(Machine().find(str(mountpoint))) as client:
        client.call("status")


def _run_status(mountpoint: Path) -> None:
    command = [*_CTL, "status", str(mountpoint)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=command_environment(None))


@contextlib.contextmanager
def _ctl(command: str, mount: Mount) -> Iterator[int]:
    """Run `s3mountctl COMMAND` at a terminal that is read all the time."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    process = subprocess.Popen(
        [*_CTL, command, mount.root],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=command_environment(None) | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    reader = threading.Thread(target=_drain, args=(ours,))
    reader.start()
    try:
        yield process.pid
        if process.poll() is not None:
            raise SystemExit(f"s3mountctl {command} ended with status {process.returncode}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        reader.join()
        os.close(ours)


def _drain(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal any more
        while os.read(descriptor, 1 << 16):
            time.sleep(0.05)  # a terminal draws some 20 times a second


@contextlib.contextmanager
def _repeated(action: Callable[[], object]) -> Iterator[None]:
    """Call *action* each INTERVAL, in a thread."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(INTERVAL):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disturbed", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"2 or more (default: {PAIRS})")
    parser.add_argument("--rows", default=",".join(ROWS), metavar="NAME,…", help="these rows only")
    parser.add_argument("--idle", action="store_true", help=f"read nothing for {IDLE:.0f} seconds")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep the store's data in DIR")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""What is done with a mount, each in a process of its own that times itself.

A workload is handed the root of the mount and returns what it saw, which the row of the table knows beforehand: a mount
that is fast because it is wrong does not pass.

    python -m benchmarks.workloads NAME ROOT        prints {"seconds": …, "seen": …}
"""

import http.client
import json
import os
import random
import re
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from benchmarks.seed import GIB, KIB, MIB, PAGE

_READ = MIB  # bytes a read asks for, as cp and dd bs=1M do
_SEED = 20240501  # every system is asked for the same random names and offsets


class Stopwatch:
    """Begins when the work does, and notes marks on the way."""

    def __init__(self) -> None:
        self.marks: dict[str, float] = {}
        self._start = time.perf_counter()

    def start(self) -> None:
        """What came before was preparation."""
        self._start = time.perf_counter()

    def mark(self, name: str) -> None:
        self.marks[name] = time.perf_counter() - self._start


Workload = Callable[[Path, Stopwatch], int]


def ls_long(root: Path, _: Stopwatch) -> int:
    return _lines(["ls", "-l", f"{root}/flat"]) - 1  # "total"


def find_tree(root: Path, _: Stopwatch) -> int:
    return _lines(["find", f"{root}/tree", "-type", "f", "-size", "+1k"])


def find_deep(root: Path, _: Stopwatch) -> int:
    return _lines(["find", f"{root}/deep", "-type", "f"])


def find_wide(root: Path, _: Stopwatch) -> int:
    return _lines(["find", str(root), "-type", "f"])


def stat_random(root: Path, watch: Stopwatch) -> int:
    names = random.Random(_SEED).sample(range(10_000), 300)
    paths = [root / f"flat/file-{number:05}.txt" for number in names]
    watch.start()
    return sum(path.stat().st_size > 0 for path in paths)


def stat_missing(root: Path, watch: Stopwatch) -> int:
    paths = [root / f"few/missing-{number:03}.txt" for number in range(200)]
    watch.start()
    return sum(not path.exists() for path in paths)


def ls_million(root: Path, watch: Stopwatch) -> int:
    """Counts what `ls -f` prints; marks the first of it."""
    with subprocess.Popen(["ls", "-f", root], stdout=subprocess.PIPE, bufsize=0, env=_PLAIN) as ls:
        assert ls.stdout is not None
        some = ls.stdout.read(64 * KIB)
        watch.mark("first")
        names = -sum(
            name in {b".", b".."} for name in some.split(b"\n")
        )  # not every mount lists them
        while some:
            names += some.count(b"\n")
            some = ls.stdout.read(64 * KIB)
    return names if ls.returncode == 0 else -1


def pair(root: Path, _: Stopwatch) -> int:
    """One small directory listed, one name in another looked up."""
    names = list((root / "small-0100").iterdir())
    return len(names) + ((root / "small-0700/file-1.txt").stat().st_size > 0)


def sequential(root: Path, _: Stopwatch) -> int:
    return _read_whole(root / "gibibyte/file.bin")


def four(root: Path, _: Stopwatch) -> int:
    return _read_together([root / f"quarters/file-{number}.bin" for number in range(4)])


def ten(root: Path, _: Stopwatch) -> int:
    return _read_together([root / "quarters/file-0.bin"] * 10)


def many(root: Path, _: Stopwatch) -> int:
    return _read_together([root / f"many/file-{number:02}.bin" for number in range(64)])


def quarter(root: Path, _: Stopwatch) -> int:
    return _read_whole(root / "quarters/file-0.bin")


def first_byte(root: Path, watch: Stopwatch) -> int:
    path = root / "gibibyte/file.bin"
    watch.start()
    with path.open("rb", buffering=0) as file:
        return len(file.read(1))


def random_reads(root: Path, watch: Stopwatch) -> int:
    """100 single reads of 4 KiB; counts those that brought the page that was asked for."""
    offsets = random.Random(_SEED).choices(range(0, GIB, PAGE), k=100)
    watch.start()
    file = os.open(root / "gibibyte/file.bin", os.O_RDONLY)
    try:
        return sum(_begins_at(os.pread(file, PAGE, offset), offset) for offset in offsets)
    finally:
        os.close(file)


def small_files(root: Path, _: Stopwatch) -> int:
    """Every file read whole, in the order of os.walk and sorted names."""
    total = 0
    for directory, subdirectories, names in os.walk(root / "small"):
        subdirectories.sort()
        for name in sorted(names):
            with Path(directory, name).open("rb", buffering=0) as file:
                total += len(file.readall())
    return total


def serial_list(url: str, _: Stopwatch) -> int:
    """Not of a mount: a plain client that asks *url* for a bucket's pages, one after another."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
    names, follow = 0, ""
    while True:
        connection.request("GET", f"/flat?list-type=2{follow}")
        page = connection.getresponse().read()
        names += page.count(b"<Key>")
        token = re.search(rb"<NextContinuationToken>(.*?)</NextContinuationToken>", page)
        if token is None:
            return names
        follow = f"&continuation-token={urllib.parse.quote(token[1])}"


_PLAIN = os.environ | {"LC_ALL": "C"}  # no time goes into the order of a language


def _lines(command: list[str]) -> int:
    """How many lines *command* prints; -1 where it fails."""
    ended = subprocess.run(command, stdout=subprocess.PIPE, env=_PLAIN, check=False)
    return ended.stdout.count(b"\n") if ended.returncode == 0 else -1


def _read_whole(path: Path) -> int:
    """Bytes read; each read must begin with its own offset."""
    total, buffer = 0, bytearray(_READ)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            if total % PAGE == 0 and not _begins_at(buffer, total):
                raise ValueError(f"wrong bytes at {total} of {path.name}")
            total += count
    return total


def _read_together(paths: list[Path]) -> int:
    """Bytes that a thread for each of *paths* read."""
    totals = [0] * len(paths)

    def read(number: int) -> None:
        totals[number] = _read_whole(paths[number])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(totals)


def _begins_at(page: bytes | bytearray, offset: int) -> bool:
    """Whether *page* is what `seed.body` has at *offset*."""
    return bytes(page[:8]) == struct.pack("<Q", offset)


_ALL: tuple[Workload, ...] = (
    *(ls_long, find_tree, find_deep, find_wide, stat_random, stat_missing, ls_million, pair),
    *(sequential, four, ten, many, quarter, first_byte, random_reads, small_files),
)
WORKLOADS = {workload.__name__: workload for workload in _ALL}


def main() -> None:
    """Does one workload and prints its time and what it saw."""
    name, root = sys.argv[1:]
    watch = Stopwatch()
    seen = serial_list(root, watch) if name == "serial_list" else WORKLOADS[name](Path(root), watch)
    watch.mark("seconds")
    print(json.dumps({"seen": seen, **watch.marks}))


if __name__ == "__main__":
    main()

"""Parts of workloads: the stopwatch, and reads that check what they return."""

import os
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.content import MIB, PAGE, body

READ = MIB  # bytes of a read, as in cp and dd bs=1M
_LARGEST = body(0, MIB)  # each object of the small files begins like any other


class Stopwatch:
    """Stopwatch that starts with the work, and records marks."""

    def __init__(self) -> None:
        self.marks: dict[str, float] = {}
        self._start = time.perf_counter()

    def start(self) -> None:
        """Start: everything before was preparation."""
        self._start = time.perf_counter()

    def mark(self, name: str) -> None:
        self.marks[name] = time.perf_counter() - self._start

    def stop(self) -> None:
        """Stop, unless it is stopped: everything after is a check."""
        if "seconds" not in self.marks:
            self.mark("seconds")


Workload = Callable[[Path, Stopwatch], int]

PLAIN = os.environ | {"LC_ALL": "C"}  # no time goes into a locale's order


def lines(command: Sequence[str | bytes | Path]) -> int:
    """Count the lines that *command* prints; -1 if it fails."""
    ended = subprocess.run(command, stdout=subprocess.PIPE, env=PLAIN, check=False)
    return ended.stdout.count(b"\n") if ended.returncode == 0 else -1


def read_whole(path: Path) -> int:
    """Read a file and count its bytes; each read must start with its own offset."""
    return read_span(path, 0, None)


def read_span(path: Path, start: int, length: int | None) -> int:
    """Read *length* bytes, a multiple of 1 MiB, or all from *start*; the same check."""
    total, buffer = 0, bytearray(READ)
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while total != length and (count := file.readinto(buffer)):
            check_beginning(buffer, start + total, path.name)
            total += count
    return total


def check_beginning(page: bytes | bytearray, offset: int, name: str) -> None:
    """Raise ValueError if *page*, read at *offset*, does not start as an object does there."""
    if offset % PAGE == 0 and not begins_at(page, offset):
        raise ValueError(f"wrong bytes at {offset} of {name}")


def begins_at(page: bytes | bytearray, offset: int) -> bool:
    """Return whether *page* is what `content.body` has at *offset*."""
    return bytes(page[:8]) == struct.pack("<Q", offset)


def checked_length(content: bytes, name: str) -> int:
    """Return the length of a whole small file; raises ValueError if a byte of it is wrong."""
    if not _LARGEST.startswith(content):
        raise ValueError(f"wrong bytes in {name}")
    return len(content)


def together(work: Callable[[int], int], count: int) -> int:
    """Do *work* for each number below *count* in a thread of its own, and add what it returns."""
    totals = [0] * count

    def run(number: int) -> None:
        totals[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(totals)

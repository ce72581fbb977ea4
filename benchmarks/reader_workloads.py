"""Workloads that read many files, or large ones, at once: shuffled, in streams, at random."""

import multiprocessing
import os
import random
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.content import GIB, MIB, PAGE
from benchmarks.datasets import CHOSEN, SEED
from benchmarks.workload import (
    PLAIN,
    READ,
    Stopwatch,
    begins_at,
    check_beginning,
    checked_length,
    read_span,
    together,
)

_PROCESSES = 8
_HUGE = 64 * GIB


def shuffle(root: Path, watch: Stopwatch) -> int:
    """List the small files, and read each once at random, as loaders of training data do."""
    with multiprocessing.get_context("fork").Pool(_PROCESSES) as pool:
        watch.start()
        paths = sorted(
            os.path.join(directory, name)  # noqa: PTH118 - as os.walk has them
            for directory, _, names in os.walk(root / "small")
            for name in names
        )
        random.Random(SEED).shuffle(paths)
        shares = [paths[number::_PROCESSES] for number in range(_PROCESSES)]
        total = sum(pool.imap_unordered(_read_share, shares))
        watch.stop()
    return total


def _read_share(paths: Sequence[str]) -> int:
    return sum(checked_length(Path(path).read_bytes(), path) for path in paths)


def choice(root: Path, watch: Stopwatch) -> int:
    """Read 20 of 10,000 files."""
    keys = sorted(CHOSEN)
    random.Random(SEED).shuffle(keys)
    watch.start()
    return sum(checked_length((root / key).read_bytes(), key) for key in keys)


def streams(root: Path, _: Stopwatch) -> int:
    """Read 32 files with a dd each, and add the bytes that they report."""
    commands = [
        ["dd", f"if={root}/many/file-{number:02}.bin", "of=/dev/null", "bs=1M"]
        for number in range(32)
    ]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, env=PLAIN) for command in commands]
    reported = [process.communicate()[1] for process in started]
    if any(process.returncode for process in started):
        return -1
    return sum(int(found[1]) for text in reported if (found := re.search(rb"(\d+) bytes", text)))


def readers_of_huge(root: Path, _: Stopwatch) -> int:
    """Read 32 MiB of each of 64 objects, each somewhere else."""
    return together(
        lambda number: read_span(root / f"object-{number:07}.bin", number * GIB, 32 * MIB),
        64,
    )


def random_together(root: Path, watch: Stopwatch) -> int:
    """Do 500 single reads of 4 KiB with 16 threads, and count those that are right."""
    offsets = random.Random(SEED).choices(range(0, _HUGE, PAGE), k=500)
    watch.start()
    file = os.open(root / "object-0000000.bin", os.O_RDONLY)
    try:
        return together(
            lambda number: sum(
                begins_at(os.pread(file, PAGE, offset), offset) for offset in offsets[number::16]
            ),
            16,
        )
    finally:
        os.close(file)


def cat_ten(root: Path, _: Stopwatch) -> int:
    return _cat([root / f"tens/file-{number}.bin" for number in range(10)], 50 * MIB)


def cat_one(root: Path, _: Stopwatch) -> int:
    return _cat([root / "tens/all.bin"], 500 * MIB)


def _cat(paths: Sequence[Path], size: int) -> int:
    """Count what `cat` prints of files of *size* bytes each, and check each MiB."""
    total = 0
    with subprocess.Popen(["cat", *paths], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        while some := cat.stdout.read(READ):
            check_beginning(some, total % size, "cat")
            total += len(some)
    return total if cat.returncode == 0 else -1

"""Workloads on a mount, each in a process that times itself.

A workload receives the root of the mount and returns what it saw, which the row of the table knows
in advance: a mount that is fast because it is wrong fails.

python -m benchmarks.workloads NAME ROOT        prints {"seconds": …, "seen": …}
"""

import http.client
import json
import os
import random
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

from benchmarks.content import GIB, KIB, PAGE
from benchmarks.datasets import SEED
from benchmarks.program_workloads import (
    duckdb,
    ffprobe,
    git_log,
    h5dump,
    sqlite,
    tar_list,
    unzip,
)
from benchmarks.reader_workloads import (
    cat_one,
    cat_ten,
    choice,
    random_together,
    readers_of_huge,
    shuffle,
    streams,
)
from benchmarks.tree_workloads import cp_tree, grep_tree, rsync_tree, tar_tree
from benchmarks.workload import PLAIN, Stopwatch, Workload, begins_at, lines, read_whole, together


def ls_long(root: Path, _: Stopwatch) -> int:
    return lines(["ls", "-l", f"{root}/flat"]) - 1  # "total"


def find_tree(root: Path, _: Stopwatch) -> int:
    return lines(["find", f"{root}/tree", "-type", "f", "-size", "+1k"])


def find_deep(root: Path, _: Stopwatch) -> int:
    return lines(["find", f"{root}/deep", "-type", "f"])


def find_wide(root: Path, _: Stopwatch) -> int:
    return lines(["find", str(root), "-type", "f"])


def stat_random(root: Path, watch: Stopwatch) -> int:
    names = random.Random(SEED).sample(range(10_000), 300)
    paths = [root / f"flat/file-{number:05}.txt" for number in names]
    watch.start()
    return sum(path.stat().st_size > 0 for path in paths)


def stat_missing(root: Path, watch: Stopwatch) -> int:
    paths = [root / f"few/missing-{number:03}.txt" for number in range(200)]
    watch.start()
    return sum(not path.exists() for path in paths)


def ls_million(root: Path, watch: Stopwatch) -> int:
    """Count the lines of `ls -f`, and mark the first."""
    with subprocess.Popen(["ls", "-f", root], stdout=subprocess.PIPE, bufsize=0, env=PLAIN) as ls:
        assert ls.stdout is not None
        some = ls.stdout.read(64 * KIB)
        watch.mark("first")
        names = -sum(
            name in {b".", b".."} for name in some.split(b"\n")
        )  # some mounts do not list them
        while some:
            names += some.count(b"\n")
            some = ls.stdout.read(64 * KIB)
    return names if ls.returncode == 0 else -1


def pair(root: Path, _: Stopwatch) -> int:
    """List one small directory, and look up a name in another."""
    names = list((root / "small-0100").iterdir())
    return len(names) + ((root / "small-0700/file-1.txt").stat().st_size > 0)


def sequential(root: Path, _: Stopwatch) -> int:
    return read_whole(root / "gibibyte/file.bin")


def four(root: Path, _: Stopwatch) -> int:
    return _read_together([root / f"quarters/file-{number}.bin" for number in range(4)])


def ten(root: Path, _: Stopwatch) -> int:
    return _read_together([root / "quarters/file-0.bin"] * 10)


def many(root: Path, _: Stopwatch) -> int:
    return _read_together([root / f"many/file-{number:02}.bin" for number in range(64)])


def quarter(root: Path, _: Stopwatch) -> int:
    return read_whole(root / "quarters/file-0.bin")


def first_byte(root: Path, watch: Stopwatch) -> int:
    path = root / "gibibyte/file.bin"
    watch.start()
    with path.open("rb", buffering=0) as file:
        return len(file.read(1))


def random_reads(root: Path, watch: Stopwatch) -> int:
    """Do 100 single reads of 4 KiB, and count those that returned the requested page."""
    return _read_at_random(root, watch, 100)


def random_thousand(root: Path, watch: Stopwatch) -> int:
    """The same, a thousand."""
    return _read_at_random(root, watch, 1_000)


def _read_at_random(root: Path, watch: Stopwatch, count: int) -> int:
    offsets = random.Random(SEED).choices(range(0, GIB, PAGE), k=count)
    watch.start()
    file = os.open(root / "gibibyte/file.bin", os.O_RDONLY)
    try:
        return sum(begins_at(os.pread(file, PAGE, offset), offset) for offset in offsets)
    finally:
        os.close(file)


def small_files(root: Path, _: Stopwatch) -> int:
    """Read every file whole, in the order of os.walk and sorted names."""
    total = 0
    for directory, subdirectories, names in os.walk(root / "small"):
        subdirectories.sort()
        for name in sorted(names):
            with Path(directory, name).open("rb", buffering=0) as file:
                total += len(file.readall())
    return total


def serial_list(url: str, _: Stopwatch) -> int:
    """Request the pages of a bucket at *url* one after another, without a mount."""
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc)
    names, follow = 0, ""
    while True:
        connection.request("GET", f"{address.path}?list-type=2{follow}")
        page = connection.getresponse().read()
        names += page.count(b"<Key>")
        token = re.search(rb"<NextContinuationToken>(.*?)</NextContinuationToken>", page)
        if token is None:
            return names
        follow = f"&continuation-token={urllib.parse.quote(token[1])}"


def _read_together(paths: list[Path]) -> int:
    """Read *paths* with a thread each, and count all bytes."""
    return together(lambda number: read_whole(paths[number]), len(paths))


_ALL: tuple[Workload, ...] = (
    *(ls_long, find_tree, find_deep, find_wide, stat_random, stat_missing, ls_million, pair),
    *(sequential, four, ten, many, quarter, first_byte, small_files),
    *(random_reads, random_thousand),
    *(shuffle, choice, streams, readers_of_huge, random_together, cat_ten, cat_one),
    *(tar_tree, grep_tree, cp_tree, rsync_tree),
    *(unzip, tar_list, ffprobe, sqlite, git_log, h5dump, duckdb),
)
WORKLOADS = {workload.__name__: workload for workload in _ALL}


def main() -> None:
    """Run one workload, and print its time and what it saw."""
    name, root = sys.argv[1:]
    watch = Stopwatch()
    seen = serial_list(root, watch) if name == "serial_list" else WORKLOADS[name](Path(root), watch)
    watch.stop()
    print(json.dumps({"seen": seen, **watch.marks}))


if __name__ == "__main__":
    main()

"""Workloads that are programs as people run them on one large file or a few.

Each returns a number that only a right answer of the program gives. The program was run once before
the stopwatch starts, so that none is measured that has to be read from the disk first.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.workload import PLAIN, Stopwatch, lines

OWNER = 77


def unzip(root: Path, watch: Stopwatch) -> int:
    """Return the number of lines with a member."""
    _load(["unzip", "-v"], watch)
    return _output(["unzip", "-l", root / "zipped/archive.zip"]).count("member-")


def tar_list(root: Path, watch: Stopwatch) -> int:
    _load(["tar", "--version"], watch)
    return lines(["tar", "-tf", root / "tarred/archive.tar"])


def ffprobe(root: Path, watch: Stopwatch) -> int:
    """Return the number of frames that the index of the video counts."""
    _load(["ffprobe", "-version"], watch)
    shown = ["-show_entries", "stream=nb_frames", "-of", "csv=p=0"]
    return int(_output(["ffprobe", "-v", "error", *shown, root / "video/video.mov"]))


def sqlite(root: Path, watch: Stopwatch) -> int:
    _load(["sqlite3", "-version"], watch)
    query = f"SELECT count(*) FROM items WHERE owner = {OWNER} AND length(body) = 180"
    return int(_output(["sqlite3", "-readonly", root / "database/items.sqlite", query]))


def git_log(root: Path, watch: Stopwatch) -> int:
    _load(["git", "--version"], watch)
    repository = ["-c", "safe.directory=*", "-C", str(root / "repository")]
    return lines(["git", *repository, "log", "--format=%h %an %s"])


def h5dump(root: Path, watch: Stopwatch) -> int:
    """Return the number of arrays of which the header is printed."""
    _load(["h5dump", "--version"], watch)
    return len(re.findall(r'\bDATASET "', _output(["h5dump", "-H", root / "arrays/arrays.h5"])))


def duckdb(root: Path, watch: Stopwatch) -> int:
    """Return the number of rows in an aggregate over all files."""
    import duckdb as database  # noqa: PLC0415  # only where this workload runs

    watch.start()
    files = f"read_parquet('{root}/parquet/*.parquet')"
    query = f"SELECT owner, avg(value), count(*) FROM {files} GROUP BY owner"
    groups = database.connect().execute(query).fetchall()
    return sum(count for _, _, count in groups)


def _load(command: Sequence[str], watch: Stopwatch) -> None:
    """Run *command*, which reads its program and libraries, and then start *watch*."""
    subprocess.run(command, capture_output=True, check=True)
    watch.start()


def _output(command: Sequence[str | Path]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, env=PLAIN, check=True, text=True).stdout

"""Inputs of programs: archives, a video, databases, a repository, made by their own tools.

Each function writes files into an empty folder, the same ones each time as far as the tool does.
"""

import random
import shutil
import sqlite3
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.content import KIB, MIB, Body

MEMBERS = 10_000  # of the zip
ARCHIVED = 1_000  # files of the tar
FRAMES = 300  # of the video
OWNED = 100  # rows of each owner in the database
COMMITS = 20_000
ARRAYS = 300  # of the HDF5 file
PARQUET_FILES, PARQUET_ROWS = 4, 1_000_000  # files, and rows of each
_ROWS = 1_000_000
_ARRAYS_AT_ONCE = 25  # fewer than the 30 that h5import refuses


def zipped(folder: Path) -> None:
    """100 MiB in 10,000 members."""
    content = Body(10 * KIB).read()
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        for number in range(MEMBERS):
            archive.writestr(f"part-{number % 100:02}/member-{number:05}.bin", content)


def tarred(folder: Path) -> None:
    """200 MiB in 1,000 members."""
    with tarfile.open(folder / "archive.tar", "w") as archive:
        for number in range(ARCHIVED):
            member = tarfile.TarInfo(f"part-{number % 10}/member-{number:04}.bin")
            member.size = 200 * KIB
            archive.addfile(member, Body(member.size))


def video(folder: Path) -> None:
    """130 MiB, with its index at the end, as encoders write it."""
    source = f"testsrc2=size=640x360:rate=30:duration={FRAMES // 30}"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "rawvideo"]
    subprocess.run([*command, "-pix_fmt", "uyvy422", folder / "video.mov"], check=True)


def database(folder: Path) -> None:
    """One million rows of 200 bytes; those of an owner are all over the table."""
    chance = random.Random(1)
    with sqlite3.connect(folder / "items.sqlite") as connection:
        connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, owner INTEGER, body TEXT)")
        rows = ((n, n * 7919 % (_ROWS // OWNED), chance.randbytes(90).hex()) for n in range(_ROWS))
        connection.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
        connection.execute("CREATE INDEX items_owner ON items (owner)")
    connection.close()


def repository(folder: Path) -> None:
    """A bare repository of 20,000 commits in one pack."""
    imported = "".join(_commits()).encode()
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", folder], check=True)
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=imported, check=True)
    subprocess.run(["git", "repack", "-adq"], cwd=folder, check=True)
    shutil.rmtree(folder / "hooks", ignore_errors=True)


def _commits() -> Iterator[str]:
    chance = random.Random(2)
    for number in range(COMMITS):
        message, content = f"Change number {number}\n", chance.randbytes(500).hex()
        yield "commit refs/heads/main\n"
        yield f"committer A <a@example.org> {1_700_000_000 + number} +0000\n"
        yield f"data {len(message)}\n{message}"
        yield f"M 100644 inline file-{number % 500:03}.txt\ndata {len(content)}\n{content}\n"


def arrays(folder: Path) -> None:
    """75 MiB in 300 arrays, whose headers are all over the file."""
    source = folder / "array.bin"
    source.write_bytes(Body(MIB // 4).read())
    for first in range(0, ARRAYS, _ARRAYS_AT_ONCE):
        given = [
            argument
            for number in range(first, first + _ARRAYS_AT_ONCE)
            for argument in (
                *(source, "-d", "256,128", "-p", f"group-{number // 30:02}/array-{number:03}"),
                *("-t", "FP", "-s", "64"),
            )
        ]
        subprocess.run(["h5import", *given, "-o", folder / "arrays.h5"], check=True)
    source.unlink()


def parquet(folder: Path) -> None:
    """Four files of a million rows, some 40 MiB each; a query needs two of five columns."""
    import duckdb  # noqa: PLC0415  # only where this dataset is made

    columns = (
        "range AS id, range % 97 AS owner, random() AS value, random() AS other, "
        "md5(range::VARCHAR) AS name"
    )
    for number in range(PARQUET_FILES):
        first = number * PARQUET_ROWS
        rows = f"SELECT {columns} FROM range({first}, {first + PARQUET_ROWS})"
        duckdb.connect().execute(
            f"COPY ({rows}) TO '{folder}/part-{number}.parquet' (FORMAT parquet)"
        )


INPUTS: Mapping[str, Callable[[Path], None]] = {
    make.__name__: make for make in (zipped, tarred, video, database, repository, arrays, parquet)
}

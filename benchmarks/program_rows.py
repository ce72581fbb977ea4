"""Rows of programs as people run them on one large file or a few, each beside every other mount."""

from benchmarks import inputs
from benchmarks.row import FAR, NEAR, PEERS, Limits, Row


def _program_row(
    name: str,
    command: str,
    dataset: str,
    seen: int,
    *,
    packages: tuple[str, ...] = (),
    wheels: tuple[str, ...] = (),
) -> Row:
    return Row(
        name=name,
        title=command,
        workload=name.replace("-", "_"),
        dataset=dataset,
        seen=seen,
        beside=PEERS,
        links={FAR: Limits(ratio=1.0), NEAR: Limits(ratio=1.0)},
        packages=packages,
        wheels=wheels,
        is_program=True,
    )


PROGRAM_ROWS = (
    _program_row("unzip", "unzip -l", "zipped", inputs.MEMBERS, packages=("unzip",)),
    _program_row("tar-list", "tar tf", "tarred", inputs.ARCHIVED),
    _program_row("ffprobe", "ffprobe", "video", inputs.FRAMES, packages=("ffmpeg",)),
    _program_row("sqlite", "sqlite3 select", "database", inputs.OWNED, packages=("sqlite3",)),
    _program_row("git-log", "git log", "repository", inputs.COMMITS, packages=("git",)),
    _program_row("h5dump", "h5dump -H", "arrays", inputs.ARRAYS, packages=("hdf5-tools",)),
    _program_row(
        "duckdb",
        "duckdb, aggregate of four files",
        "parquet",
        inputs.PARQUET_FILES * inputs.PARQUET_ROWS,
        wheels=("duckdb>=1.1",),
    ),
)

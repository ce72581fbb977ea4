"""Workloads: what a user does while the store misbehaves, and the check of what they see.

Knows a directory of the mount and the bucket behind it. Every system call releases the GIL,
because the store serves from threads of this process.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.bucket import Bucket

CHUNK = 1 << 17
LARGE = b"".join(
    number.to_bytes(8, "big") for number in range(3 << 17)
)  # 3 MiB, in which no two words are alike
SMALL = LARGE[:50_000]
NAMES = ("a", "a b+c%20d", "b", "c-1", "c/x", "d", "e/y", "f", "g/z", "h")


class WrongContentError(AssertionError):
    """The user saw what was never in the bucket: never allowed."""


@dataclass(frozen=True, slots=True)
class WorkDirectory:
    """Directory of the mount that a workload uses, and its prefix of the bucket."""

    mountpoint: Path
    bucket: Bucket
    prefix: str

    def path(self, name: str) -> Path:
        return self.mountpoint / self.prefix / name


@dataclass(frozen=True, slots=True)
class Workload:
    """What a user does: *prepare* before the fault, *run* during and after it.

    *run* returns if all is right, raises OSError if a system call fails, else WrongContentError.
    *ttl* is the mount's metadata lifetime in seconds; each of *calls* system calls may take the
    timeout.
    """

    word: str
    objects: Mapping[str, bytes]
    run: Callable[[WorkDirectory], None]
    prepare: Callable[[WorkDirectory], None] = lambda _: None
    ttl: int = 600  # seconds; longer than the suite, so that nothing expires within a scenario
    calls: int = 1


def read_file(name: str) -> Callable[[WorkDirectory], None]:
    """Read a file to its end, and check that it is one whole version."""

    def run(directory: WorkDirectory) -> None:
        candidates = directory.bucket.bodies(directory.prefix + name)
        descriptor = os.open(directory.path(name), os.O_RDONLY)
        try:
            _read_to_the_end(
                descriptor, candidates + directory.bucket.bodies(directory.prefix + name), directory
            )
        finally:
            os.close(descriptor)

    return run


def _read_to_the_end(descriptor: int, candidates: list[bytes], directory: WorkDirectory) -> None:
    offset = 0
    while chunk := os.pread(descriptor, CHUNK, offset):
        candidates = [body for body in candidates if body[offset : offset + len(chunk)] == chunk]
        offset += len(chunk)
        if not candidates:
            raise WrongContentError(
                f"bytes before {offset} of a file below {directory.prefix} match no single version"
            )
    if all(len(body) != offset for body in candidates):
        raise WrongContentError(f"a file below {directory.prefix} ends at {offset}")


def list_directory(directory: WorkDirectory) -> None:
    """Check the names, kinds and sizes of a directory: all of them and nothing else."""
    with os.scandir(directory.path("")) as entries:
        seen = sorted(
            (entry.name, entry.is_dir(), entry.stat(follow_symlinks=False).st_size)
            for entry in entries
        )
    expected = sorted({_shown(name) for name in NAMES})
    if seen != expected:
        raise WrongContentError(f"{directory.prefix} shows {seen}, not {expected}")


def _shown(name: str) -> tuple[str, bool, int]:
    head, is_below, _ = name.partition("/")
    return (head, True, 0) if is_below else (head, False, len(SMALL))


def stat_file(name: str) -> Callable[[WorkDirectory], None]:
    def run(directory: WorkDirectory) -> None:
        size = directory.path(name).stat().st_size
        if size not in map(len, directory.bucket.bodies(directory.prefix + name)):
            raise WrongContentError(f"{name} below {directory.prefix} has {size} bytes")

    return run


def look_for_nothing(directory: WorkDirectory) -> None:
    """Check that a lookup of an absent name fails with ENOENT."""
    try:
        directory.path("nothing").stat()
    except FileNotFoundError:
        return
    raise WrongContentError("a name is shown that is not there")


def know_the_root(directory: WorkDirectory) -> None:
    """Look up a name in the root, so that only the workload's own directory is unknown."""
    (directory.mountpoint / "nothing").exists()


def stat_many(directory: WorkDirectory) -> None:
    """Look up the files of a directory one by one, the last first."""
    for name in reversed([name for name in NAMES if "/" not in name]):
        stat_file(name)(directory)


READ = Workload(
    "reading a large file", {"large": LARGE}, read_file("large"), prepare=stat_file("large")
)
READ_SMALL = Workload(
    "reading a small file", {"small": SMALL}, read_file("small"), prepare=stat_file("small")
)
REOPEN = Workload(
    "opening again", {"small": SMALL}, read_file("small"), prepare=read_file("small"), ttl=0
)
STAT = Workload("looking up", {"one": SMALL, "two": SMALL}, stat_file("one"), prepare=know_the_root)
OPEN = Workload("opening", {"one": SMALL}, read_file("one"), prepare=know_the_root)
LOOK = Workload(
    "looking for nothing", {"one": SMALL}, look_for_nothing, calls=2
)  # a lookup of the directory, and one of the name
LIST = Workload(
    "listing", dict.fromkeys(NAMES, SMALL), list_directory, calls=2
)  # a lookup, then a readdir
STAT_MANY = Workload(
    "looking up many", dict.fromkeys(NAMES, SMALL), stat_many, prepare=know_the_root, calls=8
)

"""What a user does while the store misbehaves, and how it is known whether it came out right.

Knows a directory of the mount and the bucket behind it. System calls that let other threads run are used throughout, as
the store serves from threads of this process.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.bucket import Bucket

CHUNK = 1 << 17
LARGE = b"".join(
    number.to_bytes(8, "big") for number in range(3 << 17)
)  # 3 MiB, no two words alike
SMALL = LARGE[:50_000]
NAMES = ("a", "a b+c%20d", "b", "c-1", "c/x", "d", "e/y", "f", "g/z", "h")


class WrongContentError(AssertionError):
    """The user was shown what never was in the bucket. There is no excuse."""


@dataclass(frozen=True, slots=True)
class WorkDirectory:
    """Where a workload works: a directory of the mount, which is a prefix of the bucket."""

    mountpoint: Path
    bucket: Bucket
    prefix: str

    def path(self, name: str) -> Path:
        return self.mountpoint / self.prefix / name


@dataclass(frozen=True, slots=True)
class Workload:
    """What a user does, said in a word: *prepare* while the store behaves, *run* while it does not, and again after.

    *run* returns where all is right, raises OSError where the user is told of a failure, and WrongContentError otherwise. *ttl* is
    the mount's metadata lifetime in seconds, *calls* how many system calls of its may each take the mount's timeout.
    """

    word: str
    objects: Mapping[str, bytes]
    run: Callable[[WorkDirectory], None]
    prepare: Callable[[WorkDirectory], None] = lambda _: None
    ttl: int = 60
    calls: int = 1


def read_file(name: str) -> Callable[[WorkDirectory], None]:
    """Read a file to its end: one version of it, whole."""

    def run(place: WorkDirectory) -> None:
        candidates = place.bucket.bodies(place.prefix + name)
        descriptor = os.open(place.path(name), os.O_RDONLY)
        try:
            _read_to_the_end(
                descriptor, candidates + place.bucket.bodies(place.prefix + name), place
            )
        finally:
            os.close(descriptor)

    return run


def _read_to_the_end(descriptor: int, candidates: list[bytes], place: WorkDirectory) -> None:
    offset = 0
    while chunk := os.pread(descriptor, CHUNK, offset):
        candidates = [body for body in candidates if body[offset : offset + len(chunk)] == chunk]
        offset += len(chunk)
        if not candidates:
            raise WrongContentError(
                f"bytes before {offset} of a file below {place.prefix} are of no version, or of several"
            )
    if all(len(body) != offset for body in candidates):
        raise WrongContentError(f"a file below {place.prefix} ends at {offset}")


def list_directory(place: WorkDirectory) -> None:
    """Names, kinds and sizes of a directory, all of them and nothing else."""
    with os.scandir(place.path("")) as entries:
        seen = sorted(
            (entry.name, entry.is_dir(), entry.stat(follow_symlinks=False).st_size)
            for entry in entries
        )
    expected = sorted({_shown(name) for name in NAMES})
    if seen != expected:
        raise WrongContentError(f"{place.prefix} shows {seen}, not {expected}")


def _shown(name: str) -> tuple[str, bool, int]:
    head, is_below, _ = name.partition("/")
    return (head, True, 0) if is_below else (head, False, len(SMALL))


def stat_file(name: str) -> Callable[[WorkDirectory], None]:
    def run(place: WorkDirectory) -> None:
        size = place.path(name).stat().st_size
        if size not in map(len, place.bucket.bodies(place.prefix + name)):
            raise WrongContentError(f"{name} below {place.prefix} has {size} bytes")

    return run


def look_for_nothing(place: WorkDirectory) -> None:
    """A name that is not there: that is said, and nothing else is right."""
    try:
        place.path("nothing").stat()
    except FileNotFoundError:
        return
    raise WrongContentError("a name is shown that is not there")


def know_the_root(place: WorkDirectory) -> None:
    """So that the directory of a workload is known, and its first page is not."""
    (place.mountpoint / "nothing").exists()


def stat_many(place: WorkDirectory) -> None:
    """Look up the files of a directory one by one, the last first."""
    for name in reversed([name for name in NAMES if "/" not in name]):
        stat_file(name)(place)


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
LOOK = Workload("looking for nothing", {"one": SMALL}, look_for_nothing)
LIST = Workload(
    "listing", dict.fromkeys(NAMES, SMALL), list_directory, calls=2
)  # a lookup, then a readdir
STAT_MANY = Workload(
    "looking up many", dict.fromkeys(NAMES, SMALL), stat_many, prepare=know_the_root, calls=8
)

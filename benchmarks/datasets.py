"""Datasets of the workloads: keys and sizes of their objects, or the files of programs."""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.content import GIB, MIB
from benchmarks.inputs import INPUTS

Sizes = Iterator[tuple[str, int]]  # keys with their sizes


def flat() -> Sizes:
    """10,000 in one directory."""
    return ((f"flat/file-{n:05}.txt", 500 + n * 37 % 3000) for n in range(10_000))


def tree() -> Sizes:
    """10,000 in 1,100 directories: 100, with ten each, with ten files each."""
    numbers = itertools.product(range(100), range(10), range(10))
    return (
        (f"tree/{a:03}/{b:02}/file-{c}.txt", 500 + (a * 100 + b * 10 + c) * 37 % 3000)
        for a, b, c in numbers
    )


def deep() -> Sizes:
    """2,000 in 100 nested directories."""
    paths = itertools.accumulate((f"level-{n:03}/" for n in range(1, 100)), initial="deep/")
    return ((f"{path}file-{n:02}.txt", 600) for path in paths for n in range(20))


def few() -> Sizes:
    """50 in one directory, for lookups of absent names beside them."""
    return ((f"few/file-{n:02}.txt", 600) for n in range(50))


def wide() -> Sizes:
    """One directory of 100,000, and 1,000 directories of three, in the root."""
    big = ((f"big/file-{n:06}.txt", 600) for n in range(100_000))
    return itertools.chain(
        big, ((f"small-{n:04}/file-{m}.txt", 600) for n in range(1000) for m in range(3))
    )


def small() -> Sizes:
    """1,000 of 0.5 to 300 KB, 27 MiB in all, in ten directories; most are small, as files are."""
    curve = 1.82  # makes it 27 MiB
    return (
        (f"small/{n % 10}/file-{n // 10:02}.bin", int(500 * 600 ** ((n / 999) ** curve)))
        for n in range(1000)
    )


def gibibyte() -> Sizes:
    yield "gibibyte/file.bin", GIB


def quarters() -> Sizes:
    """Four of 256 MiB."""
    return ((f"quarters/file-{n}.bin", 256 * MIB) for n in range(4))


def many() -> Sizes:
    """64 of 16 MiB: four times the default memory limit."""
    return ((f"many/file-{n:02}.bin", 16 * MIB) for n in range(64))


def tens() -> Sizes:
    """Ten of 50 MiB, and before them one of 500 MiB: nothing follows the ten, as in `cat *`."""
    yield "tens/all.bin", 500 * MIB
    yield from ((f"tens/file-{n}.bin", 50 * MIB) for n in range(10))


def mixed() -> Sizes:
    """10,000 in 1,100 directories, files beside directories on each level."""
    directories = [
        "mixed",
        *(f"mixed/dir-{a:02}" for a in range(100)),
        *(f"mixed/dir-{a:02}/part-{b}" for a in range(100) for b in range(10)),
    ]
    files = (
        f"{directory}/file-{n:03}.txt"
        for directory in directories
        for n in range(100 if directory == "mixed" else 9)
    )
    return ((file, 500 + n * 37 % 3000) for n, file in enumerate(files))


SEED = 20240501  # every system gets the same random names and offsets
CHOSEN = frozenset(
    f"flat/file-{n:05}.txt" for n in random.Random(SEED).sample(range(10_000), 20)
)  # of flat


@dataclass(frozen=True, slots=True)
class Dataset:
    """Objects of a bucket, or files that *make* writes, under the dataset's name in it."""

    bucket: str
    objects: Callable[[], Sizes] = lambda: iter(())
    make: Callable[[Path], None] | None = None

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(size for _, size in self.objects())


DATASETS: Mapping[str, Dataset] = {
    **{
        make.__name__: Dataset("bench", make)
        for make in (flat, tree, deep, few, small, gibibyte, quarters, many, tens, mixed)
    },
    "wide": Dataset("wide", wide),
    **{name: Dataset("programs", make=make) for name, make in INPUTS.items()},
}

"""Damage to the files of a disk cache: bytes are right or absent, and the cache goes on."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from s3mount.disk.contents import Selection
from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.object_name import MIB
from s3mount.disk.usage import DiskLimits
from tests.cached_objects import (
    SIZES,
    content_of,
    generation_folder,
    is_whole,
    keep,
    object_name,
    open_index,
    right_bytes,
)

LIMITS = DiskLimits(256 * MIB)
NAMES = [object_name(number) for number in range(len(SIZES))]
RECORDS = {bytes([number]) * 20: bytes([number]) * 5_000 for number in range(20)}
SEEDS = range(25)

Damage = Callable[[random.Random, Path], None]


def flip(rng: random.Random, path: Path) -> None:
    """Flip a few bits."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        for _ in range(rng.choice([1, 1, 8])):
            offset = rng.randrange(max(size, 1))
            file.seek(offset)
            byte = file.read(1) or b"\0"
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1 << rng.randrange(8)]))


def truncate(rng: random.Random, path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(rng.choice([0, rng.randrange(path.stat().st_size + 1)]))


def zero(rng: random.Random, path: Path) -> None:
    """Write zeros over some pages."""
    with path.open("r+b") as file:
        file.seek(rng.randrange(path.stat().st_size + 1) // 4096 * 4096)
        file.write(bytes(4096 * rng.randrange(1, 40)))


def scramble(rng: random.Random, path: Path) -> None:
    """Write noise over some bytes."""
    with path.open("r+b") as file:
        file.seek(rng.randrange(path.stat().st_size + 1))
        file.write(rng.randbytes(rng.randrange(1, 20_000)))


def swap_pages(rng: random.Random, path: Path) -> None:
    """Swap two pages of the file."""
    pages = path.stat().st_size // 4096
    if pages < 2:
        return
    first, second = rng.sample(range(pages), 2)
    with path.open("r+b") as file:
        contents = []
        for page in (first, second):
            file.seek(page * 4096)
            contents.append(file.read(4096))
        for page, content in zip((second, first), contents, strict=True):
            file.seek(page * 4096)
            file.write(content)


def swap_files(rng: random.Random, path: Path) -> None:
    """Swap the bytes of two files."""
    cache = next(parent for parent in path.parents if parent.name == "cache")
    other = rng.choice([each for each in files_of(cache) if each != path] or [path])
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def remove(_: random.Random, path: Path) -> None:
    path.unlink()


DAMAGES: tuple[Damage, ...] = (flip, truncate, zero, scramble, swap_pages, swap_files, remove)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def _warnings(allowed_warnings: list[str]) -> None:
    allowed_warnings += ["damaged bytes of", "index of the disk cache", "set aside"]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with some objects and records, with all of its files, as a crash leaves it."""
    folder = tmp_path_factory.mktemp("pristine")
    cache = DiskCache(folder, LIMITS)
    for name in NAMES:
        keep(cache, name)
    cache.put_records(RECORDS)
    copy = tmp_path_factory.mktemp("copy") / "cache"
    shutil.copytree(folder, copy)  # with its -wal and -shm
    cache.close()
    return copy


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "cache"))


def damage_some(rng: random.Random, folder: Path, *, is_open: bool = False) -> None:
    """Damage one file or several, those of the index as often as all others.

    SQLite maps the -shm of an open index into memory, so it must not become shorter.
    """
    for _ in range(rng.choice([1, 1, 3])):
        generation = generation_folder(folder)
        index = [path for path in generation.iterdir() if path.name.startswith("index")]
        path = rng.choice([rng.choice(index), rng.choice(files_of(folder))])
        damage = rng.choice(DAMAGES)
        if is_open and damage in (truncate, swap_files):
            damage = scramble
        with suppress(FileNotFoundError):
            damage(rng, path)


def check(cache: DiskCache) -> None:
    """All that is served is right, and after being kept again, all is served."""
    for _ in range(2):  # damage of the index may be met a file at a time
        for name in NAMES:
            right_bytes(cache, name)
        for key, value in RECORDS.items():
            assert cache.get_record(key) in (None, value)
        with suppress(sqlite3.Error):
            assert all(each.present <= each.name.size for each in cache.objects())
        cache.flush()
        cache.usage()
        for name in NAMES:
            cache.keep(name, 0, memoryview(content_of(name)))
        cache.put_records(RECORDS)
    fresh = object_name(1_000, size=100_000)
    for _ in range(2):
        keep(cache, fresh)
    assert is_whole(cache, fresh)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_directory_serves_right_bytes_or_none(folder: Path, seed: int) -> None:
    damage_some(random.Random(seed), folder)

    cache = DiskCache(folder, LIMITS)
    check(cache)
    cache.close()

    cache = DiskCache(folder, LIMITS)
    assert all(is_whole(cache, name) for name in NAMES)
    cache.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_damage_to_an_open_directory_is_found_when_it_is_read(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    caches = [DiskCache(folder, LIMITS) for _ in range(2)]
    for cache in caches:
        assert is_whole(cache, rng.choice(NAMES))

    damage_some(rng, folder, is_open=True)

    for cache in caches:
        with suppress(OSError, sqlite3.Error):
            check(cache)
    for cache in caches:
        cache.close()
    cache = DiskCache(folder, LIMITS)
    check(cache)
    cache.close()


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        *(("segments", "bytes", value) for value in (0, -1, "text", b"blob", 1.5)),
        *(("segments", "accessed", value) for value in ("text", b"blob", 2**62)),
        *(("totals", "segments", value) for value in ("text", b"blob", -1)),
        *(("counters", "value", value) for value in ("text", b"blob", -1)),
        *(("sqlite_sequence", "seq", value) for value in ("text", -5, 2**45)),
    ],
)
def test_a_value_that_is_none_of_the_index_costs_what_is_cached_at_most(
    folder: Path, table: str, column: str, value: object
) -> None:
    connection = open_index(folder)
    connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
    connection.close()

    cache = DiskCache(folder, DiskLimits(16 * MIB))
    cache.usage()
    check(cache)
    cache.evict(NAMES[0])
    cache.pin(Selection(None, "bucket"), is_pinned=True)
    cache.clear()
    assert keep(cache, NAMES[0])
    assert is_whole(cache, NAMES[0])
    cache.usage()
    cache.close()


@pytest.mark.parametrize("change", [-(1 << 60), 1 << 60])
def test_an_index_with_impossible_ids_of_objects_begins_anew(folder: Path, change: int) -> None:
    connection = open_index(folder)
    connection.execute("UPDATE objects SET id = id + ?", (change,))
    connection.close()

    cache = DiskCache(folder, LIMITS)
    check(cache)
    cache.close()


def test_an_index_whose_damage_sqlite_cannot_tell_in_words_begins_anew(folder: Path) -> None:
    connection = open_index(folder)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET name = CAST(X'AC' AS TEXT), sql = 'CREATE'")
    connection.close()

    cache = DiskCache(folder, LIMITS)
    check(cache)
    cache.close()


def test_an_index_whose_damage_a_list_of_objects_finds_begins_anew(folder: Path) -> None:
    connection = open_index(folder)
    connection.execute("UPDATE objects SET size = 'text'")
    connection.close()
    cache = DiskCache(folder, LIMITS)

    with pytest.raises(sqlite3.Error, match="begins anew"):
        list(cache.objects())

    assert list(cache.objects()) == []
    assert keep(cache, NAMES[0])
    assert is_whole(cache, NAMES[0])
    cache.close()

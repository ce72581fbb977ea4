"""Folder of a cache: modes, generations, unknown formats, leftovers; the document of its tables."""

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from s3mount.disk import index as indexes
from s3mount.disk.checksum import pack
from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.folder_check import failure_of
from s3mount.disk.object_name import EXTENT, KIB, MIB, SEGMENT
from s3mount.disk.usage import DiskLimits
from s3mount.errors import CacheDirectoryError, CacheDiskError
from tests.cached_objects import (
    SIZES,
    generation_folder,
    is_whole,
    keep,
    object_name,
    open_index,
    right_bytes,
)

DOCUMENT = Path(__file__).parents[3] / "docs/cache-format.md"
LIMITS = DiskLimits(64 * MIB)
GIB = 1024 * MIB
SEGMENTS = 7_800  # of a million blocks of 64 KiB


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_only_the_owner_has_access_whatever_the_umask(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    for number in range(8):
        keep(cache, object_name(number))

    below = list(tmp_path.rglob("*"))

    assert {path.stat().st_mode & 0o777 for path in below if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in below if path.is_file()} == {0o600}
    cache.close()


@pytest.mark.parametrize("place", ["lock", "1", "generation", "index.sqlite", "objects", "packs"])
def test_nothing_is_opened_through_a_symbolic_link(
    tmp_path: Path, place: str, allowed_warnings: list[str]
) -> None:
    allowed_warnings.append("index of the disk cache")
    folder, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    folder.mkdir(mode=0o700)
    DiskCache(folder, LIMITS).close()
    generation = generation_folder(folder)
    outer = {"lock": folder / place, "1": folder / place, "generation": generation}
    path = outer.get(place, generation / place)
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.mkdir()
    path.symlink_to(elsewhere)
    before = state_of(elsewhere)

    with suppress(CacheDirectoryError, OSError):
        cache = DiskCache(folder, LIMITS)
        for number in range(len(SIZES)):
            keep(cache, object_name(number))
        cache.close()

    assert before == state_of(elsewhere)


@pytest.mark.parametrize("name", ["lock", "writing"])
def test_what_is_in_the_place_of_a_file_of_the_cache_is_named_with_what_to_do(
    tmp_path: Path, name: str
) -> None:
    DiskCache(tmp_path, LIMITS).close()
    path = (tmp_path if name == "lock" else generation_folder(tmp_path)) / name
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(CacheDirectoryError, match=f"'{name}' in it is a symbolic link.*remove it"):
        DiskCache(tmp_path, LIMITS)

    path.unlink()
    path.mkdir()
    with pytest.raises(CacheDirectoryError, match=f"'{name}' in it is a directory.*remove it"):
        DiskCache(tmp_path, LIMITS)


def state_of(path: Path) -> list[tuple[str, int]]:
    """All that is at *path* and below, each with when it was changed."""
    return [(str(each), each.lstat().st_mtime_ns) for each in (path, *sorted(path.rglob("*")))]


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheDirectoryError, match="is not there"):
        DiskCache(tmp_path / "absent", LIMITS)


def test_a_cache_that_opens_late_is_made_by_what_needs_it_first(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    place.touch()
    cache = DiskCache(place, LIMITS, opens_late=True)
    with pytest.raises(CacheDirectoryError, match="not a directory"):
        cache.open()
    with pytest.raises(OSError, match="not a directory"):
        cache.find(object_name(1), 0)
    cache.close()

    place.unlink()
    keep(cache, object_name(1))

    assert is_whole(cache, object_name(1))
    assert place.stat().st_mode & 0o777 == 0o700
    cache.close()


def test_a_directory_that_is_not_private_is_refused_whenever_it_is_opened(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    cache = DiskCache(tmp_path, LIMITS, opens_late=True)

    with pytest.raises(CacheDirectoryError, match="chmod 700"):
        cache.open()
    with pytest.raises(OSError, match="chmod 700"):
        cache.find(object_name(1), 0)

    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_failure_of_the_disk_is_told_from_a_refusal(tmp_path: Path, number: int) -> None:
    assert isinstance(failure_of(tmp_path, OSError(number, "failed")), CacheDiskError)


def test_other_formats_are_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "2" / "index"
    other.parent.mkdir()
    other.write_text("of a later version")

    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, object_name(0))
    cache.clear()
    cache.close()

    assert other.read_text() == "of a later version"


def test_an_index_of_an_unknown_format_is_set_aside(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("unknown format (7): set aside as")
    for number in (1, 2):
        cache = DiskCache(tmp_path, LIMITS)
        keep(cache, object_name(number))
        cache.close()
        index = open_index(tmp_path)
        index.execute("PRAGMA user_version = 7")
        index.close()

        cache = DiskCache(tmp_path, LIMITS)

        assert cache.find(object_name(number), 0) is None
        assert list((tmp_path / f"1.set-aside-{number}").glob("*/index.sqlite"))
        cache.close()


def test_a_damaged_index_begins_anew_for_all_processes(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("is damaged: it begins anew")
    first, second = (DiskCache(tmp_path, LIMITS) for _ in range(2))
    keep(first, object_name(6))
    index = open_index(tmp_path)
    index.execute("DROP TABLE segments")
    index.close()

    assert first.find(object_name(6), 0) is None
    assert keep(first, object_name(6))
    assert keep(second, object_name(5))

    assert all(is_whole(cache, object_name(6)) for cache in (first, second))
    assert is_whole(first, object_name(5))
    assert [path.name for path in (tmp_path / "1").iterdir()] == [generation_folder(tmp_path).name]
    first.close()
    second.close()
    reopened = DiskCache(tmp_path, LIMITS)
    assert is_whole(reopened, object_name(5))
    reopened.close()


def test_a_process_that_closes_a_removed_index_harms_no_later_one(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("is damaged: it begins anew")
    first, second = (DiskCache(tmp_path, LIMITS) for _ in range(2))
    keep(second, object_name(6))
    index = open_index(tmp_path)
    index.execute("DROP TABLE segments")
    index.close()
    assert first.find(object_name(6), 0) is None
    keep(first, object_name(6))

    second.close()

    assert (generation_folder(tmp_path) / "index.sqlite-wal").exists()
    assert is_whole(first, object_name(6))
    first.close()


def test_a_list_is_of_what_has_taken_the_place_of_a_cache_that_was_removed(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("was removed: it begins anew")
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, object_name(6))
    shutil.rmtree(tmp_path / "1")

    assert list(cache.objects()) == []

    keep(cache, object_name(5))
    assert [each.name for each in cache.objects()] == [object_name(5)]
    cache.close()


def test_a_directory_that_was_emptied_under_a_cache_is_filled_again(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("was removed: it begins anew")
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, object_name(6))
    os.rename(tmp_path / "1", tmp_path.parent / f"{tmp_path.name}-elsewhere")  # noqa: PTH104

    assert keep(cache, object_name(6))
    assert is_whole(cache, object_name(6))
    cache.close()


def test_what_a_broken_off_making_left_is_removed_at_the_first_write(tmp_path: Path) -> None:
    for name in ("new-0123456789abcdef", "removed-0123456789abcdef"):
        (tmp_path / "1" / name / "packs").mkdir(parents=True)
    cache = DiskCache(tmp_path, LIMITS)

    keep(cache, object_name(0))

    assert list((tmp_path / "1").iterdir()) == [generation_folder(tmp_path)]
    cache.close()


def test_a_million_blocks_are_opened_without_a_scan(tmp_path: Path) -> None:
    DiskCache(tmp_path, LIMITS).close()
    index = open_index(tmp_path)
    name = object_name(0, size=SEGMENTS * SEGMENT)
    index.execute("BEGIN")
    index.execute(
        "INSERT INTO objects VALUES (1, ?, ?, 1, ?, ?, ?, ?, 0)",
        (name.digest, name.path_digest, b"bucket", b"key", b"e", name.size),
    )
    checksums = pack([7] * (SEGMENT // EXTENT))
    index.executemany(
        "INSERT INTO segments VALUES (1, ?, 2, 0, 0, 0, ?, ?)",
        ((number, SEGMENT, checksums) for number in range(SEGMENTS)),
    )
    index.execute("COMMIT")
    index.close()
    before = time.process_time()

    cache = DiskCache(tmp_path, DiskLimits(1024 * GIB))
    assert cache.find(name, SEGMENTS - 1) is not None
    assert cache.usage().object_bytes == name.size

    assert time.process_time() - before < 1
    cache.close()


@pytest.mark.parametrize(("count", "size"), [(1_000, 27 * KIB), (16, 16 * SEGMENT)])
def test_the_index_takes_a_hundredth_of_the_bytes(tmp_path: Path, count: int, size: int) -> None:
    cache = DiskCache(tmp_path, DiskLimits(4 * GIB))
    sparse = memoryview(bytes(min(size, SEGMENT)))

    for number in range(count):
        for start in range(0, size, SEGMENT):
            cache.keep(object_name(number, size=size), start, sparse)
    cache.close()  # the log goes into the index

    path = generation_folder(tmp_path) / "index.sqlite"
    assert path.stat().st_size <= count * size / 100


def test_the_document_tells_the_tables_and_their_columns(tmp_path: Path) -> None:
    DiskCache(tmp_path, LIMITS).close()
    text = DOCUMENT.read_text()
    index = open_index(tmp_path)

    for (table,) in index.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ):
        section = text.partition(f"### {table}\n")[2].partition("\n#")[0]
        first_cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
        told = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
        columns = [row[1] for row in index.execute(f"PRAGMA table_info({table})")]
        assert told == columns, table
    assert f"format **{indexes.FORMAT}**" in text
    assert f"{indexes.APPLICATION_ID:X}" in text
    index.close()


def test_an_index_that_lost_its_last_transactions_serves_right_bytes(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("damaged bytes of")
    cache = DiskCache(tmp_path, LIMITS)
    for number in range(8):
        keep(cache, object_name(number))
    cache.close()
    path = generation_folder(tmp_path) / "index.sqlite"
    earlier = path.read_bytes()
    cache = DiskCache(tmp_path, LIMITS)
    for number in range(4):
        cache.evict(object_name(number))
    for number in range(8, 16):
        keep(cache, object_name(number))
    cache.close()

    path.write_bytes(earlier)

    cache = DiskCache(tmp_path, LIMITS)
    for number in range(16):
        right_bytes(cache, object_name(number))
        keep(cache, object_name(number, etag="later"))
        assert is_whole(cache, object_name(number, etag="later"))
    cache.clear()
    assert [path for path in generation_folder(tmp_path).rglob("*/*") if path.is_file()] == []
    cache.close()

"""Keeping and reading: parts of objects, records, pins, the limit, what is evicted first."""

import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from s3mount.config import GIB
from s3mount.disk.contents import Selection
from s3mount.disk.data_files import DataFiles
from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.notes import NOTES_MAX, Notes
from s3mount.disk.object_name import EXTENT, KIB, MIB, SEGMENT, ObjectName
from s3mount.disk.reservation import Kept
from s3mount.disk.segment_queries import NAMES_MAX, RECENT_AT_ONCE, load_recent
from s3mount.disk.usage import DiskLimits
from s3mount.errors import CacheDirectoryError
from tests.cached_objects import (
    content_of,
    is_whole,
    keep,
    object_name,
    open_index,
    right_bytes,
    segments,
    size_on_disk,
)

LIMITS = DiskLimits(64 * MIB)
UNCOUNTED = MIB  # bytes on the disk that are not counted: folders, -shm, tags
READERS = 8  # at once; the event loop has four threads that read


def test_what_is_kept_is_read_by_another_process(tmp_path: Path) -> None:
    names = [object_name(number) for number in range(8)]
    cache = DiskCache(tmp_path, LIMITS)

    written = [keep(cache, name) for name in names]
    other = DiskCache(tmp_path, LIMITS)

    assert written == [name.size for name in names]
    assert all(is_whole(other, name) for name in names)
    for each in (cache, other):
        each.close()


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    name = object_name(0, size=3 * SEGMENT)
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, name)
    used = cache.usage().object_bytes

    assert keep(cache, name) == 0
    assert cache.usage().object_bytes == used == 3 * SEGMENT
    cache.close()


@pytest.mark.parametrize(
    ("start", "stop"), [(0, EXTENT), (1, 3 * EXTENT), (SEGMENT - EXTENT, SEGMENT + EXTENT + 1)]
)
def test_only_whole_extents_are_kept(tmp_path: Path, start: int, stop: int) -> None:
    name = object_name(0, size=2 * SEGMENT)
    cache = DiskCache(tmp_path, LIMITS)
    whole = range(-(-start // EXTENT) * EXTENT, stop // EXTENT * EXTENT)

    written = cache.keep(name, start, memoryview(content_of(name))[start:stop])

    assert written == len(whole)
    for segment in segments(cache, name):
        low, high = max(segment.start, whole.start), min(segment.stop, whole.stop)
        assert segment.has(low, high)
    assert right_bytes(cache, name) == written
    cache.close()


def read_cached(cache: DiskCache, name: ObjectName, start: int, stop: int) -> bytes | None:
    """What `read_cached` has of the first segment; it may not have been read from the disk yet."""
    segment = cache.find(name, 0)
    assert segment is not None
    scratch = memoryview(bytearray(4 * EXTENT))
    while True:
        try:
            found = cache.read_cached(segment, start, stop, scratch)
        except BlockingIOError:  # the kernel has begun to read
            continue
        return None if found is None else bytes(found)


@pytest.mark.parametrize("size", [100 * KIB, 2 * MIB])
@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (5, EXTENT), (EXTENT - 1, EXTENT + 1), (7, 100 * KIB)]
)
def test_what_the_kernel_has_in_memory_is_read_without_a_wait(
    tmp_path: Path, size: int, start: int, stop: int
) -> None:
    name = object_name(0, size=size)
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, name)

    found = read_cached(cache, name, start, stop)

    # tmpfs cannot tell
    assert found == (content_of(name)[start:stop] if cache.has_cached_reads else None)
    cache.close()


def test_what_is_absent_or_damaged_is_not_read_without_a_wait(tmp_path: Path) -> None:
    name = object_name(0, size=2 * MIB)
    cache = DiskCache(tmp_path, LIMITS)
    cache.keep(name, 0, memoryview(content_of(name))[: 2 * EXTENT])
    [file] = tmp_path.glob("1/generation-*/objects/*/*")
    with file.open("r+b") as opened:
        opened.seek(EXTENT + 5)
        opened.write(b"damaged")

    assert read_cached(cache, name, EXTENT - 1, EXTENT + 1) is None
    assert read_cached(cache, name, EXTENT, 2 * EXTENT) is None
    assert read_cached(cache, name, 2 * EXTENT, 3 * EXTENT) is None
    cache.close()


def test_many_segments_are_found_by_one_query(tmp_path: Path) -> None:
    names = [object_name(number, size=KIB) for number in range(NAMES_MAX + 20)]
    large = object_name(-1, size=3 * SEGMENT)
    cache = DiskCache(tmp_path, LIMITS)
    kept = names[::2]
    cache.keep_all([Kept(name, 0, memoryview(content_of(name))) for name in kept])
    keep(cache, large)

    found = cache.find_many([(name, name.digest) for name in names], range(1))
    parts = cache.find_many([(large, large.digest)], range(1, 16))
    cache.read_ahead(found)

    assert {each.name for each in found} == set(kept)
    assert found[0] == cache.find(found[0].name, 0)
    assert parts == [cache.find(large, number) for number in (1, 2)]
    cache.close()


def test_what_is_told_of_recent_segments_is_loaded_until_it_takes_too_long(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    names = [object_name(number, size=KIB) for number in range(2 * RECENT_AT_ONCE)]
    cache.keep_all([Kept(name, 0, memoryview(content_of(name))) for name in names])
    queries: list[str] = []

    cache.load_recent()
    with closing(open_index(tmp_path)) as index:
        index.set_trace_callback(queries.append)
        load_recent(index, lambda: len(queries) == 2)
        load_recent(index, lambda: False)

    # the second time until there are no more of a class: two and none of one, none of the others
    assert len(queries) == 2 + 3 + 2
    cache.close()


def test_what_is_told_of_pinned_segments_is_loaded_too(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, object_name(0, size=KIB))
    cache.pin(Selection(), is_pinned=True)
    counts: list[int] = []

    def note_count(_: sqlite3.Cursor, row: tuple[int, ...]) -> tuple[int, ...]:
        counts.append(row[0])
        return row

    with closing(open_index(tmp_path)) as index:
        index.row_factory = note_count
        load_recent(index, lambda: False)

    assert counts == [1, 0, 0, 0]  # none is left of it, and none of the other classes
    cache.close()


@pytest.mark.parametrize(
    "change",
    [
        "pack = 'x'",
        "offset = '1 2'",
        "offset = '1,2'",
        "class = 2.5",
        "checksums = 'x'",
        "object = 1 << 50",
    ],
)
def test_impossible_rows_are_found_as_damage(
    tmp_path: Path, change: str, expected_warnings: list[str]
) -> None:
    expected_warnings.append("is damaged: it begins anew")
    name = object_name(0, size=KIB)
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, name)
    with closing(open_index(tmp_path)) as index:
        index.execute("DROP TRIGGER segment_changed")
        index.execute(f"UPDATE segments SET {change}")
        index.execute("UPDATE objects SET id = (SELECT object FROM segments)")

    assert cache.find_many([(name, name.digest)], range(1)) == []
    keep(cache, name)
    assert len(cache.find_many([(name, name.digest)], range(1))) == 1
    cache.close()


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (5, EXTENT), (EXTENT - 1, EXTENT + 1), (7, 99)]
)
def test_any_part_of_a_segment_can_be_read(tmp_path: Path, start: int, stop: int) -> None:
    name = object_name(0, size=2 * MIB)
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, name)
    (segment,) = segments(cache, name)
    buffer = bytearray(stop - start)

    assert cache.read(segment, start, stop, memoryview(buffer)) == []
    assert buffer == content_of(name)[start:stop]
    cache.close()


def test_a_read_without_waiting_has_the_bytes_or_raises(tmp_path: Path) -> None:
    name = object_name(0, size=2 * MIB)
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, name)
    (segment,) = segments(cache, name)
    buffer = bytearray(EXTENT)

    try:
        assert cache.read(segment, 0, EXTENT, memoryview(buffer), nowait=True) == []
    except BlockingIOError:
        assert cache.read(segment, 0, EXTENT, memoryview(buffer)) == []

    assert buffer == content_of(name)[:EXTENT]
    cache.close()


def test_an_object_that_is_kept_twice_at_once_has_its_room_once(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    twice, next_one = object_name(0, size=100_000), object_name(1, size=100_000)
    kept = [Kept(name, 0, memoryview(content_of(name))) for name in (twice, twice, next_one)]

    cache.keep_all(kept)
    assert cache.usage().object_bytes == 2 * 102_400
    cache.evict(twice)

    assert is_whole(cache, next_one)
    cache.close()


def test_the_directory_stays_within_its_limit(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)

    for number in range(40):
        keep(cache, object_name(number, size=(27 * KIB, 5 * MIB, MIB)[number % 3]))
        assert cache.usage().used <= LIMITS.size
        assert size_on_disk(tmp_path) <= LIMITS.size + UNCOUNTED
    assert cache.usage().evictions
    cache.close()


def test_records_make_room_as_objects_do(tmp_path: Path) -> None:
    limits = DiskLimits(32 * MIB)
    cache = DiskCache(tmp_path, limits)
    for number in range(6):
        keep(cache, object_name(number, size=5 * MIB))

    for number in range(60):
        cache.put_records({b"%020d" % number: bytes(64 * KIB)})

    assert cache.usage().used <= limits.size + MIB
    assert cache.get_record(b"%020d" % 59) == bytes(64 * KIB)
    cache.close()


def test_evicted_small_objects_leave_no_bytes_on_the_disk(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    names = [object_name(number, size=27 * KIB + 1) for number in range(200)]
    for name in names:
        keep(cache, name)
    full = size_on_disk(tmp_path)

    for name in names[1:]:
        cache.evict(name)

    assert full - size_on_disk(tmp_path) >= 199 * 28 * KIB - MIB
    assert is_whole(cache, names[0])
    cache.close()


def test_the_free_space_of_the_file_system_is_kept(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("stay free (--cache-free-space)")
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, object_name(0))
    status = os.statvfs(tmp_path)
    too_much = status.f_blocks * status.f_frsize
    cache.close()

    cache = DiskCache(tmp_path, DiskLimits(LIMITS.size, free_space=too_much))

    assert keep(cache, object_name(1)) == 0
    assert cache.usage().segments == 0
    cache.close()


def test_a_lack_of_free_space_is_logged_once_until_there_was_room(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    expected_warnings: list[str],
) -> None:
    expected_warnings.append("--cache-free-space")
    cache = DiskCache(tmp_path, LIMITS)
    logged = []

    for number, free in enumerate((0, 0, GIB, 0)):
        monkeypatch.setattr(DataFiles, "free_space", lambda _files, free=free: free)
        keep(cache, object_name(number))
        logged.append(len(caplog.messages))

    assert logged == [1, 1, 1, 2]
    cache.close()


def test_a_lack_of_free_space_is_not_logged_again_because_less_was_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    expected_warnings: list[str],
) -> None:
    expected_warnings.append("--cache-free-space")
    cache = DiskCache(tmp_path, LIMITS)
    monkeypatch.setattr(DataFiles, "free_space", lambda _: 100 * KIB)

    for number in range(3):
        assert not keep(cache, object_name(number, size=MIB))
        assert cache.put_records({b"%020d" % number: b"small"})

    assert len(caplog.messages) == 1
    cache.close()


def test_replaced_versions_are_evicted_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    old, new = (object_name(0, size=MIB, etag=etag) for etag in ("old", "new"))
    oldest = object_name(1, size=MIB)
    for name in (oldest, old, new):
        keep(cache, name)

    for number in range(2, 61):
        keep(cache, object_name(number, size=MIB))

    assert [is_whole(cache, name) for name in (oldest, old, new)] == [True, False, True]
    cache.close()


def test_a_big_file_that_is_read_once_sweeps_out_nothing_small(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    small = [object_name(number, size=300 * KIB) for number in range(100)]
    for name in small:
        keep(cache, name)

    keep_in_pieces(cache, number=1_000, size=3 * LIMITS.size)

    assert all(is_whole(cache, name) for name in small)
    cache.close()


def keep_in_pieces(cache: DiskCache, *, number: int, size: int) -> None:
    name = object_name(number, size=size)
    piece = memoryview(bytes(SEGMENT))
    for start in range(0, size, SEGMENT):
        cache.keep(name, start, piece)


def test_what_is_read_again_is_cold_no_longer(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    name = object_name(0, size=SEGMENT)
    keep(cache, name)
    assert cache.usage().cold_bytes == SEGMENT

    cache.touch(segments(cache, name))
    cache.flush()

    assert cache.usage().cold_bytes == 0
    cache.close()


def test_notes_that_cannot_be_told_are_bounded(tmp_path: Path) -> None:
    """As of a disk that is read-only: what is bad is found again at each read."""
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, object_name(0, size=SEGMENT))
    (segment,) = segments(cache, object_name(0, size=SEGMENT))
    notes = Notes()

    for number in range(2 * NOTES_MAX):
        notes.add_accesses((replace(segment, number=number),))
        notes.add_bad(segment, (0,))

    assert len(notes._accessed) == NOTES_MAX
    assert len(notes._bad) == 1
    cache.close()


def test_pinned_objects_stay(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    pinned = object_name(0, size=3 * SEGMENT)
    keep(cache, pinned)

    assert cache.pin(Selection(path="folder"), is_pinned=True) == 1
    assert cache.pin(Selection(path="folder/key-0"), is_pinned=True) == 1  # again
    for number in range(1, 80):
        keep(cache, object_name(number, size=MIB))

    assert is_whole(cache, pinned)
    assert cache.pin(Selection(), is_pinned=False) > 1
    assert cache.usage().pinned_bytes == 0
    cache.close()


def test_a_pin_is_of_the_object_and_its_next_version_has_it(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    old, new = (object_name(0, size=20 * MIB, etag=etag) for etag in ("old", "new"))
    keep(cache, old)
    cache.pin(Selection(path="folder"), is_pinned=True)

    keep(cache, new)
    for number in range(1, 80):
        keep(cache, object_name(number, size=MIB))

    assert is_whole(cache, new)
    assert not segments(cache, old)
    assert 20 * MIB <= cache.usage().pinned_bytes < 21 * MIB
    assert cache.pin(Selection(path="folder/key-0"), is_pinned=False) == 1
    assert cache.usage().pinned_bytes == 0
    cache.close()


def test_no_more_is_pinned_than_three_quarters(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    keep_in_pieces(cache, number=0, size=52 * MIB)

    with pytest.raises(CacheDirectoryError, match="three quarters"):
        cache.pin(Selection(), is_pinned=True)

    cache.close()


def test_the_rest_of_a_pinned_object_is_pinned_within_the_share(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    name = object_name(0, size=60 * MIB)
    piece = memoryview(bytes(SEGMENT))
    for start in range(0, name.size, SEGMENT):
        cache.keep(name, start, piece[:EXTENT])
    cache.pin(Selection(), is_pinned=True)

    for start in range(0, name.size, SEGMENT):
        cache.keep(name, start, piece)

    assert SEGMENT < cache.usage().pinned_bytes <= LIMITS.size * 3 // 4
    assert keep(cache, object_name(1, size=MIB)) == MIB
    cache.close()


def test_objects_tells_what_is_there(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    old, new = (object_name(0, size=MIB, etag=etag) for etag in ("old", "new"))
    for name in (old, new, object_name(1, size=3)):
        keep(cache, name)

    found = list(cache.objects(Selection(bucket="bucket")))

    assert [each.name.size for each in found] == [MIB, MIB, 3]
    assert [each.is_replaced for each in found] == [True, False, False]
    assert [each.present for each in found] == [MIB, MIB, 3]
    assert found[0].name == old
    assert list(cache.objects(Selection(path="folder/key"))) == []
    cache.close()


def test_a_part_of_the_directory_can_be_cleared(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    names = [object_name(number) for number in range(8)]
    for name in names:
        keep(cache, name)
    cache.put_records({b"k" * 20: b"v"})

    assert cache.clear(Selection(path=names[2].key)) == 1
    assert [is_whole(cache, name) for name in names] == [number != 2 for number in range(8)]
    assert cache.get_record(b"k" * 20) == b"v"
    cache.clear()

    assert cache.get_record(b"k" * 20) is None
    assert cache.usage().object_bytes == 0
    assert size_on_disk(tmp_path) <= cache.usage().index_bytes + UNCOUNTED
    cache.close()


def test_verify_drops_what_is_bad_and_counts_again(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("damaged bytes of")
    cache = DiskCache(tmp_path, LIMITS)
    name, other = object_name(0, size=MIB), object_name(1, size=MIB)
    for each in (name, other):
        keep(cache, each)
    (pack,) = tmp_path.glob("1/*/packs/*")
    with pack.open("r+b") as file:
        file.seek(3 * EXTENT + 5)
        file.write(b"xy")
    index = open_index(tmp_path)
    index.execute("UPDATE totals SET bytes = bytes + 1000000 WHERE class = 2")
    index.close()
    seen: list[int] = []

    assert cache.verify(on_bytes=seen.append) == 1
    assert sum(seen) == 2 * MIB - EXTENT
    assert right_bytes(cache, name) == MIB - EXTENT
    assert cache.usage().object_bytes == 2 * MIB
    assert keep(cache, name) == EXTENT
    assert cache.verify() == 0
    assert cache.usage().object_bytes == 2 * MIB
    cache.close()


def test_sums_that_are_too_high_are_counted_again_when_nothing_is_left(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, object_name(0))
    index = open_index(tmp_path)
    index.execute("UPDATE totals SET bytes = bytes + 1000000000000 WHERE class = 2")
    index.execute("UPDATE counters SET value = 1000000000000 WHERE name = 'record_bytes'")
    index.close()

    assert keep(cache, object_name(5, size=MIB)) == MIB
    for _ in range(2):
        cache.put_records({b"k" * 20: b"v"})
    assert cache.get_record(b"k" * 20) == b"v"
    cache.close()


def test_a_file_system_without_holes_frees_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3mount.disk.data_files.DataFiles.probe_punching", _cannot_punch)
    cache = DiskCache(tmp_path, LIMITS)

    for number in range(200):
        name = object_name(number, size=(300 * KIB, 5 * MIB)[number % 20 == 0])
        keep(cache, name)
        cache.evict(object_name(number // 2, size=300 * KIB))
        assert cache.usage().used <= LIMITS.size
        assert size_on_disk(tmp_path) <= LIMITS.size + UNCOUNTED
    assert is_whole(cache, name)
    with pytest.raises(CacheDirectoryError, match="whole files"):
        cache.pin(Selection(), is_pinned=True)
    cache.close()


def _cannot_punch(files: object) -> None:
    files.can_punch = False  # type: ignore[attr-defined]


def test_a_record_that_is_damaged_is_none(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    cache.put_records({b"k" * 20: b"value"})
    index = open_index(tmp_path)
    index.execute("UPDATE records SET payload = X'00'")
    index.close()

    assert cache.get_record(b"k" * 20) is None
    assert cache.counts.damaged_records == 1
    cache.close()


def test_the_oldest_records_go_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, DiskLimits(8 * MIB))

    for number in range(100):
        cache.put_records({b"%020d" % number: bytes(20_000)})

    assert cache.get_record(b"%020d" % 0) is None
    assert cache.get_record(b"%020d" % 99) == bytes(20_000)
    assert cache.usage().record_bytes <= MIB
    cache.drop_records([b"%020d" % 99])
    assert cache.get_record(b"%020d" % 99) is None
    cache.close()


def test_what_a_mount_looks_at_takes_no_count_of_all_objects(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, DiskLimits(16 * MIB))
    for number in range(3):
        keep(cache, object_name(number))
    statements: list[str] = []
    cache._current.generation.index.reader().set_trace_callback(statements.append)

    assert cache.usage().objects is None

    assert not [each for each in statements if "objects" in each]
    assert cache.usage(counts_objects=True).objects == 3
    cache.close()


def test_new_records_stay_when_few_old_ones_make_room(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, DiskLimits(16 * MIB))
    for number in range(20):
        cache.put_records({b"%020d" % number: bytes(100_000)})

    assert cache.put_records({b"k" * 20: b"time", b"p" * 20: bytes(200_000)})

    assert cache.get_record(b"k" * 20) == b"time"
    kept = [cache.get_record(b"%020d" % number) is not None for number in range(20)]
    assert kept == [False] * 2 + [True] * 18
    cache.close()


def test_records_that_have_no_room_are_told_of(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("the disk cache keeps nothing new")
    cache = DiskCache(tmp_path, DiskLimits(16 * MIB, free_space=1 << 60))

    assert not cache.put_records({b"k" * 20: b"v"})
    assert not cache.put_records({b"l" * 20: bytes(3 * MIB)})

    assert cache.get_record(b"k" * 20) is None
    cache.close()


def test_a_failed_write_leaves_no_room_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = DiskCache(tmp_path, LIMITS)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("s3mount.disk.data_files.DataFiles.write_all", fail)
        for number in range(8):
            with pytest.raises(OSError, match="No space"):
                keep(cache, object_name(number))
    cache.evict(object_name(100))

    assert cache.usage().object_bytes == 0
    assert keep(cache, object_name(6))
    cache.close()


def test_readers_of_several_threads_see_right_bytes_beside_a_writer(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    names = [object_name(number) for number in range(16)]
    failures: list[BaseException] = []
    is_done, have_begun = threading.Event(), threading.Barrier(READERS + 1)

    def read() -> None:
        try:
            have_begun.wait()
            while not is_done.is_set():
                for name in names:
                    right_bytes(cache, name)
        except BaseException as exc:  # noqa: BLE001 - shown below
            failures.append(exc)

    threads = [threading.Thread(target=read) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    have_begun.wait()
    for _ in range(2):
        for name in names:
            keep(cache, name)
        cache.clear()
    is_done.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert cache.counts.bad_extents == 0
    cache.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_thread_that_ends_closes_its_connection(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, object_name(0))
    before = open_files()

    for _ in range(10):
        thread = threading.Thread(target=right_bytes, args=(cache, object_name(0)))
        thread.start()
        thread.join()

    # SQLite keeps one for the next connection: closing it would drop the locks of the others
    assert open_files() <= before + 1
    cache.close()


def test_a_busy_index_is_an_error_of_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3mount.disk.index.BUSY_TIMEOUT", 0.05)
    cache = DiskCache(tmp_path, LIMITS)
    keep(cache, object_name(0))
    index = open_index(tmp_path)
    index.execute("BEGIN IMMEDIATE")

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        keep(cache, object_name(1))
    assert is_whole(cache, object_name(0))

    index.execute("ROLLBACK")
    index.close()
    assert keep(cache, object_name(1))
    cache.close()

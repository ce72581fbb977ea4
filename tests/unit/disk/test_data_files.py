"""Files of objects: sparse reads, freed parts, files that others removed, open descriptors."""

import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

import pytest

from s3mount.disk.data_files import OPEN_MAX, DataFiles
from s3mount.disk.joined_writes import ALIGNMENT, DIRECT_FROM, aligned, joined_writes
from s3mount.disk.segment import Location

PACK = Location(0, 1, 2 * ALIGNMENT)
WITHIN = 10.0  # seconds


@pytest.fixture
def files(tmp_path: Path) -> Iterator[DataFiles]:
    found = DataFiles(os.open(tmp_path, os.O_RDONLY))
    yield found
    found.close()


def test_a_read_ends_with_the_file(files: DataFiles) -> None:
    files.write_all([(PACK, 0, memoryview(b"abc"))])
    buffer = bytearray(5)

    assert files.read(PACK, 1, memoryview(buffer)) == 2
    assert buffer == b"bc\0\0\0"


def test_all_of_the_last_page_is_freed(files: DataFiles, tmp_path: Path) -> None:
    files.probe_punching()
    files.write_all([(PACK, 0, memoryview(b"a" * (ALIGNMENT + 1)))])
    files.write_all([(PACK, 2 * ALIGNMENT, memoryview(b"b"))])
    path = tmp_path / "packs/1"
    os.sync()
    before = path.stat().st_blocks

    files.free(PACK, 0, ALIGNMENT + 1)

    assert before - path.stat().st_blocks == 2 * ALIGNMENT // 512
    buffer = bytearray(1)
    assert files.read(PACK, 2 * ALIGNMENT, memoryview(buffer)) == 1
    assert buffer == b"b"


def test_a_removed_file_has_no_bytes_for_those_that_have_it_open(
    files: DataFiles, tmp_path: Path
) -> None:
    other = DataFiles(os.open(tmp_path, os.O_RDONLY))
    files.write_all([(PACK, 0, memoryview(b"abc"))])
    buffer = memoryview(bytearray(3))
    assert other.read(PACK, 0, buffer) == 3
    assert not other.close_removed(PACK)

    files.remove(PACK)
    files.remove(PACK)

    assert other.read(PACK, 0, buffer) == 0
    assert other.close_removed(PACK)
    with pytest.raises(FileNotFoundError):
        other.read(PACK, 0, buffer)


def test_a_write_does_not_go_to_a_file_that_was_removed(files: DataFiles, tmp_path: Path) -> None:
    files.write_all([(PACK, 0, memoryview(b"abc"))])
    (tmp_path / "packs/1").unlink()

    files.write_all([(PACK, 0, memoryview(b"abc"))])

    assert (tmp_path / "packs/1").stat().st_size == PACK.offset + 3


def test_few_descriptors_stay_open(files: DataFiles) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    for number in range(2 * OPEN_MAX):
        files.write_all([(Location(number, 0, 0), 0, memoryview(b"a"))])

    assert len(list(Path("/proc/self/fd").iterdir())) <= before + OPEN_MAX


@pytest.mark.parametrize("call", ["fstat", "close"])
def test_a_disk_that_hangs_keeps_no_other_thread_from_what_is_in_memory(
    files: DataFiles, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems ask their server for attributes, and write when a file is closed."""
    runs = [(Location(number, 0, 0), 0, memoryview(b"a")) for number in range(OPEN_MAX + 1)]
    files.write_all(runs[:1])
    begun, may_end = threading.Event(), threading.Event()
    actual, fstat = getattr(os, call), os.fstat

    def hang(descriptor: int) -> object:
        if threading.current_thread() is writer and S_ISREG(fstat(descriptor).st_mode):
            begun.set()
            may_end.wait(2 * WITHIN)
        return actual(descriptor)

    writer = threading.Thread(target=files.write_all, args=(runs,))
    monkeypatch.setattr(os, call, hang)
    writer.start()
    assert begun.wait(WITHIN)

    is_free = files._lock.acquire(timeout=WITHIN)
    if is_free:
        files._lock.release()

    may_end.set()
    writer.join()
    assert is_free


def test_a_file_that_is_not_open_would_have_to_be_waited_for(files: DataFiles) -> None:
    with pytest.raises(BlockingIOError):
        files.read(PACK, 0, memoryview(bytearray(1)), nowait=True)


def test_a_symbolic_link_is_not_followed(files: DataFiles, tmp_path: Path) -> None:
    target = tmp_path.parent / f"{tmp_path.name}-target"
    target.write_bytes(b"secret")
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs/1").symlink_to(target)

    with pytest.raises(OSError, match="symbolic"):
        files.write_all([(PACK, 0, memoryview(b"abc"))])

    assert target.read_bytes() == b"secret"


def test_small_objects_beside_each_other_are_one_write() -> None:
    pack, content = 1, memoryview(bytes(range(256)) * 64)
    runs = [
        (Location(1, pack, 0), 0, content[:5000]),
        (Location(2, pack, 2 * ALIGNMENT), 0, content[: 2 * ALIGNMENT]),
        (Location(3, pack, 4 * ALIGNMENT), 0, content[:1]),
        (Location(4, pack, 6 * ALIGNMENT), 0, content[:1]),  # another one lies between
        (Location(5, pack + 1, 7 * ALIGNMENT), 0, content[:1]),
        (Location(6, 0, 0), 8 * ALIGNMENT, content[:1]),
        (Location(7, 0, 0), 8 * ALIGNMENT + 1, content[:1]),
    ]

    joined = joined_writes(runs)

    assert [(each.offset, sum(map(len, each.contents))) for each in joined] == [
        (0, 4 * ALIGNMENT + 1),
        (6 * ALIGNMENT, 1),
        (7 * ALIGNMENT, 1),
        (8 * ALIGNMENT, 1),
        (8 * ALIGNMENT + 1, 1),
    ]


def test_bytes_of_a_large_object_that_follow_each_other_are_one_write() -> None:
    content = memoryview(bytes(3 * ALIGNMENT))
    runs = [
        (Location(1, 0, 0), 0, content),
        (Location(1, 0, 0), 3 * ALIGNMENT, content),
        (Location(1, 0, 0), 7 * ALIGNMENT, content),  # others lie between
        (Location(2, 0, 0), 10 * ALIGNMENT, content),
    ]

    joined = joined_writes(runs)

    assert [(each.location.object_id, each.offset, len(each.contents)) for each in joined] == [
        (1, 0, 2),
        (1, 7 * ALIGNMENT, 1),
        (2, 10 * ALIGNMENT, 1),
    ]


@pytest.mark.parametrize("tail", [0, 1, ALIGNMENT + 1])
@pytest.mark.parametrize("shift", [0, 1])  # a buffer that begins anywhere is not written directly
def test_a_long_write_has_each_byte_in_its_place(files: DataFiles, tail: int, shift: int) -> None:
    memory = mmap.mmap(-1, DIRECT_FROM + 2 * ALIGNMENT)
    memory.write(bytes(range(251)) * (len(memory) // 251))
    whole = memoryview(memory)[shift : shift + DIRECT_FROM + tail]
    location, half = Location(1, 0, 0), DIRECT_FROM // 2

    files.write_all([(location, 0, whole[:half]), (location, half, whole[half:])])

    into = memoryview(bytearray(len(whole) + 1))
    assert files.read(location, 0, into) == len(whole)
    assert into[:-1] == whole


def test_joined_writes_have_each_byte_in_its_place(files: DataFiles) -> None:
    sizes = [1, ALIGNMENT - 1, ALIGNMENT, ALIGNMENT + 1, 3] * 500  # more than one call has
    runs, offset = [], 0
    for number, size in enumerate(sizes):
        content = memoryview(number.to_bytes(2, "little") * size)[:size]
        runs.append((Location(number, 1, offset), 0, content))
        offset += aligned(size)

    files.write_all(runs)

    for location, position, content in runs:
        into = memoryview(bytearray(len(content)))
        assert files.read(location, position, into) == len(content)
        assert into == content


def test_a_write_of_nothing_is_a_failure(files: DataFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = iter((10, 0))
    monkeypatch.setattr(os, "pwritev", lambda *_: next(replies))

    with pytest.raises(OSError, match="nothing was written"):
        files.write_all([(Location(1, 0, 0), 0, memoryview(bytes(100)))])

"""Directories: whole and partial readings, concurrent readers, concurrent changes."""

import ctypes
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest

from tests.mount.buckets import fill_with_many
from tests.mount.filesystem_access import read_tree
from tests.mount.mount_process import Mount, mount_of
from tests.reference import directories_of, files_of, tree_of
from tests.servers import S3Server

LONG = [f"{number:04}" for number in range(2300)]  # three pages
NESTED = [f"{top}/{middle}/{name}" for top in "abc" for middle in range(12) for name in range(8)]
KEYS = [*(f"long/{name}" for name in LONG), *(f"nested/{key}" for key in NESTED), *"xyz"]


class _Entry(ctypes.Structure):
    """struct dirent, see readdir(3)."""

    _fields_ = (
        ("inode", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("length", ctypes.c_uint16),
        ("kind", ctypes.c_uint8),
        ("name", ctypes.c_char * 256),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = _libc.fdopendir.restype = ctypes.c_void_p
_libc.readdir.restype = ctypes.POINTER(_Entry)
_libc.telldir.restype = ctypes.c_long
for _function in (_libc.readdir, _libc.telldir, _libc.rewinddir, _libc.closedir):
    _function.argtypes = [ctypes.c_void_p]
_libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


class Stream:
    """Directory stream of the C library."""

    def __init__(self, path: Path) -> None:
        self._stream = _libc.opendir(os.fsencode(path))
        assert self._stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _libc.closedir(self._stream)

    def next(self) -> str | None:
        """Return the next name except `.` and `..`."""
        while entry := _libc.readdir(self._stream):
            name: str = entry.contents.name.decode()
            if name not in (".", ".."):
                return name
        return None

    def rest(self) -> list[str]:
        return list(iter(self.next, None))

    def tell(self) -> int:
        return int(_libc.telldir(self._stream))

    def seek(self, offset: int) -> None:
        _libc.seekdir(self._stream, offset)

    def rewind(self) -> None:
        _libc.rewinddir(self._stream)


@pytest.fixture(scope="module")
def bucket(server: S3Server) -> str:
    return fill_with_many(server, KEYS, b"x")


@pytest.fixture(scope="module")
def mount(
    server: S3Server, bucket: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mount]:
    with mount_of(server, bucket, tmp_path_factory.mktemp("directories") / "mnt") as mount:
        yield mount


def test_a_listing_of_several_pages_has_every_name_once(mount: Mount) -> None:
    assert sorted(os.listdir(mount / "long")) == LONG


def test_a_tree_is_walked_whole(mount: Mount) -> None:
    assert read_tree(mount / "nested") == tree_of(dict.fromkeys(NESTED, b"x"))


def test_a_rewound_stream_reads_the_directory_anew(mount: Mount) -> None:
    with Stream(mount / "long") as stream:
        first = [stream.next() for _ in range(150)]
        stream.rewind()

        assert [stream.next() for _ in range(150)] == first
        assert len(stream.rest()) == len(LONG) - 150


def test_seekdir_returns_to_a_position_of_telldir(mount: Mount) -> None:
    with Stream(mount / "long") as stream:
        places = [stream.tell()]
        names = []
        while (name := stream.next()) is not None:
            names.append(name)
            places.append(stream.tell())
        for at in (0, 1, 999, 1000, 1001, 2299, 1500, 30):
            stream.seek(places[at])
            assert stream.next() == names[at]
        stream.seek(places[len(names)])
        assert stream.next() is None


def test_an_interrupted_walk_continues_after_the_directory_has_expired(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    with (
        mount_of(server, bucket, tmp_path / "mnt", "--metadata-ttl", "0") as mount,
        Stream(mount / "long") as stream,
    ):
        names = [stream.next() for _ in range(100)]
        place = stream.tell()
        stream.rest()
        os.listdir(mount / "long")
        stream.seek(place)

        assert names + stream.rest() == LONG


def test_two_readers_of_one_directory_do_not_disturb_each_other(mount: Mount) -> None:
    with Stream(mount / "long") as one, Stream(mount / "long") as other:
        mixed = [(one.next(), other.next()) for _ in range(len(LONG))]

        assert sorted(name for name, _ in mixed if name) == LONG
        assert sorted(name for _, name in mixed if name) == LONG
        assert one.next() is None
        assert other.next() is None


def test_sixteen_walkers_at_once_all_see_the_whole_tree(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    expected = tree_of(dict.fromkeys(NESTED, b"x"))
    with mount_of(server, bucket, tmp_path / "mnt") as mount, ThreadPoolExecutor(16) as walkers:
        seen = list(walkers.map(read_tree, [mount / "nested"] * 16))
        names = list(walkers.map(os.listdir, [mount / "long"] * 16))

    assert all(tree == expected for tree in seen)
    assert all(sorted(each) == LONG for each in names)


def test_a_directory_read_while_it_changes_repeats_no_name_and_loses_no_name_that_stayed(
    server: S3Server, tmp_path: Path
) -> None:
    stay = [f"d/{number:04}" for number in range(0, 2000, 2)]
    come_and_go = [f"d/{number:04}" for number in range(1, 2000, 20)]
    bucket = fill_with_many(server, stay, b"x")
    client = server.client()

    def change(count: int) -> None:
        for key in come_and_go[:count]:
            client.put_object(Bucket=bucket, Key=key, Body=b"y")
        for key in come_and_go[:count]:
            client.delete_object(Bucket=bucket, Key=key)

    with (
        mount_of(server, bucket, tmp_path / "mnt", "--metadata-ttl", "0") as mount,
        ThreadPoolExecutor(1) as others,
    ):
        changing = others.submit(change, 60)
        while not changing.done():
            names = os.listdir(mount / "d")
            assert len(names) == len(set(names))
            assert {f"d/{name}" for name in names} >= set(stay)
            assert {f"d/{name}" for name in names} <= {*stay, *come_and_go}
        changing.result()
        assert sorted(f"d/{name}" for name in os.listdir(mount / "d")) == stay


def test_a_file_handle_opens_the_same_file_without_its_name(mount: Mount) -> None:
    """An NFS server uses name_to_handle_at(2) and open_by_handle_at(2) so."""
    descriptor = os.open(mount.path, os.O_RDONLY)
    try:
        handle, mount_id = ctypes.create_string_buffer(8 + 128), ctypes.c_int()
        ctypes.cast(handle, ctypes.POINTER(ctypes.c_uint))[0] = 128
        assert _libc.name_to_handle_at(descriptor, b"x", handle, ctypes.byref(mount_id), 0) == 0, (
            ctypes.get_errno()
        )
        opened = _libc.open_by_handle_at(descriptor, handle, os.O_RDONLY)
        assert opened >= 0, os.strerror(ctypes.get_errno())
        with os.fdopen(opened, "rb") as file:
            assert file.read() == b"x"
            assert os.fstat(opened).st_ino == os.stat(mount / "x").st_ino
    finally:
        os.close(descriptor)


def test_inode_numbers_are_distinct_and_the_same_after_a_remount(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    tree = tree_of(dict.fromkeys(KEYS, b""))
    paths = [
        os.fsdecode(path) for path in (*directories_of(tree), *(path for path, _ in files_of(tree)))
    ]

    def numbers(at: Path) -> dict[str, int]:
        with mount_of(server, bucket, at) as mount:
            return {path: os.lstat(mount / path).st_ino for path in paths}

    first = numbers(tmp_path / "first")
    assert len(set(first.values())) == len(paths)
    assert numbers(tmp_path / "second") == first


def test_readdir_and_stat_return_the_same_inode(mount: Mount) -> None:
    with os.scandir(mount.path) as entries:
        assert all(entry.inode() == os.stat(entry.path).st_ino for entry in entries)


def test_dot_and_dot_dot_lead_where_they_should(mount: Mount) -> None:
    here = os.stat(mount / "nested/a")

    assert os.stat(mount / "nested/a/.").st_ino == here.st_ino
    assert os.stat(mount / "nested/a/3/..").st_ino == here.st_ino
    assert os.path.samefile(mount / "nested/..", mount.path)


def test_a_mount_of_a_prefix_shows_only_what_is_below_it(
    server: S3Server, bucket: str, tmp_path: Path
) -> None:
    with mount_of(server, f"{bucket}/nested/b", tmp_path / "mnt") as mount:
        assert read_tree(mount.path) == tree_of(dict.fromkeys(NESTED, b"x"), "b/")
    with mount_of(server, f"s3://{bucket}/nested/b/3/", tmp_path / "other") as mount:
        assert sorted(os.listdir(mount.path)) == [str(number) for number in range(8)]

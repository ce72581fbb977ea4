"""Errors, row by row of docs/semantics.md: the cause, and the errno that a program gets."""

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mount.buckets import fill
from tests.mount.filesystem_access import failure_of, read_file
from tests.mount.mount_process import Mount, mount_of
from tests.servers import S3Server
from tests.waiting import wait_until

Call = Callable[[Path], object]

BODY = b"what was there before"

_libc = ctypes.CDLL(None, use_errno=True)


def _raw(name: str, *arguments: object) -> None:
    """Call a function of the C library that Python lacks."""
    if getattr(_libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def _fallocate(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _raw("fallocate", descriptor, 0, ctypes.c_long(0), ctypes.c_long(1))
    finally:
        os.close(descriptor)


CHANGES: dict[str, Call] = {
    "open for writing": lambda at: os.open(at / "file", os.O_WRONLY),
    "open for reading and writing": lambda at: os.open(at / "file", os.O_RDWR),
    "open for appending": lambda at: os.open(at / "file", os.O_WRONLY | os.O_APPEND),
    "open and truncate": lambda at: os.open(at / "file", os.O_WRONLY | os.O_TRUNC),
    "create": lambda at: os.open(at / "new", os.O_WRONLY | os.O_CREAT),
    "create exclusively": lambda at: os.open(at / "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "create for reading": lambda at: os.open(at / "new", os.O_RDONLY | os.O_CREAT),
    "create without a name": lambda at: os.open(at, os.O_RDWR | os.O_TMPFILE),
    "truncate": lambda at: os.truncate(at / "file", 0),
    "extend": lambda at: os.truncate(at / "file", 1000),
    "unlink": lambda at: os.unlink(at / "file"),
    "make a directory": lambda at: os.mkdir(at / "new"),
    "remove a directory": lambda at: os.rmdir(at / "directory"),
    "rename": lambda at: os.rename(at / "file", at / "new"),
    "rename over another": lambda at: os.rename(at / "file", at / "directory" / "file"),
    "rename a directory": lambda at: os.rename(at / "directory", at / "new"),
    "link": lambda at: os.link(at / "file", at / "new"),
    "symlink": lambda at: os.symlink("file", at / "new"),
    "mknod": lambda at: os.mknod(at / "new"),
    "mkfifo": lambda at: os.mkfifo(at / "new"),
    "chmod": lambda at: os.chmod(at / "file", 0o777),
    "chmod of a directory": lambda at: os.chmod(at / "directory", 0o777),
    "chown": lambda at: os.chown(at / "file", 1, 1),
    "utime": lambda at: os.utime(at / "file"),
    "utime with a time": lambda at: os.utime(at / "file", (1, 1)),
    "set an attribute": lambda at: os.setxattr(at / "file", "user.a", b"b"),
    "remove an attribute": lambda at: os.removexattr(at / "file", "user.a"),
    "write access": lambda at: _raw("access", os.fsencode(at / "file"), os.W_OK),
}


@pytest.fixture(scope="module")
def mount(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    bucket = fill(server, {"file": BODY, "directory/file": BODY})
    with mount_of(server, bucket, tmp_path_factory.mktemp("errors") / "mnt") as mount:
        yield mount


@pytest.mark.parametrize("change", CHANGES)
def test_any_attempt_to_change_something_is_erofs(mount: Mount, change: str) -> None:
    assert failure_of(lambda: CHANGES[change](mount.path)) == "EROFS"

    assert sorted(os.listdir(mount.path)) == ["directory", "file"]
    assert read_file(mount / "file") == BODY


def test_a_descriptor_for_reading_cannot_be_written_nor_allocated(mount: Mount) -> None:
    descriptor = os.open(mount / "file", os.O_RDONLY)
    try:
        assert (
            failure_of(lambda: os.write(descriptor, b"x")) == "EBADF"
        )  # as on any file opened for reading
        assert failure_of(lambda: os.ftruncate(descriptor, 0)) == "EINVAL"
        assert failure_of(lambda: _fallocate(mount / "file")) == "EBADF"
    finally:
        os.close(descriptor)


def test_no_such_key_or_prefix_is_enoent(mount: Mount) -> None:
    for path in (
        "nothing",
        "nothing/below",
        "directory/nothing",
        "fil",
        "file2",
        "director",
        "directory/file/..",
    ):
        expected = "ENOTDIR" if path.startswith("directory/file/") else "ENOENT"
        assert failure_of(lambda path=path: os.stat(mount / path)) == expected, path  # type: ignore[misc]
        assert failure_of(lambda path=path: os.listdir(mount / path)) == expected, path  # type: ignore[misc]
        assert failure_of(lambda path=path: os.open(mount / path, os.O_RDONLY)) == expected, path  # type: ignore[misc]


def test_a_file_is_no_directory_and_a_directory_no_file(mount: Mount) -> None:
    assert failure_of(lambda: os.listdir(mount / "file")) == "ENOTDIR"
    assert failure_of(lambda: os.stat(mount / "file" / "below")) == "ENOTDIR"
    assert failure_of(lambda: read_file(mount / "directory")) == "EISDIR"
    assert failure_of(lambda: os.open(mount / "directory", os.O_WRONLY)) == "EISDIR"


def test_a_name_too_long_in_a_lookup_is_enametoolong(mount: Mount) -> None:
    assert failure_of(lambda: os.stat(mount / ("x" * 255))) == "ENOENT"
    assert failure_of(lambda: os.stat(mount / ("x" * 256))) == "ENAMETOOLONG"
    assert failure_of(lambda: os.stat(mount / ("\u00e9" * 128))) == "ENAMETOOLONG"
    assert failure_of(lambda: os.stat(mount / "directory" / ("x" * 256))) == "ENAMETOOLONG"


def test_a_key_longer_than_s3_allows_is_enoent(mount: Mount) -> None:
    path = mount.path.joinpath("directory", *["p" * 200] * 6)

    assert failure_of(lambda: os.stat(path)) == "ENOENT"


def test_a_file_deleted_while_open_is_estale_once_its_bytes_are_needed(
    server: S3Server, tmp_path: Path
) -> None:
    big = os.urandom(1 << 20) * 40
    bucket = fill(server, {"big": big})
    with mount_of(
        server, bucket, tmp_path / "mnt", "--part-size", "1MiB", "--memory-limit", "32MiB"
    ) as mount:
        mount.expect("ESTALE")
        descriptor = os.open(mount / "big", os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(descriptor, 4096, 0) == big[:4096]

        server.client().delete_object(Bucket=bucket, Key="big")

        assert failure_of(lambda: os.pread(descriptor, 4096, 39 << 20)) == "ESTALE"
        os.close(descriptor)


def test_an_archived_object_is_eacces(moto: S3Server, tmp_path: Path) -> None:
    bucket = moto.make_bucket()
    moto.client().put_object(Bucket=bucket, Key="archived", Body=BODY, StorageClass="GLACIER")
    with mount_of(moto, bucket, tmp_path / "mnt") as mount:
        mount.expect("EACCES.*archived")
        assert os.stat(mount / "archived").st_size == len(BODY)

        assert failure_of(lambda: read_file(mount / "archived")) == "EACCES"


def test_a_flood_of_failures_is_a_few_log_lines_and_a_count(moto: S3Server, tmp_path: Path) -> None:
    bucket = moto.make_bucket()
    moto.client().put_object(Bucket=bucket, Key="archived", Body=BODY, StorageClass="GLACIER")
    with mount_of(moto, bucket, tmp_path / "mnt") as mount:
        mount.expect("open: EACCES")
        for _ in range(20):
            assert failure_of(lambda: read_file(mount / "archived")) == "EACCES"

        mount.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: any("statistics" in record for record in mount.records()))

        failures = [record for record in mount.records() if record.get("errno") == "EACCES"]
        assert len(failures) == 5
        [record] = [each for each in mount.records() if "suppressed" in each]
        assert record["message"].startswith(
            f"open: EACCES: and {record['suppressed']} more in the last "
        )
        [statistics] = [
            record["statistics"] for record in mount.records() if "statistics" in record
        ]
        assert statistics["log_suppressed"] == record["suppressed"] >= 15


def test_a_failed_request_is_one_log_line_with_the_details_of_the_store(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = fill(server, {"big": bytes(30 << 20)})
    with mount_of(
        server, bucket, tmp_path / "mnt", "--part-size", "1MiB", "--memory-limit", "32MiB"
    ) as mount:
        mount.expect("ESTALE")
        descriptor = os.open(mount / "big", os.O_RDONLY)
        server.client().delete_object(Bucket=bucket, Key="big")
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        assert failure_of(lambda: os.pread(descriptor, 1, 29 << 20)) == "ESTALE"
        os.close(descriptor)

        records = [record for record in mount.records() if record["level"] == "WARNING"]
        assert {
            (record["bucket"], record["key"], record["status"], record["code"])
            for record in records
        } == {(bucket, "big", 404, "NoSuchKey")}
        assert len({record["request_id"] for record in records}) == len(
            records
        )  # the kernel tries to read a page twice


def test_an_error_does_not_affect_the_next_call(mount: Mount) -> None:
    for _ in range(3):
        assert failure_of(lambda: os.stat(mount / "nothing")) == "ENOENT"
        assert read_file(mount / "file") == BODY

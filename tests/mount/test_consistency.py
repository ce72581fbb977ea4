"""Consistency: an open file is one version, an open sees the current one within the TTL."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from tests.mount.buckets import fill
from tests.mount.filesystem_access import failure_of, read_file, read_mapped
from tests.mount.mount_process import mount_of
from tests.mount.relay import relay
from tests.mount.serializing_proxy import serializing_proxy
from tests.servers import S3Server
from tests.waiting import wait_until

OVERWRITES = 1000
READERS = 8
PAUSE = 20  # overwrites between which a reader reaches the end of one version
TTL = 1  # seconds


def version_of(number: int) -> bytes:
    """Return a body in which every eight bytes name the version, and whose length is unique."""
    return b"%08d" % number * (20_000 + number % 100 * 50)


def is_one_version(body: bytes) -> bool:
    return body == body[:8] * (len(body) // 8) and (
        not body or len(body) == len(version_of(int(body[:8])))
    )


def read_in_pieces(path: Path, piece: int) -> bytes:
    """Read from start to end in pieces of *size*, as `cat` and `dd` do."""
    with open(path, "rb", buffering=0) as file:
        return b"".join(iter(lambda: file.read(piece), b""))


def read_backwards(path: Path, piece: int) -> bytes:
    """Read from end to start in pieces of *size*, which defeats readahead."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        starts = range(0, os.fstat(descriptor).st_size, piece)
        return b"".join(
            reversed([os.pread(descriptor, piece, start) for start in reversed(starts)])
        )
    finally:
        os.close(descriptor)


class OverwriteTest:
    """A writer that overwrites an object, and readers that read it whole, again and again."""

    def __init__(
        self, server: S3Server, lock: AbstractContextManager[object], bucket: str, overwrites: int
    ) -> None:
        self.server = server
        self.lock = lock
        self.bucket = bucket
        self.overwrites = overwrites
        self.bodies: list[bytes] = []
        self.failures: set[int | None] = set()
        self._ended = threading.Event()
        self._has_read = threading.Event()

    def overwrite(self) -> None:
        client = self.server.client()
        try:
            for number in range(1, self.overwrites + 1):
                with self.lock:
                    client.put_object(Bucket=self.bucket, Key="changing", Body=version_of(number))
                if number % PAUSE == 0:  # or no reader would reach the end of a version
                    self._has_read.clear()
                    self._has_read.wait(10)
        finally:
            self._ended.set()

    def read(self, path: Path, reader: int) -> None:
        while not self._ended.is_set():
            try:
                self.bodies.append(
                    read_in_pieces(path, 8192 << reader)
                    if reader % 2
                    else read_backwards(path, 50_000)
                )
            except OSError as exc:
                self.failures.add(exc.errno)
            else:
                self._has_read.set()


@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_8_readers_during_overwrites_read_no_mixed_versions(
    server: S3Server, tmp_path: Path, transport: str
) -> None:
    bucket = fill(server, {"changing": version_of(0)})
    with (
        _serialized(server) as (served, lock),
        mount_of(
            served, bucket, tmp_path / "mnt", "--metadata-ttl", "0", "--transport", transport
        ) as mount,
    ):
        test = OverwriteTest(
            server, lock, bucket, OVERWRITES if transport == "native" else OVERWRITES // 5
        )
        mount.allow("ESTALE")
        with ThreadPoolExecutor(READERS + 1) as threads:
            done = [
                threads.submit(test.read, mount / "changing", reader) for reader in range(READERS)
            ]
            done.append(threads.submit(test.overwrite))
        for each in done:
            each.result()

        mixed = [body for body in test.bodies if not is_one_version(body)]
        assert not mixed, f"{len(mixed)} of {len(test.bodies)} reads are mixed"
        assert test.failures <= {errno.ESTALE}
        assert len({body[:8] for body in test.bodies}) > 5, "the readers saw too little of it"
        assert read_file(mount / "changing") == version_of(test.overwrites)


def test_pages_mapped_while_the_object_changes_are_of_one_version(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = fill(server, {"changing": version_of(0)})
    with mount_of(server, bucket, tmp_path / "mnt", "--metadata-ttl", "0") as mount:
        mount.allow("ESTALE")
        for number in range(1, 6):
            with ThreadPoolExecutor(3) as threads:
                readers = [threads.submit(read_mapped, mount / "changing") for _ in range(3)]
                fill(server, {"changing": version_of(number)}, bucket)
            for reader in readers:
                assert isinstance(reader.exception(), OSError) or is_one_version(reader.result())
            assert read_mapped(mount / "changing") == version_of(number)


def test_an_open_file_is_its_version_or_estale_and_the_next_open_is_the_new_one_whole(
    server: S3Server, tmp_path: Path
) -> None:
    old, new = os.urandom(1 << 20) * 40, os.urandom(1 << 20) * 30
    bucket = fill(server, {"big": old})
    options = ("--metadata-ttl", "0", "--part-size", "1MiB", "--memory-limit", "32MiB")
    with mount_of(server, bucket, tmp_path / "mnt", *options) as mount:
        mount.expect("ESTALE")
        descriptor = os.open(mount / "big", os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(descriptor, 100_000, 0) == old[:100_000]

        fill(server, {"big": new}, bucket)

        assert os.fstat(descriptor).st_size == len(old)
        assert os.pread(descriptor, 4096, 0) == old[:4096]
        assert failure_of(lambda: os.pread(descriptor, 4096, 39 << 20)) == "ESTALE"
        assert read_file(mount / "big") == new
        assert failure_of(lambda: os.pread(descriptor, 4096, 38 << 20)) == "ESTALE"
        os.close(descriptor)


def test_a_replaced_version_with_an_id_is_read_to_its_end(
    versitygw: S3Server, tmp_path: Path
) -> None:
    old, new = os.urandom(1 << 20) * 12, os.urandom(1 << 20)
    bucket = versitygw.make_bucket(versioned=True)
    fill(versitygw, {"big": old}, bucket)
    with mount_of(
        versitygw, bucket, tmp_path / "mnt", "--metadata-ttl", "0", "--part-size", "1MiB"
    ) as mount:
        descriptor = os.open(mount / "big", os.O_RDONLY)
        assert os.pread(descriptor, 4096, 0) == old[:4096]

        fill(versitygw, {"big": new}, bucket)

        assert os.pread(descriptor, 4096, len(old) - 4096) == old[-4096:]
        assert read_file(mount / "big") == new
        os.close(descriptor)


def test_with_a_lifetime_of_zero_every_open_sees_what_is_current(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = fill(server, {"d/a": b"0"})
    client = server.client()
    with mount_of(server, bucket, tmp_path / "mnt", "--metadata-ttl", "0") as mount:
        for number in range(1, 20):
            body = b"%d" % number * (number % 3 + 1)
            client.put_object(Bucket=bucket, Key="d/a", Body=body)
            assert read_file(mount / "d/a") == body
            client.put_object(Bucket=bucket, Key=f"d/{number}", Body=b"")
            assert os.path.exists(mount / f"d/{number}")
            assert sorted(os.listdir(mount / "d")) == sorted(["a", str(number)])
            client.delete_object(Bucket=bucket, Key=f"d/{number}")
            assert not os.path.exists(mount / f"d/{number}")


def test_within_the_lifetime_no_request_is_repeated_and_after_it_the_change_is_seen(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = fill(server, {"d/kept": b"kept", "d/replaced": b"old", "d/deleted": b"x"})
    with (
        relay(server) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "slow", "--metadata-ttl", "1000") as slow,
        mount_of(server, bucket, tmp_path / "fast", "--metadata-ttl", str(TTL)) as fast,
    ):
        for mount in (slow, fast):
            assert sorted(os.listdir(mount / "d")) == ["deleted", "kept", "replaced"]
            assert read_file(mount / "d/replaced") == b"old"
        fill(server, {"d/replaced": b"newer", "d/created": b"x"}, bucket)
        server.client().delete_object(Bucket=bucket, Key="d/deleted")
        traffic.take()

        assert sorted(os.listdir(slow / "d")) == ["deleted", "kept", "replaced"]
        assert read_file(slow / "d/replaced") == b"old"
        assert failure_of((slow / "d/created").stat) == "ENOENT"
        assert traffic.take() == []
        wait_until(lambda: sorted(os.listdir(fast / "d")) == ["created", "kept", "replaced"])
        wait_until(lambda: read_file(fast / "d/replaced") == b"newer")
        wait_until(lambda: failure_of((fast / "d/deleted").stat) == "ENOENT")
        assert read_file(fast / "d/created") == b"x"


def test_with_an_indefinite_lifetime_no_request_is_repeated(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = fill(server, {"d/a": b"old", "d/b": b"b"})
    with (
        relay(server) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "mnt", "--metadata-ttl", "indefinite") as mount,
    ):
        assert sorted(os.listdir(mount / "d")) == ["a", "b"]
        assert read_file(mount / "d/a") == b"old"
        os.listdir(mount.path)  # ends the listing that the lookup of "d" has begun
        traffic.take()
        fill(server, {"d/a": b"newer", "d/c": b"c"}, bucket)

        assert sorted(os.listdir(mount / "d")) == ["a", "b"]
        assert read_file(mount / "d/a") == b"old"
        assert failure_of((mount / "d/c").stat) == "ENOENT"
        assert traffic.take() == []


def test_an_absence_has_a_lifetime_of_its_own(server: S3Server, tmp_path: Path) -> None:
    bucket = fill(server, {"d/a": b"a"})
    options = ("--negative-ttl", "0")
    with (
        relay(server) as traffic,
        mount_of(
            traffic.server, bucket, tmp_path / "mnt", "--metadata-ttl", "indefinite", *options
        ) as mount,
    ):
        assert failure_of((mount / "d/b").stat) == "ENOENT"
        fill(server, {"d/b": b"b"}, bucket)
        assert read_file(mount / "d/b") == b"b"
        traffic.take()
        assert read_file(mount / "d/b") == b"b"
        assert traffic.take() == []


def test_a_refresh_on_request_is_immediate(server: S3Server, tmp_path: Path) -> None:
    bucket = fill(server, {"d/a": b"old"})
    with mount_of(server, bucket, tmp_path / "mnt", "--metadata-ttl", "indefinite") as mount:
        assert os.listdir(mount / "d") == ["a"]
        assert read_file(mount / "d/a") == b"old"
        fill(server, {"d/a": b"newer", "d/b": b"b"}, bucket)

        mount.process.send_signal(1)  # SIGHUP

        wait_until(lambda: sorted(os.listdir(mount / "d")) == ["a", "b"])
        assert read_file(mount / "d/a") == b"newer"


def test_an_unchanged_object_is_revalidated_by_if_none_match_for_no_body_and_keeps_its_pages(
    server: S3Server, tmp_path: Path
) -> None:
    body = os.urandom(3 << 20)
    bucket = fill(server, {"big": body})
    with (
        relay(server) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "mnt", "--metadata-ttl", "0") as mount,
    ):
        assert read_file(mount / "big") == body
        traffic.take()

        for _ in range(3):
            assert read_file(mount / "big") == body
            requests = traffic.take()
            assert any("if-none-match" in request.headers for request in requests), requests
            assert not [
                request
                for request in requests
                if request.kind == "GET" and "if-none-match" not in request.headers
            ]
        assert traffic.bytes_down < 10_000


def test_pages_of_an_unchanged_object_survive_close_and_open(
    server: S3Server, tmp_path: Path
) -> None:
    body = os.urandom(9 << 20)
    bucket = fill(server, {"big": body})
    options = ("--memory-limit", "32MiB", "--part-size", "1MiB")
    with (
        relay(server) as traffic,
        mount_of(
            traffic.server, bucket, tmp_path / "mnt", "--metadata-ttl", "60", *options
        ) as mount,
    ):
        assert read_file(mount / "big") == body
        traffic.take()

        assert read_file(mount / "big") == body
        assert read_mapped(mount / "big") == body
        assert traffic.take() == []


def _serialized(
    server: S3Server,
) -> AbstractContextManager[tuple[S3Server, AbstractContextManager[object]]]:
    """Return *server* and its writer's lock; rclone needs a proxy to send whole responses."""
    return (
        serializing_proxy(server)
        if server.name == "rclone"
        else nullcontext((server, nullcontext()))
    )

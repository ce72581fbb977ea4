"""What `ls` and stat(2) show of files whose metadata has POSIX attributes."""

import os
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.buckets import fill
from tests.mount.mount_process import mount_of
from tests.mount.relay import Traffic, relay
from tests.servers import S3Server

FILES = 50
MTIME_NS = 1354040105_123456789
RCLONE = {"mode": "100750", "uid": "4321", "gid": "8765", "mtime": "1354040105.123456789"}
S3FS = RCLONE | {"mode": str(stat.S_IFREG | 0o750)}
PLAIN = (0o444, os.getuid(), os.getgid())
SHOWN = (0o754, 4321, 8765)  # who may read is as the mount has it

pytestmark = pytest.mark.parametrize("transport", ["native", "boto3"])


@pytest.fixture(scope="module")
def bucket(seaweedfs: S3Server) -> str:
    bucket = fill(seaweedfs, {f"docs/{number:02}": b"text" for number in range(2, FILES)})
    client = seaweedfs.client()
    for key, metadata in (("docs/00", RCLONE), ("docs/01", S3FS)):
        client.put_object(Bucket=bucket, Key=key, Body=b"text", Metadata=metadata)
    return bucket


@contextmanager
def mounted(
    server: S3Server, bucket: str, directory: Path, *options: str
) -> Iterator[tuple[Path, Traffic]]:
    at = directory / "mnt"
    with relay(server) as traffic, mount_of(traffic.server, bucket, at, *options):
        yield at, traffic


def attributes(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    assert stat.S_ISREG(found.st_mode)
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def requests(traffic: Traffic) -> Counter[str]:
    return Counter(each.kind for each in traffic.take())


def test_ls_sends_no_head_and_shows_metadata_once_a_file_was_read(
    seaweedfs: S3Server, bucket: str, tmp_path: Path, transport: str
) -> None:
    """`--posix-metadata` shows the mode, owner, group and mtime that the metadata of a file has,
    once a response has brought it, and sends no request for them; see
    [posix-metadata.md](posix-metadata.md).
    """
    options = ("--posix-metadata", "--transport", transport, "--no-prefetch", "all")
    with mounted(seaweedfs, bucket, tmp_path, *options) as (at, traffic):
        for _ in range(2):
            subprocess.run(["ls", "-l", at / "docs"], check=True, capture_output=True)
            assert {attributes(at / f"docs/{number:02}") for number in range(FILES)} == {PLAIN}
        heads = [each.path for each in traffic.take() if each.kind == "HEAD"]
        assert [path for path in heads if not path.endswith("/docs")] == []

        for name in ("00", "01", "02"):
            assert (at / "docs" / name).read_bytes() == b"text"
        assert requests(traffic) == Counter(GET=3)

        for name in ("00", "01"):
            found = (at / "docs" / name).stat()
            assert attributes(at / "docs" / name) == SHOWN
            assert found.st_mtime_ns == MTIME_NS
            assert found.st_ctime_ns > MTIME_NS  # the store's
        assert attributes(at / "docs" / "02") == PLAIN
        listed = subprocess.run(
            ["ls", "-ln", at / "docs"], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        assert [line.split()[0] for line in listed[1:4]] == ["-rwxr-xr--"] * 2 + ["-r--r--r--"]
        assert requests(traffic) == Counter()


def test_an_open_file_shows_its_metadata_as_soon_as_it_was_read(
    seaweedfs: S3Server, bucket: str, tmp_path: Path, transport: str
) -> None:
    options = ("--posix-metadata", "--transport", transport)
    with (
        mounted(seaweedfs, bucket, tmp_path, *options) as (at, _),
        (at / "docs/00").open("rb") as file,
    ):
        before = os.fstat(file.fileno())
        file.read()
        after = os.fstat(file.fileno())

        assert after.st_mtime_ns == MTIME_NS
        assert after.st_ctime_ns == before.st_ctime_ns


def test_a_lookup_that_is_a_head_shows_metadata_without_a_read(
    seaweedfs: S3Server, bucket: str, tmp_path: Path, transport: str
) -> None:
    options = ("--posix-metadata", "--transport", transport, "--metadata-ttl", "0")
    with mounted(seaweedfs, bucket, tmp_path, *options) as (at, traffic):
        assert attributes(at / "docs/00") == SHOWN
        assert attributes(at / "docs/02") == PLAIN
        assert requests(traffic)["GET"] == 0


def test_a_file_that_others_may_not_read_stays_the_mounts(
    seaweedfs: S3Server, bucket: str, tmp_path: Path, transport: str
) -> None:
    options = ("--posix-metadata", "--transport", transport, "--file-mode", "0400")
    with mounted(seaweedfs, bucket, tmp_path, *options) as (at, _):
        (at / "docs/00").read_bytes()

        assert attributes(at / "docs/00") == (0o700, os.getuid(), os.getgid())
        assert (at / "docs/00").stat().st_mtime_ns == MTIME_NS


def test_without_the_option_metadata_is_not_shown(
    seaweedfs: S3Server, bucket: str, tmp_path: Path, transport: str
) -> None:
    with mounted(seaweedfs, bucket, tmp_path, "--transport", transport) as (at, _):
        (at / "docs/00").read_bytes()

        assert attributes(at / "docs/00") == PLAIN
        assert (at / "docs/00").stat().st_mtime_ns > MTIME_NS

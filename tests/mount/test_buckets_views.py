"""The past, versions and POSIX attributes of every bucket of an account, through the kernel."""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.mount.buckets import fill
from tests.mount.filesystem_access import failure_of
from tests.mount.mount_process import mount_of
from tests.mount.test_versions import Bucket
from tests.servers import S3Server
from tests.waiting import wait_until

MTIME = 1354040105
METADATA = {"mode": "100750", "mtime": str(MTIME)}

each_transport = pytest.mark.parametrize("transport", ["native", "boto3"])


@pytest.fixture(params=["seaweedfs", "moto"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each server that keeps versions."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def versioned(server: S3Server) -> Iterator[tuple[Bucket, Bucket]]:
    """Two buckets that keep versions."""
    client = server.client()
    yield (
        Bucket(server, server.make_bucket(client, versioned=True), client),
        Bucket(server, server.make_bucket(client, versioned=True), client),
    )
    client.close()


@each_transport
def test_each_bucket_is_shown_as_it_was(
    versioned: tuple[Bucket, Bucket], tmp_path: Path, transport: str
) -> None:
    """With `--at`, `s3://` shows each bucket that there is now as it was at TIME."""
    one, other = versioned
    one.put("d/a", b"one")
    other.put("d/a", b"other")
    other.put("gone", b"gone")
    moments = one.moment(), other.moment()
    one.put("d/a", b"later")
    one.put("later/x", b"x")
    other.delete("gone")

    options = ("--at", max(moments), "--buckets", f"{one.name},{other.name}")
    with mount_of(one.server, "s3://", tmp_path / "m", *options, "--transport", transport) as mount:
        assert sorted(os.listdir(mount.path)) == sorted([one.name, other.name])
        assert os.listdir(mount / one.name) == ["d"]
        assert (mount / one.name / "d/a").read_bytes() == b"one"
        assert (mount / other.name / "d/a").read_bytes() == b"other"
        assert (mount / other.name / "gone").read_bytes() == b"gone"
        assert failure_of((mount / one.name / "later").stat) == "ENOENT"


def test_a_bucket_that_keeps_no_versions_has_no_past(
    versioned: tuple[Bucket, Bucket], tmp_path: Path
) -> None:
    """A bucket that keeps no versions has no past: with `--at` it is shown, what is in it is EIO,
    and the log says why.
    """
    bucket, _ = versioned
    bucket.put("a", b"a")
    plain = fill(bucket.server, {"a": b"now"})
    options = ("--at", bucket.moment(), "--buckets", f"{bucket.name},{plain}")
    with mount_of(bucket.server, "s3://", tmp_path / "m", *options) as mount:
        mount.expect(f"--at: bucket '{plain}' keeps no versions, so it has no past")
        assert sorted(os.listdir(mount.path)) == sorted([bucket.name, plain])
        assert stat.S_ISDIR((mount / plain).stat().st_mode)
        assert failure_of(partial(os.listdir, mount / plain)) == "EIO"
        assert failure_of((mount / plain / "a").read_bytes) == "EIO"
        assert failure_of((mount / plain / "b").stat) == "EIO"
        assert (mount / bucket.name / "a").read_bytes() == b"a"


@each_transport
def test_versions_of_each_bucket_are_files(
    versioned: tuple[Bucket, Bucket], tmp_path: Path, transport: str
) -> None:
    """`--versions` shows the versions of every bucket; the root has no directory of versions."""
    ids = [(bucket, bucket.put("d/a", b"old"), bucket.put("d/a", b"new")) for bucket in versioned]

    names = ",".join(bucket.name for bucket in versioned)
    options = ("--versions", "--buckets", names, "--transport", transport)
    with mount_of(versioned[0].server, "s3://", tmp_path / "m", *options) as mount:
        for bucket, old, new in ids:
            at = mount / bucket.name / "d/.versions"
            assert sorted(os.listdir(at)) == sorted([f"a@{old}", f"a@{new}"])
            assert (at / f"a@{old}").read_bytes() == b"old"
            assert (at / f"a@{new}").read_bytes() == b"new"
        assert failure_of((mount / ".versions").stat) == "ENOENT"


@each_transport
def test_files_of_each_bucket_show_their_metadata(
    versioned: tuple[Bucket, Bucket], tmp_path: Path, transport: str
) -> None:
    """`--posix-metadata` shows the metadata of files in every bucket, of 65,536 in all."""
    one, other = versioned
    for number, bucket in enumerate(versioned):
        metadata = METADATA | {"uid": str(4321 + number)}
        bucket.client.put_object(Bucket=bucket.name, Key="d/a", Body=b"same", Metadata=metadata)

    options = ("--posix-metadata", "--buckets", f"{one.name},{other.name}")
    with mount_of(one.server, "s3://", tmp_path / "m", *options, "--transport", transport) as mount:
        for bucket in versioned:
            os.listdir(mount / bucket.name / "d")
            (mount / bucket.name / "d/a").read_bytes()
        found = [(mount / bucket.name / "d/a").stat() for bucket in versioned]

        assert [each.st_uid for each in found] == [4321, 4322]
        assert {each.st_mtime for each in found} == {MTIME}
        assert {stat.S_IMODE(each.st_mode) for each in found} == {0o754}


def test_metadata_of_the_past_and_of_versions_is_shown(
    versioned: tuple[Bucket, Bucket], tmp_path: Path
) -> None:
    bucket, _ = versioned
    client, name = bucket.client, bucket.name
    put = client.put_object(Bucket=name, Key="a", Body=b"was", Metadata=METADATA)
    moment = bucket.moment()
    bucket.put("a", b"is")
    wait_until(lambda: client.get_object(Bucket=name, Key="a")["Body"].read() == b"is")

    paths = {"--at": "a", "--versions": f".versions/a@{put['VersionId']}"}
    for option, path in paths.items():
        value = (moment,) if option == "--at" else ()
        options = ("--posix-metadata", "--buckets", name, option, *value)
        with mount_of(bucket.server, "s3://", tmp_path / option, *options) as mount:
            assert (mount / name / path).read_bytes() == b"was"
            assert (mount / name / path).stat().st_mtime == MTIME

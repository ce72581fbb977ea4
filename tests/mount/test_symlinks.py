"""Symbolic links as other programs keep them (`--symlinks`), through the kernel."""

import errno
import os
import re
import signal
import stat
import subprocess
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from s3mount.filesystem.listing.order_evidence import PROOF
from tests.mount.buckets import fill
from tests.mount.control_client import ask
from tests.mount.filesystem_access import failure_of, output_of
from tests.mount.mount_process import Mount, mount_of
from tests.mount.relay import relay
from tests.servers import S3Server
from tests.waiting import wait_until

ALL: Final = "rclone,s3fs,gcsfuse,geesefs"
S3FS: Final = {"mode": str(stat.S_IFLNK | 0o777), "uid": "4321", "gid": "8765", "mtime": "7"}
# key: body, metadata
LINKS: Final = {
    "d/s3fs": (b"file", S3FS),
    "d/gcsfuse": (b"", {"gcsfuse_symlink_target": "sub/file"}),
    "d/standard": (b"file", {"goog-reserved-file-is-symlink": "true"}),
    "d/geesefs": (b"", {"--symlink-target": "sub%2Ffile"}),
    "d/rclone.rclonelink": (b"sub/file", {}),
    "d/dir.rclonelink": (b"sub", {}),
    "d/broken.rclonelink": (b"absent", {}),
    "d/out.rclonelink": (b"/etc/hostname", {}),
}
FILES: Final = {"d/file": b"text", "d/sub/file": b"below", "d/empty": b"", "d/large": b"x" * 5000}
TARGETS: Final = {
    key.removeprefix("d/").removesuffix(".rclonelink"): target
    for key, target in {
        "d/s3fs": "file",
        "d/gcsfuse": "sub/file",
        "d/standard": "file",
        "d/geesefs": "sub/file",
        "d/rclone.rclonelink": "sub/file",
        "d/dir.rclonelink": "sub",
        "d/broken.rclonelink": "absent",
        "d/out.rclonelink": "/etc/hostname",
    }.items()
}

each_transport = pytest.mark.parametrize("transport", ["native", "boto3"])


@pytest.fixture(scope="module")
def bucket(seaweedfs: S3Server) -> str:
    bucket = fill(seaweedfs, FILES)
    client = seaweedfs.client()
    for key, (body, metadata) in LINKS.items():
        client.put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata)
    uploaded_at = client.head_object(Bucket=bucket, Key="d/out.rclonelink")["LastModified"]
    # in the second of an upload, no HEAD tells a type for good
    wait_until(lambda: int(datetime.now(UTC).timestamp()) > uploaded_at.timestamp())
    return bucket


def options(conventions: str, *more: str) -> tuple[str, ...]:
    return ("--posix-metadata", "--symlinks", conventions, *more)


@each_transport
@pytest.mark.parametrize("ttl", ["60", "0"])
def test_links_of_each_program_are_links(
    seaweedfs: S3Server, bucket: str, tmp_path: Path, transport: str, ttl: str
) -> None:
    """`--symlinks` shows the symbolic links of rclone, s3fs, gcsfuse and geesefs as such; see
    [posix-metadata.md](posix-metadata.md#symbolic-links).
    """
    more = ("--transport", transport, "--metadata-ttl", ttl)
    with mount_of(seaweedfs, bucket, tmp_path / "m", *options(ALL, *more)) as mount:
        at = mount / "d"
        for _ in range(2):
            assert sorted(os.listdir(at)) == sorted([*TARGETS, "file", "sub", "empty", "large"])
            for name, target in TARGETS.items():
                assert os.readlink(at / name) == target
                found = (at / name).lstat()
                assert (stat.S_ISLNK(found.st_mode), found.st_size) == (True, len(target))
            assert (at / "s3fs").lstat().st_mtime == 7
            assert (at / "s3fs").read_bytes() == (at / "standard").read_bytes() == b"text"
            for name in ("gcsfuse", "geesefs", "rclone", "dir/file"):
                assert (at / name).read_bytes() == b"below"
            assert failure_of((at / "broken").read_bytes) == "ENOENT"
            assert os.listdir(at / "dir") == ["file"]
            for name in ("file", "empty", "large"):
                assert stat.S_ISREG((at / name).lstat().st_mode)


def test_tools_see_the_same_links_whether_they_list_or_look_first(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    with mount_of(seaweedfs, bucket, tmp_path / "m", *options(ALL)) as mount:
        found = output_of("find", "d", "-type", "l", "-printf", "%f %l\n", cwd=mount.path)
        assert dict(line.split(" ") for line in found.splitlines()) == TARGETS
        listed = output_of("ls", "-l", "d", cwd=mount.path)
        for name, target in TARGETS.items():
            assert f" {name} -> {target}\n" in listed
        output_of("cp", "-a", f"{mount.path}/d", tmp_path / "copy")

    copied = {
        each.name: os.readlink(each) for each in (tmp_path / "copy").iterdir() if each.is_symlink()
    }
    assert copied == TARGETS


def test_a_plain_ls_sends_no_head_and_a_stat_one_for_each_small_file(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    """`ls` of names sends no HEAD for `--symlinks`; a lookup of a listed file that may be a link by
    its size sends one, once for each version.
    """
    more = ("--no-prefetch", "all")
    with (
        relay(seaweedfs) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "m", *options("s3fs", *more)) as mount,
    ):
        kinds = {each.name: each for each in os.scandir(mount / "d")}
        heads = [each.path for each in traffic.take() if each.kind == "HEAD"]
        assert [path for path in heads if not path.endswith("/d")] == []
        assert kinds["large"].is_file()
        assert kinds["large"].stat(follow_symlinks=False).st_size == 5000
        assert kinds["empty"].is_file()
        assert traffic.take() == []
        for _ in range(2):
            for name in ("file", "s3fs", "rclone.rclonelink"):
                (mount / "d" / name).lstat()
        assert Counter(each.kind for each in traffic.take()) == Counter(HEAD=3)
        for _ in range(2):
            assert os.readlink(mount / "d/s3fs") == "file"
        assert Counter(each.kind for each in traffic.take()) == Counter(GET=1)


def test_rclones_links_take_no_head(seaweedfs: S3Server, bucket: str, tmp_path: Path) -> None:
    with (
        relay(seaweedfs) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "m", *options("rclone")) as mount,
    ):
        output_of("ls", "-l", mount / "d")
        heads = [each.path for each in traffic.take() if each.kind == "HEAD"]
        assert [path for path in heads if not path.endswith("/d")] == []
        assert stat.S_ISREG((mount / "d/s3fs").lstat().st_mode)


@pytest.mark.parametrize("name", ["seaweedfs", "moto"])  # the orders of a file tree, and of bytes
def test_a_name_that_is_taken_leaves_the_link_its_own(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    """A file or directory NAME hides no link: `NAME.rclonelink` is a link of this name then."""
    bodies = {
        "a": b"file",
        "a.rclonelink": b"x",
        "b.rclonelink": b"y",
        "b/c": b"below",
        "e.rclonelink": b"",
        "f.rclonelink": b"t" * 4096,
        ".rclonelink": b"no name",
        "g.rclonelink/h": b"a directory",
        "i.rclonelink.rclonelink": b"twice",
    }
    server: S3Server = request.getfixturevalue(name)
    bucket = fill(server, bodies)
    ours = ("a", "a.rclonelink", "b", "b.rclonelink", "i.rclonelink")
    expected = sorted([*ours, *(f"{name}.rclonelink" for name in ("", "e", "f", "g"))])
    for ttl in ("60", "0"):
        more = ("--metadata-ttl", ttl, "--list-page-size", "2")
        with mount_of(server, bucket, tmp_path / ttl, *options("rclone", *more)) as mount:
            assert sorted(os.listdir(mount.path)) == expected
            assert (mount / "a").read_bytes() == b"file"
            assert (mount / "b/c").read_bytes() == b"below"
            assert os.readlink(mount / "a.rclonelink") == "x"
            assert os.readlink(mount / "b.rclonelink") == "y"
            assert os.readlink(mount / "i.rclonelink") == "twice"
            assert (mount / "f.rclonelink").read_bytes() == b"t" * 4096
            for absent in ("e", "f", "g", "i"):
                assert failure_of(partial(os.lstat, mount / absent)) == "ENOENT"


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_name_of_which_the_listing_does_not_tell_yet_is_waited_for(
    moto: S3Server,
    tmp_path: Path,
    is_taken: bool,  # noqa: FBT001
) -> None:
    """Keys after the link come before those of a directory of its name, on the next page."""
    before = [f"a{number:02}" for number in range(PROOF)]
    bodies = dict.fromkeys([*before, "l.s", "m"], b"x" * 5000)
    bodies["l.rclonelink"] = b"target"
    if is_taken:
        bodies["l/x"] = b"below"
    bucket = fill(moto, bodies)
    more = ("--no-prefetch", "all", "--list-page-size", str(PROOF + 2))
    with (
        relay(moto) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "m", *options("rclone", *more)) as mount,
    ):
        names = os.listdir(mount.path)
        heads = [each.path for each in traffic.take() if each.kind == "HEAD"]

        assert sorted(names) == sorted(
            [*before, "l.s", "m", *(["l", "l.rclonelink"] if is_taken else ["l"])]
        )
        assert [path.rpartition("/")[2] for path in heads] == ["l"]
        assert os.readlink(mount / ("l.rclonelink" if is_taken else "l")) == "target"


def test_a_name_that_is_listed_without_a_type_leaves_no_reference(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    with mount_of(seaweedfs, bucket, tmp_path / "m", *options(ALL)) as mount:
        for name in ("large", "file", "s3fs"):
            (mount / "d" / name).lstat()
        before = inode_count(mount)  # of these, and of what a listing tells the type of
        for _ in range(3):
            os.listdir(mount / "d")
        known = 1 + len([name for name in LINKS if name.endswith(".rclonelink")])  # with "sub"

        wait_until(lambda: inode_count(mount) == before + known)


def inode_count(mount: Mount) -> int:
    """How many inodes the kernel refers to."""

    def counts() -> list[str]:
        return re.findall(r" inodes=(\d+)", mount.log_file.read_text())

    before = len(counts())
    mount.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: len(counts()) > before)
    return int(counts()[-1])


def test_what_is_no_target_is_eio(seaweedfs: S3Server, tmp_path: Path) -> None:
    """A target with a NUL is EIO; one of over 4,095 bytes is a file."""
    bucket = fill(seaweedfs, {"nul.rclonelink": b"a\0b", "most.rclonelink": b"/" * 4095})
    with mount_of(seaweedfs, bucket, tmp_path / "m", *options("rclone")) as mount:
        mount.expect("no target of a symbolic link")
        assert failure_of(partial(os.readlink, mount / "nul")) == "EIO"
        assert os.readlink(mount / "most") == "/" * 4095


@pytest.mark.parametrize("conventions", ["rclone", "s3fs"])
def test_a_link_that_is_replaced_leads_elsewhere_after_a_refresh(
    seaweedfs: S3Server, tmp_path: Path, conventions: str
) -> None:
    bucket = seaweedfs.make_bucket()
    client = seaweedfs.client()
    key = "d/l.rclonelink" if conventions == "rclone" else "d/l"

    def put(body: bytes, metadata: dict[str, str]) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata)

    put(b"one", S3FS)
    with mount_of(seaweedfs, bucket, tmp_path / "m", *options(conventions)) as mount:
        assert os.readlink(mount / "d/l") == "one"
        put(b"other", S3FS)
        ask(mount.path, "refresh")
        wait_until(lambda: os.readlink(mount / "d/l") == "other")
        client.delete_object(Bucket=bucket, Key=key)
        client.put_object(Bucket=bucket, Key="d/l", Body=b"a file")
        ask(mount.path, "refresh")
        wait_until(lambda: not (mount / "d/l").is_symlink())
        assert (mount / "d/l").read_bytes() == b"a file"


@pytest.mark.parametrize("ttl", ["60", "0"])
@pytest.mark.parametrize("convention", ["gcsfuse", "geesefs"])
def test_an_empty_link_that_is_replaced_leads_elsewhere_though_its_etag_is_the_same(
    seaweedfs: S3Server, tmp_path: Path, convention: str, ttl: str
) -> None:
    bucket = seaweedfs.make_bucket()
    client = seaweedfs.client()
    name = {"gcsfuse": "gcsfuse_symlink_target", "geesefs": "--symlink-target"}[convention]

    def put(**metadata: str) -> None:
        client.put_object(Bucket=bucket, Key="d/l", Body=b"", Metadata=metadata)

    def put_anew(**metadata: str) -> None:
        put(**metadata)
        if ttl != "0":
            ask(mount.path, "refresh")

    put(**{name: "one"})
    more = ("--metadata-ttl", ttl)
    with mount_of(seaweedfs, bucket, tmp_path / "m", *options(convention, *more)) as mount:
        assert os.readlink(mount / "d/l") == "one"
        put_anew(**{name: "other"})
        wait_until(lambda: os.readlink(mount / "d/l") == "other")
        assert (mount / "d/l").lstat().st_size == len("other")
        put_anew()
        wait_until(lambda: stat.S_ISREG((mount / "d/l").lstat().st_mode))
        put_anew(**{name: "again"})
        wait_until((mount / "d/l").is_symlink)
        assert os.readlink(mount / "d/l") == "again"


@pytest.mark.parametrize("looks_first", [True, False])
def test_a_link_of_rclone_stands_for_a_name_only_while_that_is_absent(
    seaweedfs: S3Server,
    tmp_path: Path,
    looks_first: bool,  # noqa: FBT001
) -> None:
    bucket = fill(seaweedfs, {"l.rclonelink": b"target"})
    more = ("--metadata-ttl", "indefinite", "--negative-ttl", "0")
    with mount_of(seaweedfs, bucket, tmp_path / "m", *options("rclone", *more)) as mount:
        if not looks_first:
            assert os.listdir(mount.path) == ["l"]
        assert os.readlink(mount / "l") == "target"
        seaweedfs.client().put_object(Bucket=bucket, Key="l", Body=b"a file")

        assert (mount / "l").read_bytes() == b"a file"


def test_a_link_that_is_replaced_before_it_is_looked_at_is_the_new_one(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = seaweedfs.make_bucket()
    client = seaweedfs.client()
    client.put_object(Bucket=bucket, Key="d/l", Body=b"text")
    with mount_of(seaweedfs, bucket, tmp_path / "m", *options("s3fs")) as mount:
        os.listdir(mount / "d")
        client.put_object(Bucket=bucket, Key="d/l", Body=b"target", Metadata=S3FS)

        assert os.readlink(mount / "d/l") == "target"


def test_the_head_that_tells_the_type_tells_the_other_attributes_too(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = seaweedfs.make_bucket()
    metadata = {"mode": "100755", "mtime": "7", "uid": "4321"}
    seaweedfs.client().put_object(Bucket=bucket, Key="d/f", Body=b"text", Metadata=metadata)
    with mount_of(seaweedfs, bucket, tmp_path / "m", *options("s3fs")) as mount:
        os.listdir(mount / "d")
        found = (mount / "d/f").lstat()

        assert (stat.filemode(found.st_mode), found.st_mtime, found.st_uid) == (
            "-rwxr-xr-x",
            7,
            4321,
        )


def test_links_of_the_past_and_of_every_bucket_are_links(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    client = seaweedfs.client()
    bucket = seaweedfs.make_bucket(client, versioned=True)
    client.put_object(Bucket=bucket, Key="d/l", Body=b"target", Metadata=S3FS)
    client.put_object(Bucket=bucket, Key="d/r.rclonelink", Body=b"target")
    client.delete_object(Bucket=bucket, Key="d/l")
    [version] = [
        each
        for each in client.list_object_versions(Bucket=bucket)["Versions"]
        if each["Key"] == "d/l"
    ]
    moment = f"@{int(version['LastModified'].timestamp())}"
    client.delete_object(
        Bucket=bucket,
        Key="d/l",
        VersionId=client.list_object_versions(Bucket=bucket)["DeleteMarkers"][0]["VersionId"],
    )
    client.put_object(Bucket=bucket, Key="d/later", Body=b"x")

    more = ("--at", moment, "--buckets", bucket)
    with mount_of(seaweedfs, "s3://", tmp_path / "m", *options("s3fs,rclone", *more)) as mount:
        assert "l" in os.listdir(mount / bucket / "d")
        assert os.readlink(mount / bucket / "d/l") == "target"


def test_links_have_no_attributes_of_users_as_on_every_file_system(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    """xattr(7): user attributes are of regular files and directories only."""
    with mount_of(seaweedfs, bucket, tmp_path / "m", *options(ALL, "--xattrs")) as mount:
        read = partial(os.getxattr, attribute="user.s3.etag", follow_symlinks=False)
        assert failure_of(lambda: read(mount / "d/broken")) == "ENODATA"
        assert len(read(mount / "d/file")) == 32
        assert (
            subprocess.run(["ls", "-lR", mount.path], capture_output=True, check=False).stderr
            == b""
        )


def test_without_the_option_links_are_files(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    with mount_of(seaweedfs, bucket, tmp_path / "m", "--posix-metadata") as mount:
        assert (mount / "d/s3fs").read_bytes() == b"file"
        assert (mount / "d/rclone.rclonelink").read_bytes() == b"sub/file"
        assert stat.S_ISREG((mount / "d/s3fs").lstat().st_mode)
        with pytest.raises(OSError, match="Invalid") as caught:
            os.readlink(mount / "d/s3fs")
        assert caught.value.errno == errno.EINVAL

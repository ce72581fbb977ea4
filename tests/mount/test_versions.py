"""The past of a bucket (`--at`), and versions as files (`--versions`), through the kernel."""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from s3mount.s3.views.key_escape import key_of, names
from s3mount.s3.views.versions_view import version_named
from tests.mount.filesystem_access import failure_of, output_of, read_tree
from tests.mount.mount_process import Mount, mount_of, refused
from tests.mount.relay import relay
from tests.reference import Directory, files_of, tree_of
from tests.servers import S3Server
from tests.waiting import wait_until

FAR = 4 << 20  # an offset that is not fetched with the first byte
S3MOUNTCTL = (sys.executable, "-c", "from s3mount.ctl.main import main; main()")


@pytest.fixture(params=["seaweedfs", "moto"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each server that keeps versions."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


@dataclass
class Bucket:
    """A bucket that keeps versions."""

    server: S3Server
    name: str
    client: Any

    def put(self, key: str, body: bytes) -> str:
        done = self.client.put_object(Bucket=self.name, Key=key, Body=body)
        return str(done["VersionId"])

    def set_versioning(self, status: str) -> None:
        self.client.put_bucket_versioning(
            Bucket=self.name, VersioningConfiguration={"Status": status}
        )

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def moment(self) -> str:
        """Return a moment after all changes so far, and before all later ones."""
        rows = self.client.list_object_versions(Bucket=self.name)
        changes = [*rows.get("Versions", ()), *rows.get("DeleteMarkers", ())]
        last = max(int(row["LastModified"].timestamp()) for row in changes)
        wait_until(lambda: time.time() >= last + 1)  # S3's times have whole seconds
        return f"@{last}"


@pytest.fixture
def bucket(server: S3Server) -> Iterator[Bucket]:
    client = server.client()
    yield Bucket(server, server.make_bucket(client, versioned=True), client)
    client.close()


def as_tree(**bodies: bytes) -> Directory[bytes]:
    return tree_of({key.replace("__", "/").replace("_", "."): body for key, body in bodies.items()})


def test_a_mount_shows_each_moment(bucket: Bucket, tmp_path: Path) -> None:
    """`--at TIME` shows each key as its newest version of TIME or before: an object, or nothing if
    that is a delete marker. Deleted objects are there, later ones are not.
    """
    bucket.put("a.txt", b"one")
    bucket.put("dir/b.txt", b"b")
    first = bucket.moment()
    bucket.put("a.txt", b"second")
    bucket.delete("dir/b.txt")
    bucket.put("new/c.txt", b"c")
    second = bucket.moment()
    bucket.delete("a.txt")
    bucket.put("dir/b.txt", b"again")

    expected = {
        first: as_tree(a_txt=b"one", dir__b_txt=b"b"),
        second: as_tree(a_txt=b"second", new__c_txt=b"c"),
        "now": as_tree(new__c_txt=b"c", dir__b_txt=b"again"),
    }
    for number, (moment, tree) in enumerate(expected.items()):
        at = tmp_path / str(number)
        with mount_of(bucket.server, bucket.name, at, "--at", moment) as mount:
            assert read_tree(mount.path) == tree
            found = output_of("find", ".", "-type", "f", cwd=mount.path).split()
            assert sorted(found) == sorted(f"./{path.decode()}" for path, _ in files_of(tree))


def test_directories_of_other_times_are_not_there(bucket: Bucket, tmp_path: Path) -> None:
    """With `--at`, a directory is there if an object below it was."""
    bucket.put("was/a/x", b"x")
    bucket.put("gone/x", b"x")
    bucket.delete("gone/x")
    moment = bucket.moment()
    bucket.put("later/x", b"x")
    bucket.put("was/b/x", b"x")
    bucket.delete("was/a/x")

    with mount_of(bucket.server, bucket.name, tmp_path / "m", "--at", moment) as mount:
        for name in ("gone", "later", "was/b"):
            assert failure_of(partial(os.stat, mount / name)) == "ENOENT"
        assert os.listdir(mount.path) == ["was"]
        assert os.listdir(mount / "was") == ["a"]


def test_of_one_second_the_last_version_counts(bucket: Bucket, tmp_path: Path) -> None:
    """S3's times are those of the store's clock, in whole seconds: what was put at 14:00:00.9 is
    there at 14:00:00, and of several versions within one second the last one counts.
    """
    for number in range(5):
        bucket.put("a", b"%d" % number)
        bucket.delete("a")
    bucket.put("a", b"last")
    moment = bucket.moment()

    with mount_of(bucket.server, bucket.name, tmp_path / "m", "--at", moment) as mount:
        assert (mount / "a").read_bytes() == b"last"


def test_what_is_deleted_for_good_has_no_past(bucket: Bucket, tmp_path: Path) -> None:
    """A version that was deleted for good (by its id, or by a lifecycle rule) is in no past; if it
    goes while a file is open, reading it is ESTALE.
    """
    kept = bucket.put("a", b"k" * 2 * FAR)
    never = bucket.put("b", b"never")
    moment = bucket.moment()
    bucket.client.delete_object(Bucket=bucket.name, Key="b", VersionId=never)

    with mount_of(bucket.server, bucket.name, tmp_path / "m", "--at", moment) as mount:
        assert os.listdir(mount.path) == ["a"]
        with (mount / "a").open("rb") as file:
            assert file.read(1) == b"k"
            bucket.client.delete_object(Bucket=bucket.name, Key="a", VersionId=kept)
            assert failure_of(lambda: os.pread(file.fileno(), 1, FAR)) == "ESTALE"
        mount.expect("read: ESTALE")


def test_the_past_is_asked_for_once(bucket: Bucket, tmp_path: Path) -> None:
    """With `--at`, names, attributes and bytes are cached until a refresh, as they do not change
    (`--metadata-ttl` is indefinite, unless it is given); opening a file sends no request.
    """
    bucket.put("d/a", b"one")
    moment = bucket.moment()

    def sent(mount: Mount) -> Any:
        status = output_of(*S3MOUNTCTL, "status", str(mount.path), "--json")
        return {kind: each["sent"] for kind, each in json.loads(status)["requests"].items()}

    with mount_of(bucket.server, bucket.name, tmp_path / "m", "--at", moment) as mount:
        tree = read_tree(mount.path)
        before = sent(mount)
        bucket.put("d/a", b"second")
        assert read_tree(mount.path) == tree
        assert sent(mount) == before
        assert before["HEAD"] == 0
    options = ("--at", moment, "--metadata-ttl", "0")
    with mount_of(bucket.server, bucket.name, tmp_path / "n", *options) as mount:
        assert [read_tree(mount.path) for _ in range(2)] == [tree, tree]


def test_versions_without_an_id(server: S3Server, tmp_path: Path) -> None:
    """An object that was put while the bucket kept no versions (version id `null`) is shown as of
    its time; a later one of that id replaces it without a trace, and a reader of it gets ESTALE.
    """
    client = server.client()
    bucket = Bucket(server, server.make_bucket(client), client)
    client.put_object(Bucket=bucket.name, Key="a", Body=b"before all versions")
    client.put_object(Bucket=bucket.name, Key="b", Body=b"b" * 2 * FAR)
    bucket.set_versioning("Enabled")
    moment = bucket.moment()
    bucket.put("a", b"first version")

    with mount_of(server, bucket.name, tmp_path / "m", "--at", moment) as mount:
        assert read_tree(mount.path) == {b"a": b"before all versions", b"b": b"b" * 2 * FAR}
    with (
        mount_of(server, bucket.name, tmp_path / "n", "--at", moment) as mount,
        (mount / "b").open("rb") as file,
    ):
        assert file.read(1) == b"b"
        bucket.set_versioning("Suspended")
        client.put_object(Bucket=bucket.name, Key="b", Body=b"c" * 2 * FAR)
        assert failure_of(lambda: os.pread(file.fileno(), 1, FAR)) == "ESTALE"
        mount.expect("the version being read was replaced")


def test_a_name_of_the_past_is_found_without_a_listing(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("dir/sub/a.txt", b"deleted")
    moment = bucket.moment()
    bucket.delete("dir/sub/a.txt")
    bucket.put("dir/sub/b.txt", b"later")

    with mount_of(bucket.server, bucket.name, tmp_path / "m", "--at", moment) as mount:
        assert (mount / "dir/sub/a.txt").read_bytes() == b"deleted"
        assert failure_of(lambda: os.stat(mount / "dir/sub/b.txt")) == "ENOENT"
        assert failure_of(lambda: os.stat(mount / "none")) == "ENOENT"


def test_versions_are_files_beside_their_object(bucket: Bucket, tmp_path: Path) -> None:
    """`--versions` shows the version ID of `d/NAME` as `d/.versions/NAME@ID`, be it current, older,
    or of an object that is deleted by now. A delete marker is no file.
    """
    first = bucket.put("dir/a.txt", b"one")
    second = bucket.put("dir/a.txt", b"second")
    gone = bucket.put("dir/b.txt", b"deleted")
    bucket.delete("dir/b.txt")
    at_root = bucket.put("c.txt", b"root")

    with mount_of(bucket.server, bucket.name, tmp_path / "m", "--versions") as mount:
        assert read_tree(mount.path) == as_tree(dir__a_txt=b"second", c_txt=b"root")
        assert (mount / f"dir/.versions/a.txt@{first}").read_bytes() == b"one"
        assert (mount / f".versions/c.txt@{at_root}").read_bytes() == b"root"
        assert failure_of(lambda: os.stat(mount / f"dir/.versions/a.txt@{gone}")) == "ENOENT"
        assert read_tree(mount / "dir/.versions") == {
            f"a.txt@{first}".encode(): b"one",
            f"a.txt@{second}".encode(): b"second",
            f"b.txt@{gone}".encode(): b"deleted",
        }
        assert os.listdir(mount / ".versions") == [f"c.txt@{at_root}"]
        assert sorted(os.listdir(mount.path)) == ["c.txt", "dir"]


def test_a_directory_of_deleted_objects_has_no_versions(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    """A directory whose objects are all deleted is not there, and so has no `.versions`: `--at`
    shows what was in it, and `s3mountctl versions` lists the versions of an object in it.
    """
    client = seaweedfs.client()
    bucket = Bucket(seaweedfs, seaweedfs.make_bucket(client, versioned=True), client)
    first = bucket.put("gone/a", b"one")
    moment = bucket.moment()
    bucket.delete("gone/a")

    with mount_of(seaweedfs, bucket.name, tmp_path / "m", "--versions") as mount:
        assert failure_of(lambda: os.stat(mount / "gone/.versions")) == "ENOENT"
        told = output_of(*S3MOUNTCTL, "versions", str(mount / "gone/a"))
    with mount_of(seaweedfs, bucket.name, tmp_path / "past", "--at", moment) as past:
        assert (past / "gone/a").read_bytes() == b"one"

    assert first in told


def test_versions_of_a_marker_object_have_an_empty_name(moto: S3Server, tmp_path: Path) -> None:
    """The versions of a marker object `d/` are `d/.versions/@ID`."""
    client = moto.client()
    bucket = Bucket(moto, moto.make_bucket(client, versioned=True), client)
    first = bucket.put("d/", b"bytes")
    second = bucket.put("d/", b"")
    bucket.put("d/sub/", b"")

    with mount_of(moto, bucket.name, tmp_path / "m", "--versions") as mount:
        assert (mount / f"d/.versions/@{first}").read_bytes() == b"bytes"
        assert read_tree(mount / "d/.versions") == {
            f"@{first}".encode(): b"bytes",
            f"@{second}".encode(): b"",
        }
        assert failure_of(lambda: os.stat(mount / f".versions/@{first}")) == "ENOENT"
        assert os.listdir(mount / "d") == ["sub"]


def test_a_version_is_found_by_name_where_a_head_of_nothing_is_denied(
    moto: S3Server, tmp_path: Path
) -> None:
    client = moto.client()
    bucket = Bucket(moto, moto.make_bucket(client, versioned=True), client)
    first = bucket.put("d/a", b"one")
    bucket.put("d/a", b"second")

    with relay(moto) as traffic:
        traffic.denies_absent = True
        with mount_of(traffic.server, bucket.name, tmp_path / "m", "--versions") as mount:
            assert (mount / f"d/.versions/a@{first}").read_bytes() == b"one"
            assert failure_of(lambda: os.stat(mount / "d/.versions/b@none")) == "ENOENT"


def test_the_directory_of_versions_is_in_no_listing(bucket: Bucket, tmp_path: Path) -> None:
    """The directory `.versions` is in no listing; by its name it is in each directory, and at the
    top, if an object there has a version. It lists all of these.
    """
    ids = [bucket.put("top/a", b"%d" % number) for number in range(3)]
    bucket.put("top/sub/b", b"b")

    with mount_of(bucket.server, bucket.name, tmp_path / "m", "--versions") as mount:
        found = output_of("find", ".", cwd=mount.path).split()
        assert sorted(found) == [".", "./top", "./top/a", "./top/sub", "./top/sub/b"]
        listed = output_of("ls", ".versions", cwd=mount / "top").split()
        assert sorted(listed) == sorted(f"a@{each}" for each in ids)
        assert failure_of(lambda: os.listdir(mount / ".versions")) == "ENOENT"
        assert len(os.listdir(mount / "top/sub/.versions")) == 1
        assert output_of("find", "top/.versions", "-type", "f", cwd=mount.path).count("a@") == 3


def test_a_version_that_no_name_fits_is_listed_by_s3mountctl(
    moto: S3Server, tmp_path: Path
) -> None:
    """A version whose name would be over 255 bytes, or whose id has a slash, is no file;
    `s3mountctl versions` lists it.
    """
    client = moto.client()
    bucket, name = Bucket(moto, moto.make_bucket(client, versioned=True), client), "n" * 250
    version = bucket.put(f"d/{name}", b"x")
    bucket.put("d/short", b"x")

    with mount_of(moto, bucket.name, tmp_path / "m", "--versions") as mount:
        assert [each[:6] for each in os.listdir(mount / "d/.versions")] == ["short@"]
        path = mount / f"d/.versions/{name}@{version}"
        assert failure_of(lambda: os.stat(path)) == "ENAMETOOLONG"
        assert version in output_of(*S3MOUNTCTL, "versions", str(mount / f"d/{name}"))


def test_what_the_bucket_has_comes_before_versions(moto: S3Server, tmp_path: Path) -> None:
    """What the bucket has comes first: a key that looks like a version is that key, and a directory
    `.versions` that has keys lists only those; the versions beside them are found by name.
    """
    # SeaweedFS keeps versions in directories of such names, and does not list them
    client = moto.client()
    bucket = Bucket(moto, moto.make_bucket(client, versioned=True), client)
    version = bucket.put("a", b"object")
    bucket.put(f".versions/a@{version}", b"a key of its own")
    other = bucket.put(".versions/b", b"b")
    third = bucket.put("c", b"c")

    with mount_of(bucket.server, bucket.name, tmp_path / "m", "--versions") as mount:
        assert (mount / f".versions/a@{version}").read_bytes() == b"a key of its own"
        assert sorted(os.listdir(mount / ".versions")) == sorted([f"a@{version}", "b"])
        assert (mount / ".versions/b").read_bytes() == b"b"
        assert (mount / f".versions/.versions/b@{other}").read_bytes() == b"b"
        assert (mount / f".versions/c@{third}").read_bytes() == b"c"


def test_an_object_of_the_name_comes_before_versions(moto: S3Server, tmp_path: Path) -> None:
    """An object named `.versions` is that file; the versions beside it are listed by
    `s3mountctl versions`.
    """
    client = moto.client()
    bucket = Bucket(moto, moto.make_bucket(client, versioned=True), client)
    version = bucket.put("d/a", b"a")
    bucket.put("d/.versions", b"an object")

    with mount_of(bucket.server, bucket.name, tmp_path / "m", "--versions") as mount:
        assert (mount / "d/.versions").read_bytes() == b"an object"
        assert sorted(os.listdir(mount / "d")) == [".versions", "a"]
        assert (mount / "d/.versions").read_bytes() == b"an object"
        assert version in output_of(*S3MOUNTCTL, "versions", str(mount / "d/a"))


def test_versions_of_equal_bytes_have_their_own_metadata(moto: S3Server, tmp_path: Path) -> None:
    client, key = moto.client(), "a"
    bucket = Bucket(moto, moto.make_bucket(client, versioned=True), client)
    ids = [
        client.put_object(Bucket=bucket.name, Key=key, Body=b"same", Metadata={"mtime": seconds})
        for seconds in ("1000", "2000", "3000")
    ]
    options = ("--versions", "--posix-metadata")
    with mount_of(moto, bucket.name, tmp_path / "m", *options) as mount:
        for put in ids[:2]:
            (mount / f".versions/a@{put['VersionId']}").read_bytes()

        for put, seconds in zip(ids, (1000, 2000), strict=False):
            assert (mount / f".versions/a@{put['VersionId']}").stat().st_mtime == seconds
        assert (mount / "a").stat().st_mtime > 3000  # LastModified: nothing has told of it
        (mount / "a").read_bytes()
        assert (mount / "a").stat().st_mtime == 3000


def test_both_options_work_together(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("a", b"one")
    moment = bucket.moment()
    second = bucket.put("a", b"second")

    options = ("--at", moment, "--versions")
    with mount_of(bucket.server, bucket.name, tmp_path / "m", *options) as mount:
        assert (mount / "a").read_bytes() == b"one"
        assert (mount / f".versions/a@{second}").read_bytes() == b"second"
        assert len(os.listdir(mount / ".versions")) == 2


@pytest.mark.parametrize("prefix", ["", "pre//"])
def test_no_key_is_hidden_in_the_past_nor_any_version(
    moto: S3Server, tmp_path: Path, prefix: str
) -> None:
    """With `--show-hidden` a version of an over-long name is escaped as any other key."""
    client = moto.client()
    bucket = Bucket(moto, moto.make_bucket(client, versioned=True), client)
    # the last one is cut within its id
    keys = [
        "a",
        "a/b",
        "a//c",
        "a/.",
        "/x",
        "%file=y",
        "n" * 280,
        "a/" + "n" * 280,
        "a/" + "m" * 195,
    ]
    past = {key: key.encode() for key in keys}
    bodies = {(key, bucket.put(prefix + key, body)): body for key, body in past.items()}
    moment = bucket.moment()
    bodies |= {(key, bucket.put(prefix + key, b"later")): b"later" for key in keys}

    options = ("--at", moment, "--versions", "--show-hidden", "--xattrs")
    source = f"{bucket.name}/{prefix}"
    with mount_of(moto, source, tmp_path / "m", *options) as mount:
        found = {_key(path): body for path, body in files_of(read_tree(mount.path))}
        versions = {
            version_named(_key(f"{directory}.versions/".encode() + path)): body
            for directory in ("", "a/", "a/%dir=/", "%dir=/")
            for path, body in files_of(read_tree(mount / f"{directory}.versions"))
        }
        histories = {
            key: output_of(*S3MOUNTCTL, "versions", str(mount / path), "--json")
            for key, path in {
                "a": "%file=a",
                "a//c": "a/%dir=/c",
                "n" * 280: "/".join(names("n" * 280, is_directory=False)),
            }.items()
        }

        attributes = output_of(*S3MOUNTCTL, "attributes", str(mount / "a/%dir=/c"), "--json")
        own_prefix = os.getxattr(mount / "a/%dir=", "user.s3.prefix")

    assert found == past
    assert versions == bodies
    assert json.loads(attributes)["key"] == f"{prefix}a//c"
    assert own_prefix == f"{prefix}a//".encode()
    for key, history in histories.items():
        ids = {json.loads(line)["version_id"] for line in history.splitlines()}
        assert ids == {version_id for each, version_id in bodies if each == key}


def _key(path: bytes) -> str:
    own = key_of(path.decode())
    assert own is not None
    return own.key


def test_s3mountctl_lists_the_versions_of_a_deleted_object(bucket: Bucket, tmp_path: Path) -> None:
    first = bucket.put("dir/a.txt", b"one")
    second = bucket.put("dir/a.txt", b"second")
    bucket.put("dir/a.txt-other", b"")
    bucket.delete("dir/a.txt")

    with mount_of(bucket.server, bucket.name, tmp_path / "m") as mount:
        path = str(mount / "dir/a.txt")
        lines = output_of(*S3MOUNTCTL, "versions", path, "--json").splitlines()
        table = output_of(*S3MOUNTCTL, "versions", path).splitlines()
        absent = output_of(*S3MOUNTCTL, "versions", str(mount / "dir"), status=1)

    found = [json.loads(line) for line in lines]
    sizes = {each["version_id"]: each["size"] for each in found if not each["delete_marker"]}
    assert sizes == {first: 3, second: 6}
    assert [each["delete_marker"] for each in found if each["latest"]] == [True]
    assert table[0].split() == ["TIME", "SIZE", "STATE", "CLASS", "ETAG", "VERSION"]
    assert len(table) == 4
    assert "the store has no version of it" in absent


def test_s3mountctl_says_that_a_store_lists_no_versions(rclone: S3Server, tmp_path: Path) -> None:
    bucket = rclone.make_bucket()
    rclone.client().put_object(Bucket=bucket, Key="a", Body=b"one")

    with mount_of(rclone, bucket, tmp_path / "m") as mount:
        told = output_of(*S3MOUNTCTL, "versions", str(mount / "a"), status=1)

    assert told.startswith("s3mountctl: the store does not list versions: ")
    assert len(told.splitlines()) == 1


def test_status_has_the_moment(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("a", b"one")
    moment = bucket.moment()

    with mount_of(bucket.server, bucket.name, tmp_path / "m", "--at", moment) as mount:
        status = json.loads(output_of(*S3MOUNTCTL, "status", str(mount.path), "--json"))
        messages = [record["message"] for record in mount.records()]

    assert status["identity"]["at"] == int(moment[1:])
    assert any("showing the bucket as it was at 20" in message for message in messages)


def test_a_bucket_without_versions_has_no_past(server: S3Server, tmp_path: Path) -> None:
    """`--at` of one bucket needs one that keeps versions, or kept them, and a store that lists
    them; else the mount does not start, and says why in one line.
    """
    client = server.client()
    name = server.make_bucket(client)
    client.put_object(Bucket=name, Key="a", Body=b"a")
    url = ("--endpoint-url", server.endpoint_url)

    done = refused(name, tmp_path, *url, "--at", "now", env=server.environment())

    assert done.returncode == 1
    assert "keeps no versions" in done.stderr
    assert done.stderr.count("\n") == 1
    with mount_of(server, name, tmp_path / "m", "--versions") as mount:
        mount.expect("keeps no versions")
        assert (mount / "a").read_bytes() == b"a"


def test_a_store_that_lists_no_versions_says_so(rclone: S3Server, tmp_path: Path) -> None:
    name = rclone.make_bucket()
    url = ("--endpoint-url", rclone.endpoint_url)
    for options in (("--at", "now"), ("--versions",)):
        done = refused(name, tmp_path, *url, *options, env=rclone.environment())
        assert done.returncode == 1
        assert f"{options[0]}: the store does not list versions" in done.stderr

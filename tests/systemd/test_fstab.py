"""Lines of /etc/fstab, as mount(8) and as systemd read them."""

import re
from collections.abc import Iterator

import pytest

from tests.servers import S3Server
from tests.systemd.sandbox import Sandbox
from tests.systemd.service import BODY, KEY


@pytest.fixture(params=["s3mount", "root"])
def user(request: pytest.FixtureRequest) -> str:
    """The user who serves: as in the README, or root without run_as."""
    return str(request.param)


@pytest.fixture
def place(sandbox: Sandbox, server: S3Server, bucket: str, user: str) -> Iterator[str]:
    """A mount point with its line in /etc/fstab; only the user has keys, in the usual file."""
    keys = f"aws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n"
    home = sandbox.output("sh", "-c", f"echo ~{user}")
    sandbox.run(
        "install", "-d", f"--owner={user}", home, f"{home}/.aws"
    )  # the interpreter may be in root's home
    sandbox.write(f"{home}/.aws/credentials", f"[default]\n{keys}")
    sandbox.run("chown", user, f"{home}/.aws/credentials")
    options = (
        "_netdev,nofail,allow_other,path_style,"
        f"region={server.region},endpoint_url={server.endpoint_url}"
    )
    options += "" if user == "root" else f",run_as={user}"
    sandbox.write("/etc/fstab", f"s3://{bucket} /mnt/{bucket} s3mount {options} 0 0\n", mode="644")
    sandbox.run("mkdir", f"/mnt/{bucket}")
    sandbox.run("systemctl", "daemon-reload")
    yield f"/mnt/{bucket}"
    assert _mounts(sandbox, f"/mnt/{bucket}") == []
    sandbox.run("rm", "-r", f"{home}/.aws")


def test_mount_mounts_by_the_line(sandbox: Sandbox, place: str) -> None:
    sandbox.run("mount", place)

    assert (
        sandbox.output("runuser", "-u", "nobody", "--", "cat", f"{place}/{KEY}")
        == BODY.decode().strip()
    )
    sandbox.run("umount", place)


def test_the_serving_process_has_no_capability(sandbox: Sandbox, place: str, user: str) -> None:
    sandbox.run("mount", place)

    pids = sandbox.output("pgrep", "-f", f"mount.s3mount s3://.* {place} ").split()
    (server,) = [
        pid for pid in pids if sandbox.output("cat", f"/proc/{pid}/comm") != "s3mount-helper"
    ]
    status = sandbox.output("cat", f"/proc/{server}/status")
    assert sandbox.output("ps", "-o", "user=", "-p", server) == user
    assert {int(each, 16) for each in re.findall(r"^Cap\w+:\t(\w+)$", status, re.MULTILINE)} == {0}
    assert "NoNewPrivs:\t1" in status
    sandbox.run("umount", place)


def test_mounting_all_again_mounts_nothing_twice(sandbox: Sandbox, place: str) -> None:
    sandbox.run("mount", "-a")
    sandbox.run("mount", "-a")

    assert _mounts(sandbox, place) == ["fuse.s3mount"]
    sandbox.run("umount", place)


@pytest.mark.parametrize(
    "spelling", ["{0}", "{0}/", "{0}/dir\\040x", "{0}/dir\\040x/", "s3://{0}/d"]
)
@pytest.mark.parametrize("user", ["root"], indirect=True)
def test_mounting_all_again_succeeds_however_the_source_is_spelt(
    sandbox: Sandbox, place: str, bucket: str, server: S3Server, spelling: str
) -> None:
    """s3fs #1468, #981: a source shown otherwise than in fstab was mounted again each time."""
    server.client().put_object(Bucket=bucket, Key="dir x/file", Body=b"1")
    line = sandbox.output("cat", "/etc/fstab").replace(f"s3://{bucket} ", "SOURCE ")
    line = line.replace(f" {place} ", f" {place}/ ")
    sandbox.write("/etc/fstab", line.replace("SOURCE", spelling.format(bucket)) + "\n", mode="644")

    for _ in range(2):
        again = sandbox.run("mount", "--all", "--verbose")
    by_hand = sandbox.run("mount", "--fstab", "/etc/fstab", f"{place}/", check=False)

    assert "already mounted" in again.stdout
    assert (by_hand.returncode, by_hand.stderr) == (0, "")
    assert _mounts(sandbox, place) == ["fuse.s3mount"]
    sandbox.run("umount", place)
    sandbox.run("systemctl", "daemon-reload")
    unit = sandbox.output("systemd-escape", "--path", "--suffix=mount", place)
    sandbox.run("systemctl", "start", unit)
    sandbox.run("systemctl", "restart", unit)
    assert _mounts(sandbox, place) == ["fuse.s3mount"]
    sandbox.run("systemctl", "stop", unit)


@pytest.mark.parametrize("source", ["{0}", "{0}/"])
@pytest.mark.parametrize("user", ["root"], indirect=True)
def test_a_line_of_type_fuse_mounts_once(
    sandbox: Sandbox, place: str, bucket: str, source: str
) -> None:
    """As people write it for s3fs and goofys; mount.fuse3 then runs the command s3mount."""
    line = sandbox.output("cat", "/etc/fstab")
    line = line.replace(f"s3://{bucket} ", f"{source.format(bucket)} ")
    sandbox.write(
        "/etc/fstab", line.replace(" s3mount _net", " fuse.s3mount _net") + "\n", mode="644"
    )

    for _ in range(2):
        sandbox.run("mount", "--all")
        assert sandbox.output("cat", f"{place}/{KEY}") == BODY.decode().strip()

    assert _mounts(sandbox, place) == ["fuse.s3mount"]
    changed = sandbox.run("mount", "-o", "remount,noexec", place, check=False)
    assert "remount: a mount cannot be changed; unmount it and mount again" in changed.stderr
    sandbox.run("umount", "--lazy", place)


@pytest.mark.parametrize("user", ["root"], indirect=True)
def test_a_line_of_every_bucket_mounts_once_by_mount_and_by_systemd(
    sandbox: Sandbox, place: str, bucket: str
) -> None:
    line = sandbox.output("cat", "/etc/fstab").replace(f"s3://{bucket} ", "s3:// ")
    line = line.replace("_netdev,", "_netdev,buckets=bucket-*,")
    sandbox.write("/etc/fstab", f"{line}\n", mode="644")
    sandbox.run("systemctl", "daemon-reload")

    for _ in range(2):
        sandbox.run("mount", "--all")
        assert sandbox.output("cat", f"{place}/{bucket}/{KEY}") == BODY.decode().strip()

    assert _mounts(sandbox, place) == ["fuse.s3mount"]
    sandbox.run("umount", place)
    unit = sandbox.output("systemd-escape", "--path", "--suffix=mount", place)
    sandbox.run("systemctl", "start", unit)
    assert sandbox.output("cat", f"{place}/{bucket}/{KEY}") == BODY.decode().strip()
    sandbox.run("systemctl", "stop", unit)


@pytest.mark.parametrize("user", ["root"], indirect=True)
def test_something_else_is_not_mounted_over_a_mount(
    sandbox: Sandbox, place: str, bucket: str
) -> None:
    sandbox.run("mount", place)
    options = sandbox.output("cat", "/etc/fstab").split()[3]

    same = sandbox.run("mount", "-t", "s3mount", "-o", options, f"{bucket}/", place, check=False)
    other = sandbox.run("mount", "-t", "s3mount", "-o", options, f"{bucket}/d", place, check=False)

    assert (same.returncode, same.stderr) == (0, "")
    assert other.returncode != 0
    assert f"mount.s3mount: {place} is already mounted (s3://{bucket}, fuse." in other.stderr
    assert _mounts(sandbox, place) == ["fuse.s3mount"]
    sandbox.run("umount", place)


@pytest.mark.parametrize("user", ["root"], indirect=True)
def test_a_line_of_another_file_system_mounts(sandbox: Sandbox, place: str) -> None:
    """Options that people bring along from sshfs, s3fs, cifs and NFS."""
    line = sandbox.output("cat", "/etc/fstab")
    options = (
        "noauto,users,exec,noatime,nonempty,default_permissions,umask=0027,uid=0,gid=0,"
        'kernel_cache,attr_timeout=1,context="system_u:object_r:nfs_t:s0:c1,c2"'
    )
    sandbox.write("/etc/fstab", line.replace("_netdev", f"_netdev,{options}") + "\n", mode="644")

    sandbox.run("mount", place)

    assert sandbox.output("stat", "-c", "%a", place, f"{place}/{KEY}") == "550\n440"
    denied = sandbox.run("runuser", "-u", "nobody", "--", "ls", place, check=False)
    assert (denied.returncode, "Permission denied" in denied.stderr) == (2, True)
    sandbox.run("umount", place)


def test_systemd_mounts_and_unmounts_by_the_line(sandbox: Sandbox, place: str) -> None:
    unit = sandbox.output("systemd-escape", "--path", "--suffix=mount", place)

    sandbox.run("systemctl", "start", unit)

    assert sandbox.output("cat", f"{place}/{KEY}") == BODY.decode().strip()
    sandbox.run("systemctl", "stop", unit)


def test_systemd_mounts_by_the_line_at_the_first_access(sandbox: Sandbox, place: str) -> None:
    """By autofs: each access waits for this mount, so s3mount itself must not access the path."""
    line = sandbox.output("cat", "/etc/fstab")
    sandbox.write(
        "/etc/fstab", line.replace("_netdev", "_netdev,x-systemd.automount") + "\n", mode="644"
    )
    sandbox.run("systemctl", "daemon-reload")
    unit = sandbox.output("systemd-escape", "--path", "--suffix=automount", place)
    sandbox.run("systemctl", "start", unit)

    assert sandbox.output("cat", f"{place}/{KEY}") == BODY.decode().strip()
    assert _mounts(sandbox, place) == ["autofs", "fuse.s3mount"]
    sandbox.run("systemctl", "stop", unit.replace(".automount", ".mount"), unit)


@pytest.mark.parametrize("user", ["s3mount"], indirect=True)
@pytest.mark.parametrize(
    ("text", "is_permitted"),
    [
        ("mount_max = 9\n \tuser_allow_other  # for s3\n", True),
        ("#user_allow_other\n", False),
        ("user_allow_other", False),  # fusermount3: "missing newline at end of file"
    ],
)
def test_fuse_conf_is_read_as_fusermount3_reads_it(
    sandbox: Sandbox, place: str, bucket: str, server: S3Server, text: str, *, is_permitted: bool
) -> None:
    sandbox.write("/etc/fuse.conf", text, mode="644")
    sandbox.run("chown", "s3mount", place)
    options = ["--endpoint-url", server.endpoint_url, "--region", server.region, "--allow-other"]
    home = sandbox.output("sh", "-c", "echo ~s3mount")
    as_user = ["runuser", "-u", "s3mount", "--", "env", f"HOME={home}"]

    ours = sandbox.run(*as_user, "s3mount", bucket, place, *options, "--path-style", check=False)

    assert (ours.returncode == 0) == is_permitted, ours.stderr
    if is_permitted:
        assert sandbox.output("runuser", "-u", "nobody", "--", "ls", place) == KEY.partition("/")[0]
        sandbox.run(*as_user, "fusermount3", "-u", place)
        return
    assert "add the line user_allow_other" in ours.stderr
    as_user.append("_FUSE_COMMFD=0")  # it opens no socket before it has read its options
    theirs = sandbox.run(*as_user, "fusermount3", "-o", "allow_other", "--", place, check=False)
    assert "only allowed if 'user_allow_other' is set" in theirs.stderr


def test_a_line_that_cannot_be_mounted_fails_with_one_line(sandbox: Sandbox, place: str) -> None:
    failed = sandbox.run(
        "mount", "-t", "s3mount", "-o", "regoin=us-east-1", "bucket", place, check=False
    )

    assert failed.returncode != 0
    (line,) = failed.stderr.splitlines()
    assert line.startswith("mount.s3mount: -o 'regoin': ")


def _mounts(sandbox: Sandbox, place: str) -> list[str]:
    return sandbox.run(
        "findmnt", "-no", "FSTYPE", "--mountpoint", place, check=False
    ).stdout.split()

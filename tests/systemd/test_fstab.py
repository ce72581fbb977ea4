"""Lines of /etc/fstab, as mount(8) and as systemd read them."""

from collections.abc import Iterator

import pytest

from tests.servers import S3Server
from tests.systemd.sandbox import Sandbox
from tests.systemd.service import BODY, KEY


@pytest.fixture
def place(sandbox: Sandbox, server: S3Server, bucket: str) -> Iterator[str]:
    """A mount point with its line in /etc/fstab; root has keys in the usual file."""
    keys = f"aws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n"
    sandbox.write("/root/.aws/credentials", f"[default]\n{keys}")
    options = f"_netdev,nofail,allow_other,path_style,region={server.region},endpoint_url={server.endpoint_url}"
    sandbox.write("/etc/fstab", f"s3://{bucket} /mnt/{bucket} s3mount {options} 0 0\n", mode="644")
    sandbox.run("mkdir", f"/mnt/{bucket}")
    sandbox.run("systemctl", "daemon-reload")
    yield f"/mnt/{bucket}"
    assert _mounts(sandbox, f"/mnt/{bucket}") == []


def test_mount_reads_its_line(sandbox: Sandbox, place: str) -> None:
    sandbox.run("mount", place)

    assert sandbox.output("runuser", "-u", "nobody", "--", "cat", f"{place}/{KEY}") == BODY.decode().strip()
    sandbox.run("umount", place)


def test_mounting_all_again_mounts_nothing_twice(sandbox: Sandbox, place: str) -> None:
    sandbox.run("mount", "-a")
    sandbox.run("mount", "-a")

    assert _mounts(sandbox, place) == ["fuse.s3mount"]
    sandbox.run("umount", place)


def test_systemd_mounts_and_unmounts_by_the_line(sandbox: Sandbox, place: str) -> None:
    unit = sandbox.output("systemd-escape", "--path", "--suffix=mount", place)

    sandbox.run("systemctl", "start", unit)

    assert sandbox.output("cat", f"{place}/{KEY}") == BODY.decode().strip()
    sandbox.run("systemctl", "stop", unit)


def test_a_line_that_cannot_be_mounted_is_told_in_one_line(sandbox: Sandbox, place: str) -> None:
    failed = sandbox.run("mount", "-t", "s3mount", "-o", "regoin=us-east-1", "bucket", place, check=False)

    assert failed.returncode != 0
    (line,) = failed.stderr.splitlines()
    assert line.startswith("mount.s3mount: -o 'regoin': ")


def _mounts(sandbox: Sandbox, place: str) -> list[str]:
    return sandbox.run("findmnt", "-no", "FSTYPE", "--mountpoint", place, check=False).stdout.split()

"""Installing and uninstalling, each in a machine of its own that vanishes."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import S3Server
from tests.systemd.sandbox import CHECKOUT, Sandbox, booted
from tests.systemd.service import BODY, KEY

INSTALL = (CHECKOUT / "scripts/install", "--program", sys.prefix)
UNINSTALL = CHECKOUT / "scripts/uninstall"
PRUNED = 'PRUNEFS="NFS nfs nfs4"\n'


@pytest.fixture
def machine() -> Iterator[Sandbox]:
    with booted() as running:
        running.write("/etc/updatedb.conf", PRUNED)
        yield running


def test_installing_twice_is_installing_once(machine: Sandbox) -> None:
    machine.run(*INSTALL)
    machine.run(*INSTALL)

    assert machine.output("s3mount", "--version").startswith("s3mount ")
    assert machine.output("s3mountctl", "--version").startswith("s3mountctl ")
    assert machine.output("man", "--where", "s3mountctl").endswith("/man/man1/s3mountctl.1")
    assert machine.output("cat", "/etc/updatedb.conf") == 'PRUNEFS="NFS nfs nfs4 fuse.s3mount"'
    assert machine.output("stat", "-c", "%a %U %G", "/etc/s3mount") == "750 root s3mount"
    assert (
        machine.output("systemctl", "list-unit-files", "--no-legend", "s3mount@.service").split()[0]
        == "s3mount@.service"
    )


def test_a_program_that_others_could_change_is_refused_and_nothing_is_installed(
    machine: Sandbox,
) -> None:
    before = _files(machine)
    machine.run(sys.executable, "-m", "venv", "--without-pip", "/srv/program")
    for name in ("s3mount", "s3mount-clear", "s3mountctl", "mount.s3mount"):
        machine.write(
            f"/srv/program/bin/{name}",
            "#!/srv/program/bin/python\nprint('s3mount 0')\n",
            mode="755",
        )
    install = (INSTALL[0], "--program", "/srv/program")

    for spoil, mend in (
        (("chmod", "o+w", "/srv/program/bin"), ("chmod", "o-w", "/srv/program/bin")),
        (
            ("chown", "nobody", "/srv/program/bin/s3mount"),
            ("chown", "root", "/srv/program/bin/s3mount"),
        ),
        (("chown", "nobody", "/srv"), ("chown", "root", "/srv")),
    ):
        machine.run(*spoil)
        done = machine.run(*install, check=False)
        machine.run(*mend)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith("/srv/program is not for root to run: /srv")
        assert _files(machine) == before

    assert machine.run(*install).stdout == "installed: s3mount 0\n"


def test_uninstalling_leaves_configurations_and_nothing_else(machine: Sandbox) -> None:
    before = _files(machine)
    machine.run(*INSTALL)
    machine.write("/etc/s3mount/photos.toml", "")

    machine.run(UNINSTALL)

    assert _files(machine) - before == {"/etc/s3mount", "/etc/s3mount/photos.toml"}
    assert machine.output("cat", "/etc/updatedb.conf") == PRUNED.strip()


def test_purging_leaves_nothing(machine: Sandbox) -> None:
    before = _files(machine)
    machine.run(*INSTALL)
    machine.write("/etc/s3mount/photos.toml", "")

    machine.run(UNINSTALL, "--purge")

    assert _files(machine) == before
    assert machine.run("id", "s3mount", check=False).returncode != 0


def test_uninstalling_without_an_installation_is_a_success(machine: Sandbox) -> None:
    machine.run(UNINSTALL, "--purge")


def test_uninstalling_is_refused_while_a_mount_is_in_use_and_ends_an_idle_one(
    machine: Sandbox, server: S3Server, bucket: str
) -> None:
    """A mount of fstab, which no unit serves, went on without its program."""
    machine.run(*INSTALL)
    keys = f"aws_access_key_id={server.access_key}\naws_secret_access_key={server.secret_key}"
    machine.run("mkdir", "-p", "/root/.aws", "/mnt/photos")
    machine.write("/root/.aws/credentials", f"[default]\n{keys}\n")
    options = f"path_style,region={server.region},endpoint_url={server.endpoint_url}"
    machine.write("/etc/fstab", f"s3://{bucket} /mnt/photos s3mount {options} 0 0\n", mode="644")
    machine.run("mount", "/mnt/photos")
    machine.run("systemd-run", "--unit=reader", "--working-directory=/mnt/photos", "sleep", "inf")
    machine.wait_until(
        lambda: "/mnt/photos" in machine.output("sh", "-c", "readlink /proc/*/cwd || true")
    )

    refused = machine.run(UNINSTALL, check=False)

    assert refused.returncode == 1
    assert re.search(
        r"not removed, since these mounts are in use;.*\n/mnt/photos\n", refused.stderr
    )
    assert machine.output("cat", f"/mnt/photos/{KEY}") == BODY.decode().strip()
    assert machine.output("s3mount", "--version").startswith("s3mount ")
    machine.run("systemctl", "stop", "reader.service")
    machine.run(UNINSTALL)
    assert machine.run("findmnt", "/mnt/photos", check=False).returncode == 1
    assert machine.run("s3mount", "--version", check=False).returncode != 0


def _files(machine: Sandbox) -> set[str]:
    """Return the files where an installation may write, without backups of useradd."""
    places = (
        *("/etc", "/opt", "/usr/local", "/usr/sbin", "/run/s3mount"),
        *("/var/lib/s3mount", "/var/cache/s3mount"),
    )
    found = machine.run("find", *map(str, places), check=False).stdout.splitlines()
    return {
        path
        for path in found
        if not Path(path).name.endswith("-") and not path.startswith("/etc/systemd")
    }

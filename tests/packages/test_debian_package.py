"""The Debian package in clean, booted Debians: installed, used, upgraded, removed."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.packages.build import OLD_VERSION, Packages, run
from tests.servers import S3Server
from tests.systemd.sandbox import CHECKOUT, Sandbox
from tests.systemd.service import BODY, KEY, Service

SHARE = CHECKOUT / "share"
PRUNED = 'PRUNEFS="NFS nfs nfs4"'
WITHOUT_NETWORK = ("unshare", "--net", "--")
# a boot writes elsewhere, and systemd-sysusers leaves backups
PLACES = ("/etc", "/opt", "/root", "/srv", "/usr", "/var/lib")
WRITTEN = ("/etc/systemd/system", "/var/lib/dpkg", "/var/lib/systemd")
PRUNE = (word for path in WRITTEN for word in ("-path", path, "-prune", "-o"))
FIND = ("find", *PLACES, *PRUNE, "!", "-name", "*-", "-print")


def test_lintian_finds_no_error(packages: Packages) -> None:
    done = subprocess.run(
        ["lintian", "--no-cfg", "--allow-root", "--fail-on=error", packages.deb],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "E: " not in done.stdout


def test_it_installs_without_a_network_and_its_service_serves(
    clean_machine: Sandbox, packages: Packages, server: S3Server, bucket: str
) -> None:
    clean_machine.write("/etc/updatedb.conf", PRUNED)

    clean_machine.run(*WITHOUT_NETWORK, "dpkg", "--install", packages.deb)

    service = Service(clean_machine, "photos")
    service.configure(server, bucket)
    service.start()
    assert service.read() == BODY.decode().strip()
    assert clean_machine.output("stat", "-c", "%U", f"/proc/{service.pid}") == "s3mount"
    assert clean_machine.output("cat", "/etc/updatedb.conf") == PRUNED[:-1] + ' fuse.s3mount"'
    assert clean_machine.output("stat", "-c", "%a %U %G", "/etc/s3mount") == "750 root s3mount"
    assert clean_machine.output("systemd-analyze", "verify", service.unit) == ""
    assert clean_machine.output("dpkg", "--verify", "s3mount") == ""


def test_it_has_the_manual_pages_and_the_completions(packages: Packages) -> None:
    listed = run("dpkg-deb", "--contents", packages.deb)
    made = [path.relative_to(SHARE) for path in SHARE.rglob("*") if path.is_file()]

    assert len(made) > 6
    for path in made:
        name = f"{path}.gz" if path.parts[0] == "man" else str(path)
        packaged = name.replace("zsh/site-functions", "zsh/vendor-completions")
        assert f" ./usr/share/{packaged}\n" in listed


def test_its_commands_run_anywhere(machine: Sandbox, packages: Packages) -> None:
    assert machine.output("s3mount", "--version") == f"s3mount {OLD_VERSION}"
    for command in ("s3mount", "s3mountctl", "s3mount-clear"):
        assert "Usage: " in machine.output(command, "--help")
    _, name, architecture = run(
        "dpkg-deb", "-W", "--showformat=_${Package}_${Architecture}", packages.deb
    ).split("_")
    assert (name, architecture) == ("s3mount", run("dpkg", "--print-architecture").strip())


@pytest.mark.parametrize("kind", ["s3mount", "fuse.s3mount"])
def test_mount_mounts(machine: Sandbox, server: S3Server, bucket: str, kind: str) -> None:
    home = "/var/lib/s3mount"
    keys = f"aws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n"
    machine.write(f"{home}/.aws/credentials", f"[default]\n{keys}")
    machine.run("chown", "-R", "s3mount", home)
    options = (
        f"run_as=s3mount,allow_other,path_style,endpoint_url={server.endpoint_url},"
        f"region={server.region}"
    )

    machine.run("mount", "-t", kind, "-o", options, f"s3://{bucket}", "/mnt")

    assert (
        machine.output("runuser", "-u", "nobody", "--", "cat", f"/mnt/{KEY}")
        == BODY.decode().strip()
    )
    machine.run("umount", "/mnt")


def test_an_upgrade_leaves_mounts_and_configurations(service: Service, packages: Packages) -> None:
    machine = service.sandbox
    machine.write("/etc/s3mount/example.toml", "# my own\n", mode="644")
    machine.run("chmod", "755", "/etc/s3mount")
    service.start()
    serving = service.pid

    upgraded = machine.run("dpkg", "--install", packages.deb)

    assert (service.pid, service.read()) == (serving, BODY.decode().strip())
    assert upgraded.stdout.splitlines()[-1] == service.mountpoint
    assert machine.output("stat", "-c", "%a", "/etc/s3mount") == "755"
    assert machine.output("cat", "/etc/s3mount/example.toml") == "# my own"
    assert machine.output("s3mount", "--version") != f"s3mount {OLD_VERSION}"
    assert service.show("NeedDaemonReload") == "no"
    service.systemctl("restart", service.unit)
    assert (service.pid == serving, service.read()) == (False, BODY.decode().strip())


def test_a_removal_is_refused_while_a_mount_is_in_use(service: Service) -> None:
    machine = service.sandbox
    service.start()
    machine.run("systemd-run", "--unit=reader", "tail", "-f", service.file)
    machine.wait_until(
        lambda: f" {service.file}" in machine.output("sh", "-c", "ls -l /proc/*/fd 2>&1 || true")
    )

    removed = machine.run("dpkg", "--remove", "s3mount", check=False)

    assert removed.returncode != 0
    assert re.search(rf"these mounts are in use;.*\n{service.mountpoint}\n", removed.stderr)
    assert (service.state, service.read()) == ("active", BODY.decode().strip())
    status = machine.output("dpkg-query", "-W", "-f=${db:Status-Status}", "s3mount")
    assert status == "installed"


def test_a_removal_ends_idle_mounts_and_leaves_configurations(service: Service) -> None:
    machine = service.sandbox
    service.start()

    machine.run("dpkg", "--remove", "s3mount")

    assert not service.is_mounted
    assert service.state == "inactive"
    assert machine.output("ls", "/etc/s3mount").split() == [
        "example.toml",
        "photos.env",
        "photos.toml",
    ]
    assert machine.run("s3mount", "--version", check=False).returncode != 0


def test_a_purge_leaves_only_the_locked_user(service: Service, clean_root: Path) -> None:
    machine = service.sandbox
    machine.write("/etc/updatedb.conf", PRUNED)
    service.systemctl("enable", "--now", service.unit)
    machine.write("/usr/lib/s3mount/__pycache__/of_a_version_before.cpython-311.pyc", "")

    machine.run("dpkg", "--purge", "s3mount")

    assert not service.is_mounted
    assert machine.output("getent", "passwd", "s3mount").endswith(":/usr/sbin/nologin")
    assert machine.output("getent", "shadow", "s3mount").split(":")[1].startswith("!")
    left = set(machine.output(*FIND).splitlines())
    assert left - set(run("chroot", clean_root, *FIND).splitlines()) == {"/etc/updatedb.conf"}
    for directory in ("/etc/systemd/system", "/run"):
        found = machine.output("find", directory, "-xdev", "-name", "*s3mount*")
        assert found == "", found


def test_updatedb_of_a_package_that_comes_later_ignores_mounts(machine: Sandbox) -> None:
    machine.write("/etc/updatedb.conf", PRUNED)

    machine.run("dpkg-trigger", "--by-package=s3mount", "/etc/updatedb.conf")
    machine.run("dpkg", "--triggers-only", "--pending")

    assert machine.output("cat", "/etc/updatedb.conf") == PRUNED[:-1] + ' fuse.s3mount"'
    machine.run("dpkg", "--remove", "s3mount")
    assert machine.output("cat", "/etc/updatedb.conf") == PRUNED

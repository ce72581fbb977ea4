"""The claims of docs/containers.md on mount propagation and namespaces, by the kernel's own means.

A container is a mount namespace here, with the propagation that runtimes give it.
"""

import shlex
from dataclasses import dataclass

import pytest

from tests.servers import S3Server
from tests.systemd.sandbox import Sandbox
from tests.systemd.service import BODY, KEY, Service, environment

PARENT = "/mnt"  # of the mount point of a `Service`
CONTENT = BODY.decode().strip()


@dataclass(frozen=True, slots=True)
class Container:
    """A service with a mount namespace of its own; *name* is that of its unit."""

    machine: Sandbox
    name: str

    def start(self, propagation: str, script: str) -> None:
        """Run *script* in a namespace with *propagation* from the machine, and keep that."""
        words = ("unshare", "--mount", f"--propagation={propagation}", "sh", "-ec")
        self.machine.run(
            "systemd-run",
            f"--unit={self.name}",
            "--property=Type=notify",
            "--property=NotifyAccess=all",
            *words,
            f"{script}\nsystemd-notify --ready\nexec sleep infinity",
        )

    def read(self, path: str) -> str:
        """Return the content of the file *path* inside, or the error that reading it has."""
        pid = self.machine.output("systemctl", "show", "-P", "MainPID", self.name)
        words = ("nsenter", f"--target={pid}", "--mount", "--", "cat", path)
        done = self.machine.run(*words, check=False)
        return (done.stdout or done.stderr).strip()


@pytest.fixture
def machine(machine: Sandbox) -> Sandbox:
    """A machine whose mounts are shared, as systemd makes them outside of containers."""
    machine.run("mount", "--make-rshared", "/")
    return machine


def test_a_remount_is_seen_through_the_parent_with_rslave_only(service: Service) -> None:
    service.start()
    container, closed = (Container(service.sandbox, name) for name in ("container", "closed"))
    container.start(
        "slave",
        f"mkdir -p /srv/parent /srv/point; mount --rbind {PARENT} /srv/parent; "
        f"mount --make-rslave /srv/parent; mount --bind {PARENT}/photos /srv/point",
    )
    closed.start("private", ":")
    through_parent, through_point = f"/srv/parent/photos/{KEY}", f"/srv/point/{KEY}"
    assert container.read(through_parent) == container.read(through_point) == CONTENT
    assert closed.read(service.file) == CONTENT

    service.systemctl("restart", service.unit)

    assert container.read(through_parent) == CONTENT
    assert container.read(through_point).endswith("not connected")
    assert closed.read(service.file).endswith("not connected")


def test_a_sidecar_mounts_for_the_other_containers(
    machine: Sandbox, server: S3Server, bucket: str
) -> None:
    """As a pod does it: Bidirectional in the sidecar, HostToContainer in the others."""
    machine.run("mkdir", "-p", f"{PARENT}/photos")
    reader = Container(machine, "reader")
    reader.start("slave", ":")

    for name in ("sidecar", "again"):
        sidecar = Container(machine, name)
        sidecar.start(
            "unchanged",
            f"export {_words(environment(server))}; s3mount {bucket} {PARENT}/photos "
            f"--allow-other --path-style --endpoint-url {server.endpoint_url}",
        )
        assert reader.read(f"{PARENT}/photos/{KEY}") == CONTENT
        machine.run("systemctl", "stop", name)
        assert machine.run("findmnt", f"{PARENT}/photos", check=False).returncode != 0


def test_without_root_it_mounts_in_a_user_namespace(
    machine: Sandbox, server: S3Server, bucket: str
) -> None:
    mount = f"s3mount {bucket} /tmp/mine --path-style --endpoint-url {server.endpoint_url}"
    script = (
        f"export {_words(environment(server))}; mkdir /tmp/mine; {mount}; "
        f"cat {shlex.quote(f'/tmp/mine/{KEY}')}; umount /tmp/mine"
    )

    done = machine.run(
        "runuser",
        "-u",
        "nobody",
        "--",
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-ec",
        script,
    )

    assert done.stdout.strip() == CONTENT


def _words(lines: str) -> str:
    return " ".join(lines.split())

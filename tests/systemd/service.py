"""One instance of the unit in a sandbox: its configuration, its state in systemd, and its mount."""

import json
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.servers import S3Server
from tests.systemd.sandbox import Sandbox

KEY = "notes/hello world.txt"
BODY = b"Hello from the bucket.\n"


@dataclass(frozen=True, slots=True)
class Service:
    """s3mount@*name* of the machine, or with *user* of that user's own manager."""

    sandbox: Sandbox
    name: str
    user: str | None = None

    @property
    def unit(self) -> str:
        return f"s3mount@{self.name}.service"

    @property
    def mountpoint(self) -> str:
        return f"/home/{self.user}/{self.name}" if self.user else f"/mnt/{self.name}"

    @property
    def file(self) -> str:
        return f"{self.mountpoint}/{KEY}"

    @property
    def configuration(self) -> str:
        directory = f"/home/{self.user}/.config" if self.user else "/etc"
        return f"{directory}/s3mount/{self.name}.toml"

    def configure(self, server: S3Server, bucket: str, **settings: str) -> None:
        """Write a file for the mount and one for its keys, and make the mount point."""
        self.sandbox.run("install", "-d", f"--owner={self.user or 'root'}", self.mountpoint)
        self._write(
            self.configuration.removesuffix("toml") + "env", environment(server), mode="600"
        )
        lines = {
            "bucket": bucket,
            "mountpoint": self.mountpoint,
            "endpoint-url": server.endpoint_url,
        } | settings
        openness = "" if self.user else "allow-other = true\n"
        self.write_configuration("path-style = true\n" + openness + toml(lines))

    def write_configuration(self, text: str) -> None:
        self._write(self.configuration, text, mode="644")

    def override(self, **directives: object) -> None:
        """Write a drop-in, as `systemctl edit` does."""
        lines = "".join(f"{name}={value}\n" for name, value in directives.items())
        place = f"/home/{self.user}/.config/systemd/user" if self.user else "/run/systemd/system"
        self._write(f"{place}/{self.unit}.d/test.conf", f"[Service]\n{lines}", mode="644")
        self.systemctl("daemon-reload")

    def _write(self, path: str, text: str, mode: str) -> None:
        self.sandbox.write(path, text, mode)
        if self.user:
            self.sandbox.run("chown", "-R", self.user, f"/home/{self.user}/.config")

    def systemctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Call systemctl for the manager of the unit."""
        manager = ("--user", f"--machine={self.user}@") if self.user else ()
        return self.sandbox.run("systemctl", *manager, *arguments, check=check)

    def start(self) -> None:
        done = self.systemctl("start", self.unit, check=False)
        assert done.returncode == 0, "\n".join((done.stderr, *self.journal))

    def stop(self) -> None:
        self.systemctl("stop", self.unit)

    def kill(self, *arguments: str) -> None:
        self.systemctl("kill", *arguments, self.unit)

    def show(self, name: str) -> str:
        """A property of the unit, see org.freedesktop.systemd1(5)."""
        return self.systemctl("show", "-P", name, self.unit).stdout.rstrip("\n")

    @property
    def state(self) -> str:
        return self.show("ActiveState")

    @property
    def pid(self) -> str:
        return self.show("MainPID")

    @property
    def processes(self) -> list[str]:
        """The pids of all its processes: the one that serves, and its helper process."""
        return self.sandbox.output(
            "cat", f"/sys/fs/cgroup{self.show('ControlGroup')}/cgroup.procs"
        ).split()

    @property
    def journal(self) -> list[str]:
        """The program's own lines; those of systemd about it have another identifier."""
        self.sandbox.run("journalctl", "--sync")
        manager = "--user-unit" if self.user else "--unit"
        said = self.sandbox.output(
            "journalctl", "-q", "-o", "cat", "-t", "s3mount", manager, self.unit
        )
        return said.splitlines()

    @property
    def is_mounted(self) -> bool:
        return self.sandbox.run("findmnt", self.mountpoint, check=False).returncode == 0

    @property
    def control_sockets(self) -> list[str]:
        """The control sockets of this instance, by its name, or of all mounts of its user."""
        if self.user:
            folder = f"/run/user/{self.sandbox.output('id', '-u', self.user)}/s3mount"
        else:
            folder = f"/run/s3mount/s3mount@{self.name}"
        return self.sandbox.run("find", folder, "-type", "s", check=False).stdout.split()

    @property
    def greeting(self) -> dict[str, Any]:
        """What its control socket says to root first; of several, the one that answers."""
        script = (
            "import socket, sys\n"
            "for path in sys.argv[1:]:\n"
            "    s = socket.socket(socket.AF_UNIX)\n"
            "    if not s.connect_ex(path): print(s.makefile().readline())\n"
        )
        said = self.sandbox.output("/usr/bin/python3", "-c", script, *self.control_sockets)
        found: dict[str, Any] = json.loads(said)
        return found

    def read(self) -> str:
        """Read the file as its user, or as a user without relation to the service."""
        return self.sandbox.output("runuser", "-u", self.user or "nobody", "--", "cat", self.file)

    def wait_restarted(self, killed: str) -> None:
        """Wait until the unit serves with another process than *killed*."""
        self.sandbox.wait_until(lambda: self.state == "active" and self.pid not in ("0", killed))


def environment(server: S3Server) -> str:
    keys = {
        "ACCESS_KEY_ID": server.access_key,
        "SECRET_ACCESS_KEY": server.secret_key,
        "REGION": server.region,
    }
    return "".join(f"AWS_{name}={shlex.quote(value)}\n" for name, value in keys.items())


def toml(settings: Mapping[str, str]) -> str:
    return "".join(f'{name.replace("_", "-")} = "{value}"\n' for name, value in settings.items())

"""One instance of the unit in a sandbox: its configuration, its state as systemd tells it, and its mount."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from tests.servers import S3Server
from tests.systemd.sandbox import Sandbox

KEY = "notes/hello world.txt"
BODY = b"Hello from the bucket.\n"


@dataclass(frozen=True, slots=True)
class Service:
    """s3mount@*name*, which mounts at /mnt/*name*."""

    sandbox: Sandbox
    name: str

    @property
    def unit(self) -> str:
        return f"s3mount@{self.name}.service"

    @property
    def mountpoint(self) -> str:
        return f"/mnt/{self.name}"

    @property
    def file(self) -> str:
        return f"{self.mountpoint}/{KEY}"

    def configure(self, server: S3Server, bucket: str, **settings: str) -> None:
        """As an administrator would: a file for the mount, one for its keys, and an empty directory."""
        self.sandbox.run("mkdir", "-p", self.mountpoint)
        self.sandbox.write(f"/etc/s3mount/{self.name}.env", environment(server))
        lines = {"bucket": bucket, "mountpoint": self.mountpoint, "endpoint-url": server.endpoint_url} | settings
        self.write_configuration("allow-other = true\npath-style = true\n" + toml(lines))

    def write_configuration(self, text: str) -> None:
        self.sandbox.write(f"/etc/s3mount/{self.name}.toml", text, mode="644")

    def override(self, **directives: object) -> None:
        """A drop-in, as `systemctl edit` makes it."""
        lines = "".join(f"{name}={value}\n" for name, value in directives.items())
        self.sandbox.write(f"/run/systemd/system/{self.unit}.d/test.conf", f"[Service]\n{lines}", mode="644")
        self.sandbox.run("systemctl", "daemon-reload")

    def start(self) -> None:
        done = self.sandbox.run("systemctl", "start", self.unit, check=False)
        assert done.returncode == 0, "\n".join((done.stderr, *self.journal))

    def stop(self) -> None:
        self.sandbox.run("systemctl", "stop", self.unit)

    def show(self, name: str) -> str:
        """A property of the unit, see org.freedesktop.systemd1(5)."""
        return self.sandbox.output("systemctl", "show", "-P", name, self.unit)

    @property
    def state(self) -> str:
        return self.show("ActiveState")

    @property
    def pid(self) -> str:
        return self.show("MainPID")

    @property
    def journal(self) -> list[str]:
        """What the program itself said; what systemd says of it has another identifier."""
        self.sandbox.run("journalctl", "--sync")
        said = self.sandbox.output("journalctl", "-q", "-o", "cat", "-t", "s3mount", "-u", self.unit)
        return said.splitlines()

    @property
    def is_mounted(self) -> bool:
        return self.sandbox.run("findmnt", self.mountpoint, check=False).returncode == 0

    def read(self) -> str:
        """The file, read by a user who has nothing to do with the service."""
        return self.sandbox.output("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", self.file)

    def wait_comes_back(self, killed: str) -> None:
        """Until the unit serves with another process than *killed*."""
        self.sandbox.wait_until(lambda: self.state == "active" and self.pid not in ("0", killed))

    def kill(self, *arguments: str) -> None:
        self.sandbox.run("systemctl", "kill", *arguments, self.unit)


def environment(server: S3Server) -> str:
    keys = {"ACCESS_KEY_ID": server.access_key, "SECRET_ACCESS_KEY": server.secret_key, "REGION": server.region}
    return "".join(f"AWS_{name}={shlex.quote(value)}\n" for name, value in keys.items())


def toml(settings: Mapping[str, str]) -> str:
    return "".join(f'{name.replace("_", "-")} = "{value}"\n' for name, value in settings.items())

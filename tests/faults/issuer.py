"""Programs that issue credentials to a mount, and what its readers see."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.faults.bucket import Bucket
from tests.faults.faulty_mount import BUCKET, PATIENCE, FaultyMount, MountOptions
from tests.faults.hostile_store import Exchange, Step, behave
from tests.faults.http_faults import refused
from tests.faults.workloads import SMALL
from tests.waiting import wait_until

_EXPIRED = refused(400, "ExpiredToken", "The provided token has expired.")
TIMEOUT = 4.0  # seconds, of the mounts


class Issuer:
    """A `credential_process` program, as an organization's login tool is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config"
        self._credentials = folder / "credentials.json"
        self._program = folder / "bin" / "issue"
        self._program.parent.mkdir()
        self.named(str(self._program))
        self.does()
        self.issue("first-token")

    def named(self, command: str) -> None:
        """Make the profile run *command*."""
        self.config.write_text(f"[default]\ncredential_process = {command}\n")

    def issue(self, token: str, expires: str = "2099-01-01T00:00:00Z") -> None:
        """Issue *token* from now on."""
        credentials = {"AccessKeyId": "AKIDISSUED", "SecretAccessKey": "s", "SessionToken": token}
        self._credentials.write_text(
            json.dumps({"Version": 1, **credentials, "Expiration": expires})
        )

    def does(self, text: str = "{give}") -> None:
        """Make the program run the script *text*, in which *{give}* prints the credentials."""
        program = self._program.with_suffix(".new")
        program.write_text("#!/bin/sh\n" + text.format(give=f"cat {self._credentials}") + "\n")
        program.chmod(0o755)
        program.rename(self._program)

    def hangs(self) -> None:
        """Make the program hang without output; `pid` is its process."""
        self.does(
            f"echo $$ >{self.folder}/pid.new\n"
            f"mv {self.folder}/pid.new {self.folder}/pid\n"
            "exec sleep 1000"
        )

    @property
    def has_hung(self) -> bool:
        return (self.folder / "pid").exists()

    @property
    def pid(self) -> int:
        """The process that hangs."""
        return int((self.folder / "pid").read_text())


def faulty_mount(options: MountOptions, issuer: Issuer) -> FaultyMount:
    """Return a mount with the credentials of *issuer*, which is not begun."""
    bucket = Bucket(BUCKET)
    bucket.put("before", SMALL)
    for key in ("after", "deep/down"):
        bucket.put(key, SMALL)
    search = f"{issuer.folder}/first:{issuer.folder}/bin:{os.environ['PATH']}"
    return FaultyMount(options, bucket, {"AWS_CONFIG_FILE": str(issuer.config), "PATH": search})


def expire(mount: FaultyMount, token: str) -> None:
    """Make the store refuse *token* as expired, until its faults end."""

    def fault(exchange: Exchange) -> None:
        is_expired = exchange.request.headers.get("x-amz-security-token") == token
        (_EXPIRED if is_expired else behave)(exchange)

    mount.store.misbehave(Step(None, fault))


def reading(path: Path) -> subprocess.Popen[str]:
    """Start a process that reads *path*; it is killed if it hangs."""
    program = f"open({str(path)!r}, 'rb').read()"
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program], stderr=subprocess.PIPE, text=True
    )


def read_failure(path: Path) -> str:
    """Read *path*, and return how that fails."""
    with reading(path) as reader:
        try:
            _, said = reader.communicate(timeout=PATIENCE)
        finally:
            reader.kill()
    number = re.search(r"\[Errno (\d+)\]", said)
    return errno.errorcode[int(number[1])] if number else ""


def wait_gone(pid: int) -> None:
    """Return when no process *pid* runs; it may be an orphan."""
    wait_until(
        lambda: not Path(f"/proc/{pid}").exists() or b"\0State:\tZ" in _status(pid), PATIENCE
    )


def _status(pid: int) -> bytes:
    try:
        return b"\0" + Path(f"/proc/{pid}/status").read_bytes().replace(b"\n", b"\0")
    except ProcessLookupError:
        return b"\0State:\tZ"

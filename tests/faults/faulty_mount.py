"""Hostile store, and a real mount of it through the command line.

Knows processes, mount points and log files. One mount serves many scenarios in turn.
"""

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from s3mount.daemon.mounting.mount_table import mount_at
from tests.faults.bucket import Bucket
from tests.faults.hostile_store import HostileStore
from tests.mount.forked_process import ForkedProcess
from tests.mount.mount_process import S3MOUNT, environment, start_forked
from tests.waiting import wait_until

BUCKET = "faulty"
KEY_ID, SECRET, TOKEN = (
    "AKIDFAULTYFAULTY",
    "a-secret-of-forty-letters-nobody-may-see",
    "a-token-nobody-may-see",
)
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": TOKEN,
}
PATIENCE = 60.0  # seconds for a mount to start or to end, on a busy machine


@dataclass(frozen=True, slots=True)
class MountOptions:
    """Options of a mount; scenarios with equal options share one."""

    transport: str
    ttl: int
    timeout: float


@dataclass(slots=True)
class FaultyMount:
    """Mount of a hostile store, as a context manager."""

    options: MountOptions
    bucket: Bucket
    credentials: Mapping[str, str] = field(
        default_factory=lambda: CREDENTIALS
    )  # environment variables
    log_format: str = "json"
    store: HostileStore = field(init=False)
    elsewhere: HostileStore = field(init=False)  # target of redirects
    mountpoint: Path = field(init=False)
    _folder: Path = field(init=False)
    _process: ForkedProcess = field(init=False)
    _log: IO[bytes] = field(init=False)

    def __enter__(self) -> Self:
        self.store, self.elsewhere = HostileStore(self.bucket), HostileStore(self.bucket)
        self.store.elsewhere = self.elsewhere.url
        self._folder = Path(tempfile.mkdtemp(prefix="s3mount-faults-"))
        self.mountpoint = self._folder / "mnt"
        self.mountpoint.mkdir()
        self._log = (self._folder / "log").open("wb")
        env = environment(**{**self.credentials, "HOME": str(self._folder)})
        self._process = start_forked(self._command(), env, self._log, self._log)
        self._wait_mounted()
        return self

    def __exit__(self, *_: object) -> None:
        self.store.end_faults()
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        subprocess.run(["fusermount3", "-uzq", self.mountpoint], check=False)
        self._log.close()
        for store in (self.store, self.elsewhere):
            store.__exit__(None, None, None)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def log_text(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def log_records(self, since: int) -> list[Mapping[str, Any]]:
        """Return the log records after the first *since* characters."""
        return [json.loads(line) for line in self.log_text[since:].splitlines()]

    def forget(self) -> None:
        """Expire everything that the mount has cached, by SIGHUP."""
        self._process.send_signal(signal.SIGHUP)

    def unmount(self) -> None:
        """Unmount with fusermount3, as a user does."""
        subprocess.run(["fusermount3", "-u", self.mountpoint], check=True, timeout=PATIENCE)

    def terminate(self) -> None:
        self._process.terminate()

    def wait_ended(self) -> int:
        """Return the exit status of the mount's process; raises TimeoutExpired if it stays."""
        return self._process.wait(PATIENCE)

    def _command(self) -> list[str]:
        arguments = {
            "--endpoint-url": self.store.url,
            "--region": "us-east-1",
            "--transport": self.options.transport,
            "--metadata-ttl": str(self.options.ttl),
            "--timeout": str(self.options.timeout),
            "--part-size": "1MiB",
            "--log-format": self.log_format,
            # at debug the log has no rate limit, and one mount serves many scenarios
            "--log-level": "debug" if self.log_format == "json" else "info",
        }
        flat = [word for pair in arguments.items() for word in pair]
        return [
            *S3MOUNT,
            BUCKET,
            str(self.mountpoint),
            "--foreground",
            "--path-style",
            *flat,
        ]

    def _wait_mounted(self) -> None:
        def is_mounted() -> bool:
            return mount_at(str(self.mountpoint)) is not None

        try:
            wait_until(lambda: is_mounted() or not self.is_alive, PATIENCE)
            assert is_mounted(), f"the mount did not begin: {self.log_text}"
        except AssertionError:
            self.__exit__()
            raise

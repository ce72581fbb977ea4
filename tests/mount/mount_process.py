"""Mount under test: the real command, through the real kernel, on a real server.

No process and no mount is left after a test. An unexpected log record at WARNING or above, a
traceback, or an exit status other than 0 fails it. A hanging mount is aborted, so that its reader
gets an error.
"""

import json
import os
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO, Final

from s3mount.daemon.mounting.mount_table import mount_at
from tests.mount.forked_process import BOTO_MODULES, ForkedProcess, can_fork, fork_server
from tests.servers import S3Server

REPOSITORY = Path(__file__).resolve().parents[2]
S3MOUNT: Final = [sys.executable, "-m", "s3mount"]
CONNECTIONS = Path("/sys/fs/fuse/connections")
STARTED_WITHIN = 30.0  # seconds, for a busy machine and boto3's imports
ENDED_WITHIN = 15.0
HANGS_AFTER = 150.0  # seconds of one test


@dataclass
class Mount:
    """A serving mount at *path*.

    *expected* and *allowed* are patterns of log records at WARNING or above. A test that ends the
    process itself sets *is_left*.
    """

    path: Path
    process: subprocess.Popen[bytes] | ForkedProcess
    log_file: Path
    expected: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    is_left: bool = False

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def expect(self, *patterns: str) -> None:
        """Require log records at WARNING or above that match *patterns*."""
        self.expected.extend(patterns)

    def allow(self, *patterns: str) -> None:
        """Allow log records at WARNING or above that match *patterns*."""
        self.allowed.extend(patterns)

    def records(self) -> list[dict[str, Any]]:
        """Return the log records so far; other lines (a traceback, a print) have the level RAW."""
        return [_record(line) for line in self.log_file.read_text().splitlines()]


def command(source: str, at: Path, *options: str) -> list[str]:
    """Return the command line of a user, with this environment's Python."""
    return [*S3MOUNT, source, str(at), *options]


def environment(**variables: str) -> dict[str, str]:
    """Return an environment without AWS configuration and instance metadata."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
        "AWS_EC2_METADATA_DISABLED": "true",
        **variables,
    }


@contextmanager
def mounted(
    source: str, at: Path, *options: str, env: Mapping[str, str], is_forked: bool = True
) -> Iterator[Mount]:
    """Mount *source* at the new directory *at*; the end checks exit status and log.

    Unless *is_forked*, the process is a child of this one, with a command line of its own.
    """
    words = command(source, at, "--foreground", "--log-format", "json", *options)
    with served(words, at, env=env, is_forked=is_forked) as mount:
        yield mount


@contextmanager
def served(
    words: list[str],
    at: Path,
    *,
    env: Mapping[str, str],
    has_pipes: bool = False,
    is_forked: bool = False,
) -> Iterator[Mount]:
    """Do as `mounted`, by the command *words*; with *has_pipes* its stdin and stdout are pipes."""
    at.mkdir(parents=True)
    log_file = at.with_name(f"{at.name}.log")
    start = _fork if is_forked and can_fork(env) else partial(_popen, has_pipes=has_pipes)
    with log_file.open("wb") as log:
        process = start(words, environment(**env), log)
    mount = Mount(at, process, log_file)
    with _abort_hanging(at):
        try:
            _wait_mounted(mount)
            yield mount
            if not mount.is_left:
                _unmount(mount)
        finally:
            _clear(mount)
    check_log(mount)


def _popen(
    words: list[str], env: Mapping[str, str], log: BinaryIO, *, has_pipes: bool
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        env=env,
        cwd="/",
        stdin=subprocess.PIPE if has_pipes else subprocess.DEVNULL,
        stdout=subprocess.PIPE if has_pipes else log,
        stderr=log,
    )


def _fork(words: list[str], env: Mapping[str, str], log: BinaryIO) -> ForkedProcess:
    """Do as `_popen` with the command s3mount, by a fork of a process that has imported it."""
    return start_forked(words, env, log, log)


def start_forked(
    words: list[str], env: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
) -> ForkedProcess:
    """Start the command *words* by a fork of a process that has imported s3mount."""
    assert words[: len(S3MOUNT)] == S3MOUNT
    server = fork_server(
        tuple(environment().items()), BOTO_MODULES if {"--transport", "boto3"} <= {*words} else ()
    )
    with open(os.devnull, "rb") as nothing:
        descriptors = (nothing.fileno(), stdout.fileno(), stderr.fileno())
        return server.start(words[len(S3MOUNT) :], env, descriptors)


@contextmanager
def mount_of(
    server: S3Server, source: str, at: Path, *options: str, **variables: str
) -> Iterator[Mount]:
    """Mount *source* (a bucket, perhaps with a prefix) of *server* at the new directory *at*."""
    env = {**server.environment(), **variables}
    if server.ca_bundle is not None:
        options = ("--ca-bundle", str(server.ca_bundle), *options)
    with mounted(source, at, "--endpoint-url", server.endpoint_url, *options, env=env) as mount:
        yield mount


def run_command(
    source: str, at: Path, *options: str, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the command without --foreground, and return its result; the caller unmounts."""
    return subprocess.run(
        command(source, at, *options),
        env=environment(**env),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=STARTED_WITHIN,
        check=False,
    )


def _run_fork(
    source: str, at: Path, *options: str, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Do as `run_command`, by a fork of a process that has imported s3mount."""
    words = command(source, at, *options)
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        process = start_forked(words, environment(**env), stdout, stderr)
        try:
            status = process.wait(STARTED_WITHIN)
        finally:
            process.kill()
        texts = [_text_of(file) for file in (stdout, stderr)]
    return subprocess.CompletedProcess(words, status, *texts)


def _text_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def refused(
    source: str, at: Path, *options: str, env: Mapping[str, str], is_forked: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command that must fail to mount, and return its result; unmounts if it succeeds."""
    run = _run_fork if is_forked and can_fork(env) else run_command
    try:
        return run(source, at, *options, env=env)
    finally:
        if is_mounted(at):
            _run("umount", "--lazy", str(at))


# of libfuse, if the unmount ends the connection while a request is read: s3mount/fuse/session.py
ABORTED_BY_UNMOUNT: Final = "fuse: reading device: Software caused connection abort"


def check_log(mount: Mount) -> None:
    """Check that each record at WARNING or above is expected, and none is missing."""
    serious = [record for record in mount.records() if record["level"] not in ("DEBUG", "INFO")]
    texts = [json.dumps(record, ensure_ascii=False) for record in serious]
    unexpected = [
        text
        for text in texts
        if not any(
            re.search(pattern, text)
            for pattern in [*mount.expected, *mount.allowed, ABORTED_BY_UNMOUNT]
        )
    ]
    missing = [
        pattern for pattern in mount.expected if not any(re.search(pattern, text) for text in texts)
    ]
    assert not unexpected, "unexpected log records:\n" + "\n".join(unexpected)
    assert not missing, f"the log lacks {missing} among {texts}"


@contextmanager
def _abort_hanging(at: Path) -> Iterator[None]:
    """Abort the mount at *at* if one test takes longer than HANGS_AFTER; a module's may be many."""
    is_over = threading.Event()

    def watch() -> None:
        test, since = "", time.monotonic()
        while not is_over.wait(1):
            current = os.environ.get("PYTEST_CURRENT_TEST", "")
            if current != test:
                test, since = current, time.monotonic()
            elif time.monotonic() - since > HANGS_AFTER:
                abort(at)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def abort(at: Path) -> None:
    """Make the kernel fail every request of the mount at *at*, without asking the mount."""
    connection = _connection(at)
    if connection is None:
        return
    if not connection.exists():
        _run("mount", "-t", "fusectl", "fusectl", str(CONNECTIONS))
    with suppress(OSError):
        (connection / "abort").write_text("1")


def is_mounted(at: Path) -> bool:
    """Return whether something is mounted at *at*, without an access to it, which may hang."""
    return _connection(at) is not None


def _connection(at: Path) -> Path | None:
    entry = mount_at(str(at))
    return CONNECTIONS / entry.device.split(":")[1] if entry else None


def _wait_mounted(mount: Mount) -> None:
    """Wait for the mount table to change (which poll reports), or for the process to end."""
    table = os.open("/proc/self/mountinfo", os.O_RDONLY)
    process = os.pidfd_open(mount.process.pid)
    try:
        poll = select.poll()
        poll.register(table, select.POLLERR | select.POLLPRI)
        poll.register(process, select.POLLIN)
        while not is_mounted(mount.path):
            changed = poll.poll(STARTED_WITHIN * 1000)
            ended = any(descriptor == process for descriptor, _ in changed)
            assert changed, "no mount came up in time"
            assert not ended, f"no mount came up:\n{mount.log_file.read_text()}"
    finally:
        os.close(table)
        os.close(process)
    mount.path.stat()  # the kernel delays this until the mount responds


def _unmount(mount: Mount) -> None:
    """Unmount lazily, and wait for the process, which ends when nothing in the mount is open.

    A plain umount fails with EBUSY while another process looks at all mounts, as df and fuser do.
    """
    done = (
        _run("umount", "--lazy", str(mount.path))
        if os.geteuid() == 0
        else _run("fusermount3", "-uz", str(mount.path))
    )
    assert done.returncode == 0, f"unmounting failed: {done.stderr}\n{mount.log_file.read_text()}"
    try:
        status = mount.process.wait(ENDED_WITHIN)
    except subprocess.TimeoutExpired:
        raise AssertionError(
            f"the unmounted process goes on:\n{mount.log_file.read_text()}"
        ) from None
    assert status == 0, f"exit status {status}:\n{mount.log_file.read_text()}"


def _clear(mount: Mount) -> None:
    if is_mounted(mount.path):
        abort(mount.path)
        _run("umount", "--lazy", str(mount.path))
    if mount.process.poll() is None:
        mount.process.kill()
        mount.process.wait(ENDED_WITHIN)
    for pipe in (mount.process.stdin, mount.process.stdout):
        if pipe is not None:
            pipe.close()


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {"level": "RAW", "message": line}
    return {**record, "level": str(record.get("level", record.get("levelname", "RAW"))).upper()}


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=ENDED_WITHIN, check=False)

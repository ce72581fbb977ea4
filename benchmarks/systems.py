"""Compared mounts: each a command in the foreground, with equal metadata lifetimes and defaults.

Knows how each is started and configured, never what is done with it.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import ACCESS_KEY, CHECKOUT, REGION, SECRET_KEY, end

_MOUNT_TIMEOUT = 60.0  # seconds
# seconds after the mount responds, in which its own startup work (checks, readahead) ends
_SETTLE = 0.6
_POLL = 0.003  # seconds


@dataclass(frozen=True, slots=True)
class Target:
    """What to mount; *ttl* is the metadata lifetime in seconds, *ca* an HTTPS *url*'s authority.

    *cache* is the directory of a disk cache, for those systems that get one.
    """

    url: str
    bucket: str
    mountpoint: Path
    scratch: Path
    ttl: int = 60
    ca: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class System:
    """A program that mounts: its arguments for a target, and its version command."""

    name: str
    program: tuple[str, ...]
    arguments: Callable[[Target], list[str]]
    version_option: str = "--version"

    @property
    def is_installed(self) -> bool:
        return _find(self.program[0]) is not None

    def command(self, target: Target) -> list[str]:
        return [
            _find(self.program[0]) or self.program[0],
            *self.program[1:],
            *self.arguments(target),
        ]

    def version(self) -> str:
        """Return the first line of the version command's output."""
        command = [
            _find(self.program[0]) or self.program[0],
            *self.program[1:],
            self.version_option,
        ]
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, env=command_environment(None)
        )
        return (
            (answer.stdout or answer.stderr).strip().split("\n")[0]
            if answer.returncode == 0
            else "unknown"
        )


def _s3mount(*options: str) -> Callable[[Target], list[str]]:
    def arguments(to: Target) -> list[str]:
        where = [
            to.bucket,
            str(to.mountpoint),
            "--endpoint-url",
            to.url,
            "--path-style",
            "--foreground",
        ]
        return [*where, "--metadata-ttl", str(to.ttl), *options]

    return arguments


def _rclone(*options: str) -> Callable[[Target], list[str]]:
    def arguments(to: Target) -> list[str]:
        store = [
            "--s3-provider",
            "Other",
            "--s3-env-auth",
            "--s3-endpoint",
            to.url,
            "--s3-region",
            REGION,
        ]
        # --use-server-modtime: without it each file costs a HEAD, which no other mount sends
        lifetimes = [
            "--dir-cache-time",
            f"{to.ttl}s",
            "--attr-timeout",
            f"{to.ttl}s",
            "--use-server-modtime",
        ]
        return [
            "mount",
            f":s3:{to.bucket}",
            str(to.mountpoint),
            "--read-only",
            *store,
            *lifetimes,
            *options,
        ]

    return arguments


def _s3fs(to: Target) -> list[str]:
    password = to.scratch / "s3fs-password"
    password.touch(mode=0o600)
    password.write_text(f"{ACCESS_KEY}:{SECRET_KEY}\n")
    options = (
        f"ro,url={to.url},use_path_request_style,passwd_file={password},"
        f"stat_cache_expire={to.ttl},retries=3"
    )
    return [to.bucket, str(to.mountpoint), "-f", "-o", options]


def _mount_s3(to: Target) -> list[str]:
    store = ["--read-only", "--endpoint-url", to.url, "--force-path-style", "--region", REGION]
    return [to.bucket, str(to.mountpoint), "-f", *store, "--metadata-ttl", str(to.ttl)]


def _goofys(*options: str) -> Callable[[Target], list[str]]:
    def arguments(to: Target) -> list[str]:
        lifetimes = ["--stat-cache-ttl", f"{to.ttl}s", *options]
        return [
            "-f",
            "-o",
            "ro",
            "--endpoint",
            to.url,
            "--region",
            REGION,
            *lifetimes,
            to.bucket,
            str(to.mountpoint),
        ]

    return arguments


def _on_disk(
    arguments: Callable[[Target], list[str]], options: Callable[[str], list[str]]
) -> Callable[[Target], list[str]]:
    """Return *arguments*, and the *options* of a disk cache in a directory."""
    return lambda to: [*options(str(to.cache)), *arguments(to)]


def _on_disk_last(
    arguments: Callable[[Target], list[str]], options: Callable[[str], list[str]]
) -> Callable[[Target], list[str]]:
    """Return the same, for a program that takes options behind its other arguments."""
    return lambda to: [*arguments(to), *options(str(to.cache))]


def _bare(to: Target) -> list[str]:
    return [to.bucket, str(to.mountpoint), "--endpoint-url", to.url]


_THIS = (sys.executable, "-m", "s3mount")
_SYSTEMS = (
    System("s3mount", _THIS, _s3mount()),
    System("s3mount-boto3", _THIS, _s3mount("--transport", "boto3")),
    System("rclone", ("rclone",), _rclone(), "version"),
    System(
        "rclone-16",
        ("rclone",),
        _rclone("--vfs-read-chunk-size=4M", "--vfs-read-chunk-streams=16"),
        "version",
    ),
    System("s3fs", ("s3fs",), _s3fs),
    System("mount-s3", ("mount-s3",), _mount_s3),
    System("goofys", ("goofys",), _goofys("--type-cache-ttl", "60s")),
    System("geesefs", ("geesefs",), _goofys("--list-type", "2")),
)
# the same with their disk caches, all of 4 GiB where that can be said
_DISK_SYSTEMS = (
    System(
        "s3mount-disk",
        _THIS,
        _on_disk(_s3mount(), lambda cache: [f"--cache-dir={cache}", "--cache-size=4GiB"]),
    ),
    System(
        "rclone-disk",
        ("rclone",),
        _on_disk_last(
            _rclone(),
            lambda cache: [
                f"--cache-dir={cache}",
                "--vfs-cache-mode=full",
                "--vfs-cache-max-size=4G",
            ],
        ),
        "version",
    ),
    System(
        "s3fs-disk", ("s3fs",), _on_disk_last(_s3fs, lambda cache: ["-o", f"use_cache={cache}"])
    ),
    System(
        "geesefs-disk",
        ("geesefs",),
        _on_disk(_goofys("--list-type", "2"), lambda cache: [f"--cache={cache}"]),
    ),
)


def systems(floor: str | None) -> dict[str, System]:
    """Return every system by its name; *floor* is the command of a bare mount."""
    known = {system.name: system for system in (*_SYSTEMS, *_DISK_SYSTEMS)}
    return (
        known
        if floor is None
        else known | {"floor": System("floor", tuple(shlex.split(floor)), _bare)}
    )


LOCAL_MOUNT = System(
    "local mount",
    (sys.executable, "-m", "benchmarks.local_mount"),
    lambda to: [str(to.scratch / "local"), str(to.mountpoint)],
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount that responds, *started* seconds after its command was given."""

    pid: int
    root: Path
    started: float


@contextlib.contextmanager
def mounted(system: System, target: Target) -> Iterator[Mount]:
    """Mount *target* with *system*; raises RuntimeError if it does not come up."""
    target.mountpoint.mkdir(exist_ok=True)
    if target.cache is not None:
        target.cache.mkdir(mode=0o700, exist_ok=True)
    log_path = target.scratch / f"{system.name}.log"
    begin = time.perf_counter()
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            system.command(target),
            env=command_environment(target.ca),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal is for this process, which unmounts
        )
    try:
        _await_mount(process, target.mountpoint, log_path)
        started = time.perf_counter() - begin
        time.sleep(_SETTLE)
        yield Mount(process.pid, target.mountpoint, started)
    finally:
        _unmount(process, target.mountpoint)


def _await_mount(process: subprocess.Popen[bytes], mountpoint: Path, log: Path) -> None:
    deadline = time.monotonic() + _MOUNT_TIMEOUT
    while not mountpoint.is_mount():
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"did not mount: status {process.returncode}, {said!r}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"did not mount within {_MOUNT_TIMEOUT:.0f} s")
        time.sleep(_POLL)


def _unmount(process: subprocess.Popen[bytes], mountpoint: Path) -> None:
    """Unmount, lazily if that fails, and wait for the process to end."""
    for option in ("-u", "-uz"):
        if (
            subprocess.run(
                ["fusermount3", option, mountpoint], capture_output=True, check=False
            ).returncode
            == 0
        ):
            break
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        end(process)


def command_environment(ca: Path | None) -> dict[str, str]:
    """Return the environment, with *ca* under each variable that a program reads.

    Python keeps the bytecode that it compiles, as in an installed s3mount.
    """
    trusted = (
        {}
        if ca is None
        else dict.fromkeys(("AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"), str(ca))
    )
    return (
        os.environ
        | trusted
        | {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONDONTWRITEBYTECODE": "",
            "RCLONE_CONFIG": os.devnull,
        }
    )


def _find(program: str) -> str | None:
    """Return the path of a program beside this Python, or on PATH."""
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.exists() else shutil.which(program)

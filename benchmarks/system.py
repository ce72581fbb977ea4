"""Program that mounts: its command line for a target, its version, its environment."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import ACCESS_KEY, CHECKOUT, REGION, SECRET_KEY


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

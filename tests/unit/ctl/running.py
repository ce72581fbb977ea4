"""Command lines of s3mountctl beside one mount, whose control socket a test serves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.cli.exit_status import run_command
from s3mount.control.locations import FoundSocket
from s3mount.ctl.main import s3mountctl
from s3mount.ctl.mounts import Machine
from s3mount.daemon.mounting.mount_table import MountEntry
from tests.fakes.control_server import CONNECTION

ENTRY = MountEntry(9, f"0:{CONNECTION}", "/mnt/photos", "fuse.s3mount", "s3://photos/2024", 0)

Run = Callable[..., tuple[int, str, str]]


def runner(socket: Path, capfd: pytest.CaptureFixture[str], *command: str) -> Run:
    """Return what runs *command* with its arguments; it returns exit status, stdout and stderr."""
    machine = Machine(table=lambda: [ENTRY], sockets=lambda: [FoundSocket(CONNECTION, socket, 0)])

    def run(*arguments: str) -> tuple[int, str, str]:
        status = run_command("s3mountctl", lambda: s3mountctl([*command, *arguments], machine))
        out, err = capfd.readouterr()
        return status, out, err

    return run

"""The command s3mountctl: from its arguments to an exit status."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from s3mount.cli.completion import complete
from s3mount.cli.exit_status import run_command
from s3mount.ctl.commands import GROUP
from s3mount.ctl.mounts import Machine
from s3mount.errors import UsageError


def main() -> NoReturn:
    """Entry point of the command `s3mountctl`."""
    sys.exit(run_command("s3mountctl", _run))


def s3mountctl(arguments: Sequence[str], machine: Machine) -> int:
    """Run the command that *arguments* name; return the exit status. Raises S3MountError."""
    try:
        with GROUP.make_context("s3mountctl", list(arguments), obj=machine) as context:
            status: int = GROUP.invoke(context)
            return status
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.UsageError as exc:
        name = exc.ctx.command_path if exc.ctx else "s3mountctl"
        raise UsageError(f"{_one_line(exc.format_message())}; see {name} --help") from exc


def _run() -> int:
    status = complete(lambda: GROUP, "s3mountctl", os.environ)
    return s3mountctl(sys.argv[1:], Machine()) if status is None else status


def _one_line(message: str) -> str:
    text = message.replace(". Did you mean", "; did you mean").rstrip(".?")
    return text[:1].lower() + text[1:]

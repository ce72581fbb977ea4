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
from s3mount.ctl.output import OutputError
from s3mount.errors import UsageError


def main() -> NoReturn:
    """Entry point of the command `s3mountctl`."""
    status = complete(lambda: GROUP, "s3mountctl", os.environ)
    if status is None:
        status = run_command("s3mountctl", lambda: s3mountctl(sys.argv[1:], Machine()))
    sys.exit(status)


def s3mountctl(arguments: Sequence[str], machine: Machine) -> int:
    """Run the command that *arguments* name; return the exit status. Raises S3MountError.

    A reader of stdout that is gone ends the command without a word.
    """
    try:
        status = _run(arguments, machine)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return 0
    except OutputError:
        _discard_output()
        raise
    return status


def _discard_output() -> None:
    """Discard what is in the buffer of stdout: Python flushes it once more, when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _run(arguments: Sequence[str], machine: Machine) -> int:
    try:
        with GROUP.make_context("s3mountctl", list(arguments), obj=machine) as context:
            status: int = GROUP.invoke(context)
            return status
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.UsageError as exc:
        name = exc.ctx.command_path if exc.ctx else "s3mountctl"
        raise UsageError(f"{_one_line(exc.format_message())}; see {name} --help") from exc


def _one_line(message: str) -> str:
    text = message.replace(". Did you mean", "; did you mean").rstrip(".?")
    return text[:1].lower() + text[1:]

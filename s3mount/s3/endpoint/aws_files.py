"""The configuration files of AWS tools: where they are, and why one of them cannot be used.

No line of them is repeated in a message, since it may be a secret.
"""

import configparser
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from s3mount.errors import SetupError
from s3mount.frozen_dataclass import dataclass
from s3mount.printable import printable

_OPTION: Final = re.compile(r"[a-z][a-z_]{1,40}")  # what no secret looks like
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """One of the two files: the *variable* that may name it, and its path without that."""

    variable: str
    usual: str

    @property
    def path(self) -> Path:
        """The path as botocore expands it."""
        name = os.environ.get(self.variable) or self.usual
        return Path(os.path.expanduser(os.path.expandvars(name)))  # noqa: PTH111 - as botocore

    @property
    def shown(self) -> str:
        """The file, for messages."""
        if self.is_named:
            return f"{printable(str(self.path))} ({self.variable})"
        return self.usual

    @property
    def is_named(self) -> bool:
        return bool(os.environ.get(self.variable))

    def problem(self) -> str | None:
        """Return why the file is not read; None if it is, or if nobody expects it."""
        try:
            mode = self.path.stat().st_mode
            if stat.S_ISCHR(mode):  # /dev/null
                return None
            if not stat.S_ISREG(mode):
                return f"{self.shown} is not a regular file"
            self.path.open("rb").close()
        except FileNotFoundError:
            return f"{self.shown} does not exist" if self.is_named else None
        except OSError as exc:
            return f"{self.shown} cannot be read: {exc.strerror}"
        return None

    def state(self) -> tuple[int, ...]:
        """Return numbers that change when the file is replaced or written; empty if there is none.

        Blocks as stat(2) does.
        """
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


CONFIG_FILE: Final = ConfigurationFile("AWS_CONFIG_FILE", "~/.aws/config")
CREDENTIALS_FILE: Final = ConfigurationFile("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
FILES: Final = (CONFIG_FILE, CREDENTIALS_FILE)


def check_files() -> None:
    """Raise SetupError for a file that a variable names, and that cannot be used.

    A file that is missing is an empty one, as for every AWS tool; `file_problems` tells of it.
    """
    for file in FILES:
        problem = file.problem()
        if problem is not None and file.is_named and os.path.lexists(file.path):
            raise SetupError(f"{problem}: check {file.variable}")
    _check_key_log()


def file_states() -> tuple[tuple[int, ...], ...]:
    """Return the states of both files, as `ConfigurationFile.state` does."""
    return tuple(file.state() for file in FILES)


def file_problems() -> Iterator[str]:
    """Yield why a file is not read that the user expects to be."""
    for file in FILES:
        if (problem := file.problem()) is not None:
            yield problem


def malformed(path: str, error: object) -> str:
    """Return that the file at *path* cannot be parsed, where, and why: the parser's *error*."""
    shown = next((file.shown for file in FILES if str(file.path) == path), printable(path))
    return f"{shown}{_place(error)}: {_reason(Path(path), error)}"


def _check_key_log() -> None:
    """Python's TLS opens the file of SSLKEYLOGFILE, also for a request to a metadata service."""
    path = os.environ.get("SSLKEYLOGFILE")
    if not path:
        return
    try:
        Path(path).open("ab").close()
    except OSError as exc:
        message = f"SSLKEYLOGFILE: {printable(path)} cannot be written: {exc.strerror}; unset it"
        raise SetupError(message) from exc


def _place(error: object) -> str:
    match error:
        case (
            configparser.MissingSectionHeaderError(lineno=line)
            | configparser.DuplicateSectionError(lineno=line)
            | configparser.DuplicateOptionError(lineno=line)
        ):
            return f", line {line}"
        case configparser.ParsingError(errors=[(line, _), *_]):
            return f", line {line}"
    return ""


def _reason(path: Path, error: object) -> str:
    match error:
        case configparser.DuplicateSectionError():
            return f"the section [{printable(error.section)}] is there twice: join them"
        case configparser.DuplicateOptionError():
            name = error.option if _OPTION.fullmatch(error.option) else "a setting"
            return f"{name} is there twice in [{printable(error.section)}]: remove one"
        case configparser.MissingSectionHeaderError() if _begins_with_bom(path):
            return "it begins with a byte order mark: save it as UTF-8 without one"
    reasons: dict[type[Exception], str] = {
        configparser.MissingSectionHeaderError: "a [section], such as [default], must come first",
        configparser.ParsingError: "it is neither a setting (name = value) nor a [section]",
        UnicodeError: "it is not UTF-8 text: save it as UTF-8",
    }
    of_kind = (reason for kind, reason in reasons.items() if isinstance(error, kind))
    return next(of_kind, "indented lines must be name = value")


def _begins_with_bom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_BOM)) == _BOM

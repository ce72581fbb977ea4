"""Files of customer keys (SSE-C): checked for who may read them, and parsed.

A file is what was opened: a regular file of the user who serves, or of root, that nobody else may
access. No message repeats what a file has.
"""

import base64
import binascii
import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from s3mount.errors import SetupError
from s3mount.s3.endpoint.customer_key import KEY_SIZE, CustomerKey

_FILE_MAX: Final = 4096  # bytes; base64 of a key has 44
_OTHERS: Final = 0o077


def read_customer_keys(files: Sequence[Path]) -> tuple[CustomerKey, ...]:
    """Return the keys of *files*, in order, each once. Raises SetupError."""
    keys: list[CustomerKey] = []
    for file in files:
        key = _read_key(file)
        if not any(key.is_same(other) for other in keys):
            keys.append(key)
    return tuple(keys)


def _read_key(file: Path) -> CustomerKey:
    try:
        return CustomerKey(_decoded(_read(file)))
    except OSError as exc:
        raise SetupError(f"--sse-c-key-file {file}: {_reason(exc)}") from exc
    except ValueError:  # binascii's error may quote
        raise SetupError(
            f"--sse-c-key-file {file}: it has no key: write {KEY_SIZE} bytes, or base64 of them, "
            f"as in: openssl rand -base64 {KEY_SIZE}"
        ) from None


def _read(file: Path) -> bytes:
    """Return the content of *file*, without waiting for a FIFO. Raises OSError and SetupError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
    descriptor = os.open(file, flags)
    try:
        _check(file, os.fstat(descriptor))
        return os.read(descriptor, _FILE_MAX)
    finally:
        os.close(descriptor)


def _check(file: Path, status: os.stat_result) -> None:
    """Raise SetupError if *status* is not that of a file that one user and root may access."""
    wrong = None
    if not stat.S_ISREG(status.st_mode):
        wrong = "it is not a regular file"
    elif status.st_uid not in (0, os.geteuid()):
        wrong = f"it belongs to another user (uid {status.st_uid}): {_own(file)}"
    elif status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        wrong = f"others may access it (mode {mode:04o}): chmod 600 {file}"
    if wrong is not None:
        raise SetupError(f"--sse-c-key-file {file}: {wrong}")


def _own(file: Path) -> str:
    return f"chown {os.geteuid()} {file}, the user who serves"


def _reason(exc: OSError) -> str:
    if exc.errno == errno.ELOOP:
        return "it is a symbolic link: name the file that it leads to"
    if exc.errno == errno.EACCES:
        return f"the user who serves (uid {os.geteuid()}) may not read it"
    return exc.strerror or type(exc).__name__


def _decoded(content: bytes) -> bytes:
    """Return the key that *content* is, or is base64 of. Raises ValueError."""
    if len(content) == KEY_SIZE:
        return content
    try:
        return base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        raise ValueError from None

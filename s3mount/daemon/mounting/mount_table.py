"""The kernel's mount table, /proc/self/mountinfo: parser and look-ups; see proc(5).

Works on bytes: every user chooses paths, and a path may hold anything but NUL. Lines end with a
newline only, fields with a space only, and the kernel writes both as octal escapes. Calls no file
system: a dead or hanging mount cannot stop a look-up.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from s3mount.frozen_dataclass import dataclass

_MOUNT_TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPE: Final = re.compile(rb"\\([0-3][0-7]{2})")
_OPTIONAL_FIELDS: Final = 6  # index of the first one; "-" ends them
_USER: Final = re.compile(rb"(?:^|,)user_id=(\d+)(?:,|$)")
_FDINFO_MOUNT: Final = re.compile(rb"^mnt_id:\s*(\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of the mount table. The kernel reuses *identity* and *device* after the mount."""

    identity: int
    device: str  # "major:minor"
    path: str  # as os.fsdecode has it
    fstype: str
    source: str
    user: int | None = None  # of a FUSE mount: the uid who mounted
    root: str = "/"  # the directory of the file system that is at *path*; bind mounts have others


def mount_entries(table: bytes) -> Iterator[MountEntry]:
    """Parse *table* in its order: a later mount covers an earlier one at its path."""
    for line in table.split(b"\n"):
        if line:
            yield _entry(line.split(b" "))


def current_mounts() -> list[MountEntry]:
    """Return all reachable mounts of this mount namespace, in the order of the table."""
    return [*mount_entries(_MOUNT_TABLE.read_bytes())]


def mount_at(path: str) -> MountEntry | None:
    """Return the topmost mount at *path*; None if there is none."""
    return next((entry for entry in reversed(current_mounts()) if entry.path == path), None)


def mount_of(identity: int) -> MountEntry | None:
    """Return the mount with the id *identity*, at whatever path; None if it is gone."""
    return next((entry for entry in current_mounts() if entry.identity == identity), None)


def mount_of_device(minor: int) -> MountEntry | None:
    """Return the mount of the anonymous device *minor*; None if there is none in this namespace."""
    return next((entry for entry in current_mounts() if entry.device == f"0:{minor}"), None)


def mount_id(descriptor: int) -> int:
    """Return the id of the mount that *descriptor* is in. Calls the kernel, not the file system."""
    found = _FDINFO_MOUNT.search(Path(f"/proc/self/fdinfo/{descriptor}").read_bytes())
    assert found is not None, "mnt_id is there since Linux 3.15"
    return int(found[1])


def _entry(fields: list[bytes]) -> MountEntry:
    after = fields[fields.index(b"-", _OPTIONAL_FIELDS) + 1 :]
    user = _USER.search(b" ".join(after[2:]))
    return MountEntry(
        int(fields[0]),
        fields[2].decode("ascii"),
        _unescaped(fields[4]),
        _unescaped(after[0]),
        _unescaped(after[1]),
        int(user[1]) if user else None,
        _unescaped(fields[3]),
    )


def _unescaped(field: bytes) -> str:
    r"""Decode the kernel's escapes: space, tab, newline, `\` and `#` are `\040` and so on."""
    return os.fsdecode(_ESCAPE.sub(lambda found: bytes((int(found[1], 8),)), field))

"""Paths on the command line: the one mount that they are in, and requests that hold them all."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from s3mount.control.protocol import LINE_MAX
from s3mount.ctl.mounts import Machine, Mount
from s3mount.ctl.output import escaped
from s3mount.errors import UsageError

_BATCH_MAX: Final = LINE_MAX - 1024  # bytes of the paths in one request


def one_mount(machine: Machine, paths: Sequence[str], command: str) -> tuple[Mount, list[str]]:
    """Return the mount of all *paths* of *command*, and them relative to it. Raises UsageError."""
    found = [machine.find_path(path) for path in paths]
    other = next((each.mount for each in found if each.mount != found[0].mount), None)
    if other is not None:
        raise UsageError(
            f"the paths are in two mounts, {escaped(found[0].mount.mountpoint)} and "
            f"{escaped(other.mountpoint)}: run {command} for each"
        )
    return found[0].mount, [each.relative for each in found]


def batches(paths: Iterable[str]) -> Iterator[list[str]]:
    """Yield all *paths*, once each, in lists that fit into a request."""
    batch: list[str] = []
    size = 0
    for path in dict.fromkeys(paths):
        length = len(json.dumps(path)) + 1
        if batch and size + length > _BATCH_MAX:
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += length
    yield batch

"""Pins: objects that are never evicted, up to a share of the directory."""

import sqlite3
from typing import Final

from s3mount.disk.contents import Selection
from s3mount.disk.eviction import class_bytes
from s3mount.disk.segment import SegmentClass
from s3mount.errors import CacheDirectoryError

PINNED_SHARE: Final = 0.75  # of the directory: the rest is left to what is read


def pin(connection: sqlite3.Connection, selection: Selection) -> int:
    """Let what is selected never be evicted; how many objects."""
    return _set_pin(connection, selection, SegmentClass.PINNED, "class < ?")


def unpin(connection: sqlite3.Connection, selection: Selection) -> int:
    """Let what is selected be evicted again; how many objects."""
    return _set_pin(connection, selection, SegmentClass.KEPT, "class = ?")


def bytes_if_pinned(connection: sqlite3.Connection, selection: Selection) -> int:
    """The bytes that are pinned once *selection* is, too."""
    where, parameters = selection.where
    row = connection.execute(
        "SELECT sum(bytes) FROM segments WHERE class < ?"  # noqa: S608 - constants and parameters
        f" AND object IN (SELECT id FROM objects WHERE {where})",
        (SegmentClass.PINNED, *parameters),
    ).fetchone()
    return class_bytes(connection, SegmentClass.PINNED) + int(row[0] or 0)


def check_room(size: int, limit: int) -> None:
    """Raises CacheDirectoryError if *size* bytes may not be pinned in a directory of *limit*."""
    most = int(limit * PINNED_SHARE)
    if size > most:
        raise CacheDirectoryError(
            f"that would pin {_shown(size)}, and at most {_shown(most)} can be, three quarters of "
            "--cache-size: unpin others first, or mount with a larger --cache-size"
        )


def _shown(size: int) -> str:
    """Return *size* with a unit, as options have it: 7.5GiB."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.4g}{unit}"
    return str(size)


def has_room(connection: sqlite3.Connection, size: int, limit: int) -> bool:
    """Whether *size* more bytes may be pinned in a directory of *limit* bytes."""
    return class_bytes(connection, SegmentClass.PINNED) + size <= limit * PINNED_SHARE


def _set_pin(
    connection: sqlite3.Connection, selection: Selection, new: SegmentClass, former: str
) -> int:
    where, parameters = selection.where
    count = connection.execute(
        f"UPDATE objects SET is_pinned = ? WHERE {where}",  # noqa: S608
        (int(new == SegmentClass.PINNED), *parameters),
    ).rowcount
    connection.execute(
        f"UPDATE segments SET class = ? WHERE {former}"  # noqa: S608
        f" AND object IN (SELECT id FROM objects WHERE {where})",
        (new, SegmentClass.PINNED, *parameters),
    )
    return count

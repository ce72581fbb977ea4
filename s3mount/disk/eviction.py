"""Eviction: which segments make room, and how their bytes are freed.

A segment is evicted in two transactions. The first marks it, so that nothing finds it any more; the
second frees its bytes and forgets it, before anything takes their room. A process that is killed in
between leaves marks, which the next transaction that writes finds.

Invariants:

1. Bytes are freed only of segments that are marked, and that no process writes (`write_locks`). So
   no process writes to what is freed, and no file comes back after it was removed.
2. What is marked counts as used until it is freed.
3. No pinned segment is marked to make room.

Segments of replaced versions go first. Then those of large objects that were read once, oldest
first, while they fill more than a quarter of the directory: a file that is larger than the cache
sweeps out only its own. Then the oldest of all.
"""

import sqlite3
from typing import Final

from s3mount.disk.damage import checked_integer
from s3mount.disk.data_files import DataFiles
from s3mount.disk.object_name import NUMBER_MAX, SEGMENT, SIZE_MAX, SMALL
from s3mount.disk.segment import Location, SegmentClass, location_of
from s3mount.disk.write_locks import WriteLocks

COLD_SHARE: Final = 4  # cold segments may fill one of so many bytes before others go
BATCH: Final = 512  # segments that one transaction frees

_WHOLE_FILE: Final = (  # all of the file of a segment is marked
    "NOT EXISTS (SELECT 1 FROM segments WHERE class != 4 AND pack = marked.pack"
    " AND (pack != 0 OR object = marked.object))"
)

Victim = tuple[int, int, int, int, int]
"""object, number, pack, bytes, accessed"""
Marked = tuple[int, int, int, int, int]
"""object, number, pack, offset, bytes"""


def mark_victims(
    connection: sqlite3.Connection, needed: int, limit: int, *, can_punch: bool
) -> int:
    """Mark the first segments to go until *needed* bytes are to be freed; how many bytes are."""
    marked = 0
    while marked < needed:
        victim = _next_victim(connection, limit)
        if victim is None:
            break
        marked += _mark(connection, victim) if can_punch else _mark_file(connection, victim)
    return marked


def mark_digest(connection: sqlite3.Connection, digest: bytes) -> None:
    """Mark all segments of the object of *digest*."""
    connection.execute(
        "UPDATE segments SET class = ? WHERE object IN (SELECT id FROM objects WHERE digest = ?)",
        (SegmentClass.EVICTING, digest),
    )


def free_marked(connection: sqlite3.Connection, files: DataFiles, locks: WriteLocks) -> int:
    """Free and forget segments that are marked, at most `BATCH` of them; how many.

    Those that another process writes at this moment stay marked. If the file system frees whole
    files only, so do those of which others in their file are not marked.
    """
    freed = [
        each
        for each in _marked(connection, can_punch=files.can_punch)
        if not locks.is_locked(each[:2])
    ]
    for object_id, number, pack, offset, size in freed:
        position, length = (0, min(size, SMALL)) if pack else (number * SEGMENT, SEGMENT)
        files.free(location_of(object_id, pack, offset), position, length)
        connection.execute(
            "DELETE FROM segments WHERE object = ? AND number = ?", (object_id, number)
        )
    for object_id, is_packed in {(each[0], each[2] != 0) for each in freed}:
        _forget_if_empty(connection, files, object_id, is_packed=is_packed)
    if freed:
        _remove_empty_packs(connection, files)
        connection.execute(
            "UPDATE counters SET value = value + ? WHERE name = 'evictions'", (len(freed),)
        )
    return len(freed)


def _marked(connection: sqlite3.Connection, *, can_punch: bool) -> list[Marked]:
    condition = "1" if can_punch else _WHOLE_FILE
    limit = BATCH if can_punch else -1  # a file is removed in one transaction
    rows: list[Marked] = connection.execute(
        "SELECT object, number, pack, offset, bytes FROM segments AS marked"  # noqa: S608
        f" WHERE class = ? AND {condition} LIMIT ?",
        (SegmentClass.EVICTING, limit),
    ).fetchall()
    for object_id, number, pack, offset, size in rows:
        location_of(object_id, pack, offset)
        checked_integer(number, NUMBER_MAX)
        checked_integer(size, SIZE_MAX, least=1 if pack else 0)
    return rows


def _next_victim(connection: sqlite3.Connection, limit: int) -> Victim | None:
    replaced = _oldest(connection, SegmentClass.REPLACED)
    if replaced is not None:
        return replaced
    cold = _oldest(connection, SegmentClass.COLD)
    if cold is not None and class_bytes(connection, SegmentClass.COLD) > limit // COLD_SHARE:
        return cold
    kept = _oldest(connection, SegmentClass.KEPT)
    if cold is None or kept is None:
        return cold or kept
    return min(cold, kept, key=lambda victim: checked_integer(victim[4], SIZE_MAX))


def _oldest(connection: sqlite3.Connection, segment_class: SegmentClass) -> Victim | None:
    row: Victim | None = connection.execute(
        "SELECT object, number, pack, bytes, accessed FROM segments WHERE class = ?"
        " ORDER BY accessed LIMIT 1",
        (segment_class,),
    ).fetchone()
    return row


def total_of(row: tuple[object, ...] | None) -> int:
    """The number that *row* has. DamagedIndexError if there is none, or not a possible one."""
    return checked_integer(None if row is None else row[0], SIZE_MAX)


def class_bytes(connection: sqlite3.Connection, segment_class: SegmentClass) -> int:
    """The bytes of all segments of a class."""
    row = connection.execute("SELECT bytes FROM totals WHERE class = ?", (segment_class,))
    return total_of(row.fetchone())


def _mark(connection: sqlite3.Connection, victim: Victim) -> int:
    connection.execute(
        "UPDATE segments SET class = ? WHERE object = ? AND number = ?",
        (SegmentClass.EVICTING, victim[0], victim[1]),
    )
    return checked_integer(victim[3], SIZE_MAX)


def _mark_file(connection: sqlite3.Connection, victim: Victim) -> int:
    """Mark all that is in the file of *victim*: the file system frees whole files only."""
    object_id, _, pack, _, _ = victim
    file = (pack, object_id if not pack else None)
    where = "WHERE pack = ? AND coalesce(?, object) = object"
    query = f"SELECT sum(bytes) FROM segments {where}"  # noqa: S608 - one constant text
    (count,) = connection.execute(query, file).fetchone()
    connection.execute(
        f"UPDATE segments SET class = ? {where}",  # noqa: S608
        (SegmentClass.EVICTING, *file),
    )
    return checked_integer(count, SIZE_MAX)


def _forget_if_empty(
    connection: sqlite3.Connection, files: DataFiles, object_id: int, *, is_packed: bool
) -> None:
    if connection.execute("SELECT 1 FROM segments WHERE object = ?", (object_id,)).fetchone():
        return
    connection.execute("DELETE FROM objects WHERE id = ?", (object_id,))
    if not is_packed:
        files.remove(Location(object_id, 0, 0))


def _remove_empty_packs(connection: sqlite3.Connection, files: DataFiles) -> None:
    """Remove packs without a segment. Their writers find that they are gone, and begin others."""
    for (pack,) in connection.execute("SELECT id FROM packs WHERE segments <= 0").fetchall():
        connection.execute("DELETE FROM packs WHERE id = ?", (pack,))
        files.remove(Location(0, pack, 0))

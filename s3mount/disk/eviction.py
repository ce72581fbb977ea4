"""Eviction: which segments make room, and how their bytes are freed.

A segment is evicted in two transactions. The first marks it, so that nothing reads it any more; the
second frees its bytes and forgets it, before anything takes their room. A process that is killed in
between leaves marks, which the next transaction that writes finds.

Segments of replaced versions go first. Then those of large objects that were read once, oldest
first, while they fill more than a quarter of the directory: a file that is larger than the cache
sweeps out only its own. Then the oldest of all.
"""

import sqlite3
from typing import Final

from s3mount.disk.data_files import DataFiles
from s3mount.disk.object_name import SEGMENT, SMALL
from s3mount.disk.segment import Location, SegmentClass

COLD_SHARE: Final = 4  # cold segments may fill one of so many bytes before others go
_BATCH: Final = 512  # segments that one transaction frees

Victim = tuple[int, int, int, int, int]
"""object, number, pack, bytes, accessed"""


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


def mark_object(connection: sqlite3.Connection, object_id: int) -> None:
    """Mark all segments of an object."""
    connection.execute(
        "UPDATE segments SET class = ? WHERE object = ?", (SegmentClass.EVICTING, object_id)
    )


def free_marked(connection: sqlite3.Connection, files: DataFiles, own_pack: int) -> int:
    """Free and forget segments that are marked; how many, which may not be all.

    *own_pack* is not removed while it is empty: its process writes to it.
    """
    rows = connection.execute(
        "SELECT object, number, pack, offset, size FROM segments LEFT JOIN objects ON id = object"
        " WHERE class = ? LIMIT ?",
        (SegmentClass.EVICTING, _BATCH),
    ).fetchall()
    for object_id, number, pack, offset, size in rows:
        if size is not None:
            start, stop = (0, size) if size <= SMALL else _segment_range(number, size)
            files.free(Location(object_id, pack, offset), start, stop - start)
        connection.execute(
            "DELETE FROM segments WHERE object = ? AND number = ?", (object_id, number)
        )
    for object_id in {row[0] for row in rows}:
        _forget_if_empty(connection, files, object_id)
    _remove_empty_packs(connection, files, own_pack)
    connection.execute(
        "UPDATE counters SET value = value + ? WHERE name = 'evictions'", (len(rows),)
    )
    return len(rows)


def _segment_range(number: int, size: int) -> tuple[int, int]:
    return number * SEGMENT, min((number + 1) * SEGMENT, size)


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
    return min(cold, kept, key=lambda victim: victim[4])


def _oldest(connection: sqlite3.Connection, segment_class: SegmentClass) -> Victim | None:
    row: Victim | None = connection.execute(
        "SELECT object, number, pack, bytes, accessed FROM segments WHERE class = ?"
        " ORDER BY accessed LIMIT 1",
        (segment_class,),
    ).fetchone()
    return row


def class_bytes(connection: sqlite3.Connection, segment_class: SegmentClass) -> int:
    """The bytes of all segments of a class."""
    row = connection.execute("SELECT bytes FROM totals WHERE class = ?", (segment_class,))
    return int(row.fetchone()[0])


def _mark(connection: sqlite3.Connection, victim: Victim) -> int:
    connection.execute(
        "UPDATE segments SET class = ? WHERE object = ? AND number = ?",
        (SegmentClass.EVICTING, victim[0], victim[1]),
    )
    return victim[3]


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
    return int(count)


def _forget_if_empty(connection: sqlite3.Connection, files: DataFiles, object_id: int) -> None:
    if connection.execute("SELECT 1 FROM segments WHERE object = ?", (object_id,)).fetchone():
        return
    connection.execute("DELETE FROM objects WHERE id = ?", (object_id,))
    files.remove(Location(object_id, 0, 0))


def _remove_empty_packs(connection: sqlite3.Connection, files: DataFiles, own_pack: int) -> None:
    empty = connection.execute("SELECT id FROM packs WHERE segments = 0").fetchall()
    for (pack,) in empty:
        if pack != own_pack:
            connection.execute("DELETE FROM packs WHERE id = ?", (pack,))
            files.remove(Location(0, pack, 0))

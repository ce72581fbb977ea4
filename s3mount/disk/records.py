"""Records: small values by key, beside the objects; each is verified by its checksum when read.

The oldest go first when all of them fill more than their share of the directory.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from s3mount.disk import checksum
from s3mount.disk.damage import checked_integer
from s3mount.disk.object_name import SIZE_MAX

SHARE: Final = 8  # records may fill one of so many bytes of the directory
_BATCH: Final = 64


class DamagedRecordError(Exception):
    """A record is not what was put."""


def get(connection: sqlite3.Connection, key: bytes) -> bytes | None:
    """The record of *key*. DamagedRecordError if it is damaged."""
    row = connection.execute(
        "SELECT checksum, payload FROM records WHERE key = ?", (key,)
    ).fetchone()
    if row is None:
        return None
    expected, payload = row
    if not isinstance(payload, bytes) or _checksum(key, payload) != expected:
        raise DamagedRecordError(key)
    return payload


def put(connection: sqlite3.Connection, records: Mapping[bytes, bytes], limit: int) -> None:
    """Keep *records*, of at most *limit* bytes with all others: the oldest make room."""
    for key, payload in records.items():
        drop(connection, (key,))
        connection.execute(
            "INSERT INTO records (key, checksum, payload) VALUES (?, ?, ?)",
            (key, _checksum(key, payload), payload),
        )
    _drop_oldest(connection, total(connection) - limit)


def drop(connection: sqlite3.Connection, keys: Iterable[bytes]) -> None:
    connection.executemany("DELETE FROM records WHERE key = ?", ((key,) for key in keys))


def _drop_oldest(connection: sqlite3.Connection, octets: int) -> None:
    """Drop the oldest records: as many as have *octets* bytes, or a little more."""
    while octets > 0:
        rows = connection.execute(
            "SELECT number, length(payload) FROM records ORDER BY number LIMIT ?", (_BATCH,)
        ).fetchall()
        if not rows:  # damage has changed the sum
            recount(connection)
            return
        for number, size in rows:
            if octets <= 0:
                return
            connection.execute("DELETE FROM records WHERE number = ?", (number,))
            octets -= checked_integer(size, SIZE_MAX)


def total(connection: sqlite3.Connection) -> int:
    """The bytes of all records."""
    row = connection.execute("SELECT value FROM counters WHERE name = 'record_bytes'").fetchone()
    return checked_integer(row and row[0], SIZE_MAX)


def recount(connection: sqlite3.Connection) -> None:
    """Count the bytes of all records again."""
    connection.execute(
        "UPDATE counters SET value = (SELECT coalesce(sum(length(payload)), 0) FROM records)"
        " WHERE name = 'record_bytes'"
    )


def _checksum(key: bytes, payload: bytes) -> bytes:
    return checksum.pack((checksum.checksum(payload, key.ljust(8, b"\0")),))

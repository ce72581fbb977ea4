"""Records: small values by key, beside the objects; each is verified by its checksum when read.

The oldest go first when all of them fill more than their share of the directory.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from s3mount.disk import checksum

SHARE: Final = 8  # records may fill one of so many bytes of the directory
_BATCH: Final = 64


def get(connection: sqlite3.Connection, key: bytes) -> bytes | None:
    """The record of *key*. ValueError if it is damaged."""
    row = connection.execute(
        "SELECT checksum, payload FROM records WHERE key = ?", (key,)
    ).fetchone()
    if row is None:
        return None
    expected, payload = row
    if not isinstance(payload, bytes) or _checksum(key, payload) != expected:
        raise ValueError("a record is damaged")
    return payload


def put(connection: sqlite3.Connection, records: Mapping[bytes, bytes], limit: int) -> None:
    """Keep *records*, of at most *limit* bytes with all others: the oldest make room."""
    for key, payload in records.items():
        drop(connection, (key,))
        connection.execute(
            "INSERT INTO records (key, checksum, payload) VALUES (?, ?, ?)",
            (key, _checksum(key, payload), payload),
        )
    while total(connection) > limit:
        count = connection.execute(
            "DELETE FROM records WHERE number IN (SELECT number FROM records"
            " ORDER BY number LIMIT ?)",
            (_BATCH,),
        ).rowcount
        if not count:
            break


def drop(connection: sqlite3.Connection, keys: Iterable[bytes]) -> None:
    connection.executemany("DELETE FROM records WHERE key = ?", ((key,) for key in keys))


def total(connection: sqlite3.Connection) -> int:
    """The bytes of all records."""
    row = connection.execute("SELECT value FROM counters WHERE name = 'record_bytes'").fetchone()
    return int(row[0])


def _checksum(key: bytes, payload: bytes) -> bytes:
    return checksum.pack((checksum.checksum(payload, key.ljust(8, b"\0")),))

"""Damage of the index: what counts as it, and checks of values that were read from it.

A value of the index may be anything: SQLite does not checksum its pages.
"""

import sqlite3
from typing import Final

# the latter in place of the former if SQLite's message quotes the damaged text of a table
INDEX_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)


class DamagedIndexError(sqlite3.DatabaseError):
    """The index says what no s3mount has written."""


def checked_integer(value: object, most: int, *, least: int = 0) -> int:
    """*value*, an integer of *least* to *most*. Raises DamagedIndexError if it is none."""
    if not isinstance(value, int) or not least <= value <= most:
        raise DamagedIndexError("the index has a number that is out of bounds")
    return value


def checked_bytes(value: object, length: int | None = None) -> bytes:
    """*value*, which is *length* bytes long. Raises DamagedIndexError if it is not."""
    if not isinstance(value, bytes) or (length is not None and len(value) != length):
        raise DamagedIndexError("the index has a column of another type or length")
    return value


def is_damage(exc: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether *exc* says that the index is damaged, rather than that the disk fails or is busy.

    https://www.sqlite.org/rescode.html
    """
    code: int | None = getattr(exc, "sqlite_errorcode", None)
    if code is None:  # of the module itself, or a DamagedIndexError
        return not isinstance(exc, sqlite3.ProgrammingError)
    damage = {
        sqlite3.SQLITE_ERROR,  # no such table
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_EMPTY,
    }
    return (code & 0xFF) in damage or code == sqlite3.SQLITE_IOERR_SHORT_READ

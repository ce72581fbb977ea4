"""Index of a cache directory: SQLite in WAL mode, shared by threads and processes.

Readers never wait for a writer. Transactions that write are short: none spans the reading or
writing of an object's bytes. The index is evidence of nothing: what it says of bytes is held
against their checksums.
https://www.sqlite.org/wal.html
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote
from weakref import WeakSet

from s3mount.disk.damage import DamagedIndexError, checked_integer
from s3mount.disk.segment import SegmentClass

FORMAT: Final = 1  # of the directory: docs/cache-format.md
APPLICATION_ID: Final = 0x53334D43  # "S3MC"
BUSY_TIMEOUT: Final = 5.0  # seconds that a writer waits for another one
_WAL_PAGES: Final = 512  # 2 MiB, from which on the log goes into the index
_WAL_LIMIT: Final = 4 << 20  # bytes that the log keeps

_SCHEMA: Final = """
CREATE TABLE namespaces (id INTEGER PRIMARY KEY, text BLOB NOT NULL UNIQUE);
CREATE TABLE objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,
    path INTEGER NOT NULL,
    namespace INTEGER NOT NULL,
    bucket BLOB NOT NULL,
    key BLOB NOT NULL,
    etag BLOB NOT NULL,
    size INTEGER NOT NULL,
    is_pinned INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX objects_by_path ON objects (path);
CREATE TABLE segments (
    object INTEGER NOT NULL,
    number INTEGER NOT NULL,
    class INTEGER NOT NULL,
    accessed INTEGER NOT NULL,
    pack INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    checksums BLOB NOT NULL,
    PRIMARY KEY (object, number)
) WITHOUT ROWID;
CREATE INDEX segments_by_age ON segments (class, accessed);
CREATE TABLE packs (id INTEGER PRIMARY KEY AUTOINCREMENT, segments INTEGER NOT NULL DEFAULT 0);
CREATE INDEX packs_empty ON packs (id) WHERE segments = 0;
CREATE TABLE totals (class INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, segments INTEGER NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE records (
    number INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    checksum BLOB NOT NULL,
    payload BLOB NOT NULL
);
CREATE TRIGGER segment_added AFTER INSERT ON segments BEGIN
    UPDATE totals SET bytes = bytes + new.bytes, segments = segments + 1 WHERE class = new.class;
    UPDATE packs SET segments = segments + 1 WHERE id = new.pack;
END;
CREATE TRIGGER segment_removed AFTER DELETE ON segments BEGIN
    UPDATE totals SET bytes = bytes - old.bytes, segments = segments - 1 WHERE class = old.class;
    UPDATE packs SET segments = segments - 1 WHERE id = old.pack;
END;
CREATE TRIGGER segment_changed AFTER UPDATE OF class, bytes ON segments BEGIN
    UPDATE totals SET bytes = bytes - old.bytes, segments = segments - 1 WHERE class = old.class;
    UPDATE totals SET bytes = bytes + new.bytes, segments = segments + 1 WHERE class = new.class;
END;
CREATE TRIGGER record_added AFTER INSERT ON records BEGIN
    UPDATE counters SET value = value + length(new.payload) WHERE name = 'record_bytes';
END;
CREATE TRIGGER record_removed AFTER DELETE ON records BEGIN
    UPDATE counters SET value = value - length(old.payload) WHERE name = 'record_bytes';
END;
INSERT INTO counters VALUES ('record_bytes', 0), ('evictions', 0), ('bad_extents', 0);
"""


class _ThreadConnection:
    """Connection that is closed with the thread that has it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.connection.close()

    __del__ = close


class Index:
    """The index at *path*, which exists with its schema."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode = path.stat().st_ino
        self._log_path = path.with_name(f"{path.name}-wal")
        self._local = threading.local()
        self._lock = threading.Lock()  # of `_readers`
        self._readers: WeakSet[_ThreadConnection] = WeakSet()
        self._writer = _ThreadConnection(connect(path))
        self._page_size = _pragma(self._writer.connection, "page_size")

    @property
    def is_replaced(self) -> bool:
        """Whether the file is here no longer: it was damaged, or a person has removed it."""
        try:
            return self.path.stat().st_ino != self._inode
        except (FileNotFoundError, NotADirectoryError):
            return True

    def reader(self) -> sqlite3.Connection:
        """The calling thread's connection, for what only reads."""
        held: _ThreadConnection | None = getattr(self._local, "held", None)
        if held is None:
            if self.is_replaced:
                raise DamagedIndexError("another index has taken its place")
            held = self._local.held = _ThreadConnection(connect(self.path))
            held.connection.execute("PRAGMA query_only = ON")
            with self._lock:
                self._readers.add(held)
        return held.connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes; one at a time, among all processes. For one thread at once."""
        writer = self._writer.connection
        writer.execute("BEGIN IMMEDIATE")
        try:
            yield writer
            writer.execute("COMMIT")
        except BaseException:  # raised again
            with suppress(sqlite3.Error):
                writer.execute("ROLLBACK")
            raise

    def size(self, connection: sqlite3.Connection) -> int:
        """Bytes of the index on the disk, as *connection* sees it."""
        try:
            log = self._log_path.stat().st_size
        except FileNotFoundError:
            log = 0
        return _pragma(connection, "page_count") * self._page_size + log

    def shrink(self) -> None:
        """Give the disk back what the index has no use for. sqlite3.Error."""
        self._writer.connection.execute("PRAGMA incremental_vacuum").fetchall()

    def close(self) -> None:
        """Close all connections; no other call may be in progress."""
        with self._lock:
            connections = [self._writer, *self._readers]
        for each in connections:
            each.close()


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return checked_integer(value, 1 << 40)


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the SQLite file at *path*, which exists and may be empty."""
    connection = _open(path, "rw")
    try:
        for setting in (
            "journal_mode = WAL",
            "synchronous = NORMAL",  # a loss of power may lose the last transactions, and no other
            f"wal_autocheckpoint = {_WAL_PAGES}",
            f"journal_size_limit = {_WAL_LIMIT}",
            "trusted_schema = OFF",
            "cell_size_check = ON",
        ):
            connection.execute(f"PRAGMA {setting}")
    except BaseException:  # raised again
        connection.close()
        raise
    return connection


def create(path: Path) -> None:
    """Create the tables in the empty file *path*."""
    _set_vacuum(path)
    connection = connect(path)
    try:
        connection.executescript(f"BEGIN EXCLUSIVE;{_SCHEMA}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.executemany(
            "INSERT INTO totals VALUES (?, 0, 0)", ((each.value,) for each in SegmentClass)
        )
        connection.execute("COMMIT")
    finally:
        connection.close()


def _set_vacuum(path: Path) -> None:
    """Let what is deleted be given back to the disk; SQLite heeds it before all else only."""
    connection = _open(path, "rw")
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")  # writes it
    finally:
        connection.close()


def format_of(path: Path) -> tuple[int, int]:
    """The application id and the format of the SQLite file *path*; (0, 0) if it is empty."""
    connection = _open(path, "ro")
    try:
        application, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
    finally:
        connection.close()
    return int(application), int(version)


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",  # neither creates the file
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )

"""Pack position: the pack that a process fills, and how far."""

import sqlite3

from s3mount.disk.joined_writes import aligned
from s3mount.disk.segment import new_id


class PackPosition:
    """Position of the next small object of this process; *pack* is 0 before there is one.

    No other process writes to the pack. `reset` if the transaction of a `take` was rolled back:
    another process may get the same number.
    """

    def __init__(self, pack_size: int) -> None:
        self._pack_size = pack_size
        self.pack = 0
        self._end = 0

    def begin(self, connection: sqlite3.Connection) -> None:
        """Begin a new pack, in a transaction that may `take`, if the last one was removed."""
        query = "SELECT 1 FROM packs WHERE id = ?"
        if self.pack and not connection.execute(query, (self.pack,)).fetchone():
            self.pack = 0

    def take(self, connection: sqlite3.Connection, size: int) -> tuple[int, int]:
        """A pack, a new one if need be, and the offset of room for *size* bytes in it."""
        if not self.pack or self._end + size > self._pack_size:
            self.pack = new_id(connection.execute("INSERT INTO packs DEFAULT VALUES"))
            self._end = 0
        offset, self._end = self._end, self._end + aligned(size)
        return self.pack, offset

    def reset(self) -> None:
        """Begin a new pack with the next object."""
        self.pack = 0

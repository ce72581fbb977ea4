"""Pack position: the pack that a process fills, and how far."""

import sqlite3

from s3mount.disk.data_files import aligned
from s3mount.disk.segment import Location


class PackPosition:
    """Position of the next small object of this process; *pack* is 0 before there is one.

    No other process writes to the pack. `reset` if the transaction of a `take` was rolled back:
    another process may get the same number.
    """

    def __init__(self, pack_size: int) -> None:
        self._pack_size = pack_size
        self.pack = 0
        self._end = 0

    def take(self, connection: sqlite3.Connection, size: int) -> Location:
        """Room for *size* bytes, in a new pack if need be."""
        exists = (
            self.pack
            and connection.execute("SELECT 1 FROM packs WHERE id = ?", (self.pack,)).fetchone()
        )
        if not exists or self._end + size > self._pack_size:
            self.pack = int(connection.execute("INSERT INTO packs DEFAULT VALUES").lastrowid or 0)
            self._end = 0
        offset, self._end = self._end, self._end + aligned(size)
        return Location(0, self.pack, offset)

    def reset(self) -> None:
        """Begin a new pack with the next object."""
        self.pack = 0

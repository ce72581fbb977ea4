"""Current generation of a cache directory, and the next one when it is damaged or gone.

For any thread. One writes at a time, and while another generation is opened none does.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar

from s3mount.disk.cache_folder import CacheFolder
from s3mount.disk.damage import is_damage
from s3mount.disk.generation import Generation

log = logging.getLogger(__name__)

T = TypeVar("T")


class CurrentGeneration:
    """Opens the generation of *folder*. OSError, sqlite3.Error.

    A generation that is replaced is left to the threads that use it, and to the garbage collector.
    """

    def __init__(self, folder: CacheFolder) -> None:
        self._folder = folder
        self._writing = threading.RLock()
        self._has_leftovers = True  # perhaps
        self.generation = folder.open()

    def attempt(self, operation: Callable[[Generation], T], default: T) -> T:
        """What *operation* returns; *default* if the index is damaged, which is then replaced.

        OSError, sqlite3.Error.
        """
        generation = self.generation
        try:
            return operation(generation)
        except sqlite3.Error as exc:
            if not is_damage(exc):
                raise
            log.debug("the index of the disk cache is damaged: %s", exc)
        with self._writing:
            if self.generation is generation:  # else another thread was first
                self._folder.remove_damaged(generation)
                self._open()
        return default

    def write(self, operation: Callable[[Generation], T], default: T) -> T:
        """`attempt`, for an operation that writes."""
        with self._writing:
            self.reopen_if_replaced()
            if self._has_leftovers:
                self._has_leftovers = False
                self._folder.remove_leftovers()
            return self.attempt(operation, default)

    def reopen_if_replaced(self) -> bool:
        """Open what has taken the place of the generation; False if nothing has."""
        if not self.generation.index.is_replaced:
            return False
        with self._writing:
            if self.generation.index.is_replaced:
                self._open()
        return True

    def close(self) -> None:
        with self._writing:
            self.generation.close()

    def _open(self) -> None:
        self._has_leftovers = True
        self.generation = self._folder.open()

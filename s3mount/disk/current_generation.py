"""Current generation of a cache directory, and the next one when it is damaged or gone.

For any thread. One writes at a time, and while another generation is opened none does.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from s3mount.disk.cache_folder import CacheFolder
from s3mount.disk.damage import INDEX_ERRORS, is_damage
from s3mount.disk.generation import Generation
from s3mount.errors import CacheDirectoryError

log = logging.getLogger(__name__)

T = TypeVar("T")


class CurrentGeneration:
    """The generation of *folder*, which is opened by `open`, or by what needs it first.

    One that is replaced is left to the threads that use it, and to the garbage collector.
    """

    def __init__(self, folder: CacheFolder) -> None:
        self._folder = folder
        self._writing = threading.RLock()
        self._has_leftovers = True  # perhaps
        self._generation: Generation | None = None

    def open(self) -> None:
        """Open it, unless that is done. OSError, sqlite3.Error, CacheDirectoryError."""
        with self._writing:
            if self._generation is None:
                self._generation = self._folder.open()

    @property
    def generation(self) -> Generation:
        """The generation that is open. OSError, sqlite3.Error."""
        if self._generation is None:
            try:
                self.open()
            except CacheDirectoryError as exc:
                raise OSError(str(exc)) from exc
        assert self._generation is not None
        return self._generation

    @property
    def is_open(self) -> bool:
        return self._generation is not None

    def attempt(self, operation: Callable[[Generation], T], default: T) -> T:
        """What *operation* returns; *default* if the index is damaged, which is then replaced.

        OSError, sqlite3.Error.
        """
        generation = self.generation
        try:
            return operation(generation)
        except INDEX_ERRORS as exc:
            if not is_damage(exc):
                raise
            log.debug("the index of the disk cache is damaged: %s", exc)
        self.replace(generation)
        return default

    def replace(self, generation: Generation) -> None:
        """Replace *generation*, whose index is damaged, unless another thread has done so."""
        with self._writing:
            if self.generation is generation:
                self._folder.remove_damaged(generation)
                self._open()

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
            if self._generation is not None:
                self._generation.close()

    def _open(self) -> None:
        self._has_leftovers = True
        try:
            self._generation = self._folder.open()
        except CacheDirectoryError as exc:
            raise OSError(str(exc)) from exc

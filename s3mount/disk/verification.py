"""Verification of a cache directory: reads all that is selected, and drops what is bad.

For any thread: `run` blocks, and `progress` may be read by others meanwhile. State: *_phase* is
what `run` does now, *_total* and *_done* are bytes to read and read.
"""

from collections.abc import Callable, Mapping

from s3mount.disk.contents import Selection
from s3mount.disk.disk_cache import DiskCache


class CacheVerification:
    """Verification of what *cache* has of *selection*; *on_bytes* is called as it reads.

    What *on_bytes* raises ends it.
    """

    def __init__(
        self, cache: DiskCache, selection: Selection, on_bytes: Callable[[], None] = lambda: None
    ) -> None:
        self._cache = cache
        self._selection = selection
        self._on_bytes = on_bytes
        self._phase = "listing"
        self._objects = self._total = self._done = 0

    def progress(self) -> Mapping[str, object]:
        return {
            "phase": self._phase,
            "objects": self._objects,
            "bytes": self._total,
            "bytes_done": self._done,
        }

    def run(self) -> Mapping[str, object]:
        """Return how much was read, and how many extents were bad. OSError, sqlite3.Error."""
        for each in self._cache.objects(self._selection):
            self._objects += 1
            self._total += each.present
            self._on_bytes()
        self._phase = "reading"
        bad = self._cache.verify(self._selection, self._note_bytes)
        return {"objects": self._objects, "bytes": self._done, "bad_extents": bad}

    def _note_bytes(self, count: int) -> None:
        self._done += count
        self._on_bytes()

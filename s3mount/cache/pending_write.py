"""Pending write of the disk cache: bytes of an object that wait for the writer, or are written."""

from collections.abc import Callable

from s3mount.cache.disk_names import NamedVersion


class PendingWrite:
    """Bytes to be written; None once they are written or lost.

    They lie in *buffer* if that is a block's.
    """

    __slots__ = ("buffer", "content", "is_begun", "named", "octets", "on_return", "start")

    def __init__(
        self, named: NamedVersion, start: int, content: memoryview, buffer: memoryview | None
    ) -> None:
        self.named = named
        self.start = start
        self.octets = len(content)
        self.content: memoryview | None = content
        self.buffer = buffer
        self.is_begun = False
        self.on_return: Callable[[], None] | None = None  # of *buffer*: the bytes are lost

    def drop(self) -> None:
        """Refer to the bytes no longer."""
        self.content = self.buffer = self.on_return = None

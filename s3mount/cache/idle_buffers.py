"""Idle buffers: those that nothing points into, kept by length for the next fetch of it.

Buffers are writable views, from 64 KiB up each of an anonymous mapping of its own. A fresh 8 MiB
buffer page-faults 2048 times, so it is kept. What is dropped goes back to the kernel at once, which
a heap with holes would not do, so a limit of the buffers holds for resident memory too.
"""

import mmap
from typing import Final

_MAPPED_FROM: Final = 1 << 16


class IdleBuffers:
    """Mapped buffers to be used again; *octets* are the bytes of all."""

    def __init__(self) -> None:
        self.octets = 0
        self._by_length: dict[int, list[memoryview]] = {}

    def put(self, buffer: memoryview) -> bool:
        """Keep *buffer* if it is mapped; return whether it is."""
        length = len(buffer)
        if length < _MAPPED_FROM:
            return False
        self._by_length.setdefault(length, []).append(buffer)
        self.octets += length
        return True

    def take(self, length: int) -> memoryview | None:
        """Return a buffer of *length* bytes, if there is one."""
        if buffers := self._by_length.get(length):
            self.octets -= length
            return buffers.pop()
        return None

    def drop(self) -> int:
        """Give a buffer back to the kernel; return its length, or 0 if there is none."""
        for length, buffers in list(self._by_length.items()):
            if buffers:
                buffers.pop()
                self.octets -= length
                return length
            del self._by_length[length]
        return 0


def allocate(length: int) -> memoryview:
    """Return a new buffer of *length* bytes."""
    if length < _MAPPED_FROM:
        return memoryview(bytearray(length))
    return memoryview(mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

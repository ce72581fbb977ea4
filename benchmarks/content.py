"""Content of every object: each 4 KiB start with their own offset, for workloads to check."""

import struct

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PAGE = 4 * KIB


def body(start: int, stop: int) -> bytes:
    """Return the bytes of any object from *start* (a multiple of 4 KiB) to *stop*."""
    pages = bytearray(_PAGE_REST * -(-(stop - start) // PAGE))
    for at in range(0, len(pages), PAGE):
        struct.pack_into("<Q", pages, at, start + at)
    return bytes(pages[: stop - start])


_PAGE_REST = bytes(
    n * 167 & 0xFF for n in range(PAGE)
)  # nearly patternless, and without runs of zeros


SEARCHED = body(0, PAGE)[470:486]  # each object of 500 bytes or more has them; no line ends in them


class Body:
    """File-like object of *size* bytes for an upload."""

    def __init__(self, size: int) -> None:
        self._at, self._size = 0, size

    def read(self, count: int = -1) -> bytes:
        """Read *count* bytes, a multiple of 4 KiB as boto3 requests."""
        start, self._at = self._at, self._size if count < 0 else min(self._at + count, self._size)
        return body(start, self._at)

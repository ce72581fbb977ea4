"""Digest of an object whose bytes come in order: of the whole, or of the digests of its parts.

Pure. It also keeps a CRC of each piece of the bytes, so that two reads of an object can be compared
without either of them.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from s3mount.s3.model import ByteRange
from s3mount.verification.digests import new_digest

GRID: Final = 8 << 20  # bytes of a piece
_COMPARED_BY: Final = "CRC32"


class StreamDigest:
    """Digest by *algorithm*; of the digests of parts of *part_sizes*, if these are given.

    *part_digests* are those of the parts that are complete. *grid* is the size of the pieces.
    """

    def __init__(
        self, algorithm: str, part_sizes: Sequence[int] | None = None, *, grid: int = GRID
    ) -> None:
        self._algorithm = algorithm
        self._grid = grid
        self._has_parts = part_sizes is not None
        # the digest of the part that has begun, which the object is if it has none; where the
        # parts end, in reverse
        self._digest = new_digest(algorithm)
        self._ends = [*accumulate(part_sizes or ())][::-1]
        self.part_digests: list[bytes] = []
        # CRCs of the pieces that are complete, and of the one that has begun
        self._pieces: list[bytes] = []
        self._piece = new_digest(_COMPARED_BY)
        self.octets = 0
        self._end_parts()  # those of no bytes

    def update(self, content: memoryview) -> None:
        """Add the next bytes."""
        at = 0
        while at < len(content):
            stop = min(len(content), at + self._to_next_end())
            self._digest.update(content[at:stop])
            self._piece.update(content[at:stop])
            self.octets += stop - at
            at = stop
            self._end_piece()
            self._end_parts()

    def digest(self) -> bytes:
        """Return the digest of all bytes, or of all parts, so far."""
        if not self._has_parts:
            return self._digest.digest()
        whole = new_digest(self._algorithm)
        whole.update(memoryview(b"".join(self.part_digests)))
        return whole.digest()

    def differences(self, other: "StreamDigest") -> list[ByteRange]:
        """Return where *other*, of the same size, has had other bytes, in whole pieces."""
        pairs = zip(self.piece_digests(), other.piece_digests(), strict=True)
        found: list[ByteRange] = []
        for number, (one, another) in enumerate(pairs):
            if one != another:
                start = number * self._grid
                if found and found[-1].stop == start:
                    start = found.pop().start
                found.append(ByteRange(start, min((number + 1) * self._grid, self.octets)))
        return found

    def _to_next_end(self) -> int:
        to_piece = self._grid - self.octets % self._grid
        return min(to_piece, self._ends[-1] - self.octets) if self._ends else to_piece

    def _end_piece(self) -> None:
        if self.octets % self._grid == 0:
            self._pieces.append(self._piece.digest())
            self._piece = new_digest(_COMPARED_BY)

    def _end_parts(self) -> None:
        while self._ends and self._ends[-1] <= self.octets:
            self._ends.pop()
            self.part_digests.append(self._digest.digest())
            self._digest = new_digest(self._algorithm)

    def piece_digests(self) -> list[bytes]:
        """Return the CRCs of all pieces so far, the last of which may be of no bytes."""
        return [*self._pieces, self._piece.digest()]

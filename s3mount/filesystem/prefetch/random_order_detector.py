"""Detector of files that are opened in no order.

Pure. Knows positions in directories, by name and by inode number, as both are orders in which
programs traverse a directory. Several workers may open files a little out of order.
"""

from typing import NamedTuple

from s3mount.filesystem.listing.entry_page import INODE_BITS, EntryPage

HISTORY = 16  # opens that decide
JUMPS_MIN = 4  # of these, for a reader in no order; some opens are near the last one by chance
STEP_MAX = 8  # files between two opens in order: some are skipped, or opened by another worker
TRACKED = 1024  # directories; their last opens are numbers, so that no page is kept
_INODE_STEPS_MIN = 4  # inode numbers are hashes, whose distances vary
_INODE_STEPS_BACK = 2
_INODES = 1 << INODE_BITS  # inode numbers
_MASK = (1 << HISTORY) - 1


class _Position(NamedTuple):
    """An open: the first inode number of its page, its place there, and its inode number."""

    page: int
    at: int
    inode: int


class RandomOrderDetector:
    """Detector of jumps: opens that are far from the one before in the same directory."""

    def __init__(self) -> None:
        self._last: dict[str, _Position] = {}  # by prefix, least recently used first
        # bits: whether each of the last opens was a jump; how many since the last jump were none
        self._jumps = 0
        self._in_order = 0

    @property
    def is_ordered(self) -> bool:
        """Whether none of the last files was opened out of order."""
        return self._in_order >= HISTORY

    @property
    def is_random(self) -> bool:
        """Whether the last files were opened in no order."""
        return self._jumps.bit_count() >= JUMPS_MIN

    def reset(self) -> None:
        """Forget all but positions."""
        self._jumps = self._in_order = 0

    def record_open(self, page: EntryPage, index: int) -> None:
        if page.is_looked_up:  # it does not tell where in its directory the file is
            return
        position = _Position(page.inode(0), index, page.inode(index))
        last = self._last.pop(page.prefix, None)
        self._last[page.prefix] = position
        if last is not None:
            is_jump = _is_jump(last, position, len(page))
            self._jumps = (self._jumps << 1 | is_jump) & _MASK
            self._in_order = 0 if is_jump else self._in_order + 1
        elif len(self._last) > TRACKED:
            del self._last[next(iter(self._last))]


def _is_jump(last: _Position, position: _Position, entry_count: int) -> bool:
    """Whether *position* is near *last* neither by name nor by inode number."""
    steps = max(1, min(STEP_MAX, entry_count // 8))
    # on another page: the beginning, where an order by name goes on
    least = last.at - steps if position.page == last.page else 0
    if least <= position.at <= (last.at if position.page == last.page else 0) + steps:
        return False
    distance = (position.inode - last.inode) * entry_count
    most = max(_INODE_STEPS_MIN, steps)
    return not -_INODE_STEPS_BACK * _INODES <= distance <= most * _INODES

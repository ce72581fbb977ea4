"""Compact map of 64-bit integers to 64-bit integers: linear hashing (Litwin 1980) into arrays.

Pure. It takes some 20 bytes a key, of which a dict takes 110, and four times the CPU of a dict.

Invariants:

1. A key is in the bucket of its hash, and in no other. Keys of a bucket rise; the value of each is
   at the same index.
2. Buckets below *_split* have been split: they, and those that were split from them, use one bit
   of the hash more than *_mask*. There are ``_mask + 1 + _split`` buckets.
3. The number of buckets follows that of keys one bucket at a time: no call copies more than a few
   buckets, however many keys there are.
"""

from array import array
from bisect import bisect_left
from itertools import compress
from typing import Final

KEYS_MAX: Final = 96  # of a bucket, on average
_SHRINK_FACTOR: Final = 3  # a bucket goes if there are so many times fewer keys
_SHIFT: Final = 2  # bits of a key that its hash omits: one of an inode number is always set


class CompactMap:
    """Map of integers up to ``2**64 - 1``, such as are evenly spread."""

    __slots__ = ("_keys", "_mask", "_split", "_values", "count")

    def __init__(self) -> None:
        self.count = 0  # of keys
        # by bucket; how they are chosen: see the invariants
        self._keys = [array("Q")]
        self._values = [array("Q")]
        self._mask = self._split = 0

    def get(self, key: int) -> int | None:
        bucket = key >> _SHIFT & self._mask  # as `_bucket`, faster
        if bucket < self._split:
            bucket = key >> _SHIFT & (self._mask << 1 | 1)
        keys = self._keys[bucket]
        at = bisect_left(keys, key)
        return self._values[bucket][at] if at < len(keys) and keys[at] == key else None

    def put(self, key: int, value: int) -> None:
        """Set the value of *key*, which may be new."""
        bucket = self._bucket(key)
        keys = self._keys[bucket]
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            self._values[bucket][at] = value
            return
        keys.insert(at, key)
        self._values[bucket].insert(at, value)
        self.count += 1
        if self.count > KEYS_MAX * len(self._keys):
            self._split_bucket()

    def pop(self, key: int) -> int | None:
        """Remove *key*: its value, or None if it is not there."""
        bucket = self._bucket(key)
        keys = self._keys[bucket]
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return None
        del keys[at]
        value = self._values[bucket].pop(at)
        self.count -= 1
        if self.count * _SHRINK_FACTOR < KEYS_MAX * (len(self._keys) - 1):
            self._merge_bucket()
        return value

    def _bucket(self, key: int) -> int:
        bits = key >> _SHIFT
        bucket = bits & self._mask
        return bucket if bucket >= self._split else bits & (self._mask << 1 | 1)

    def _split_bucket(self) -> None:
        """Move the keys of one bucket that have the next bit of the hash to a new bucket."""
        keys, values = self._keys[self._split], self._values[self._split]
        bit = self._mask + 1 << _SHIFT
        is_moved = [bool(key & bit) for key in keys]
        is_kept = [not each for each in is_moved]
        for buckets, column in ((self._keys, keys), (self._values, values)):
            buckets[self._split] = array("Q", compress(column, is_kept))
            buckets.append(array("Q", compress(column, is_moved)))
        self._split += 1
        if self._split > self._mask:
            self._mask, self._split = self._mask << 1 | 1, 0

    def _merge_bucket(self) -> None:
        """Move the keys of the last bucket to that from which it was split."""
        if not self._split:
            self._mask >>= 1
            self._split = self._mask + 1
        self._split -= 1
        keys, values = self._keys, self._values
        pairs = [*zip(keys.pop(), values.pop(), strict=True)]
        pairs.extend(zip(keys[self._split], values[self._split], strict=True))
        pairs.sort()
        keys[self._split] = array("Q", [key for key, _ in pairs])
        values[self._split] = array("Q", [value for _, value in pairs])

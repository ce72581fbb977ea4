"""Process that keeps and reads objects in a disk cache: FOLDER SIZE SEED ROUNDS."""

import random
import sys
from pathlib import Path

from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.object_name import KIB, MIB
from s3mount.disk.reservation import Kept
from s3mount.disk.usage import DiskLimits
from tests.cached_objects import content_of, object_name, right_bytes, segments

SIZES = (1, 27 * KIB, 100_000, 300 * KIB + 1, MIB + 1, 2 * MIB)
NAMES = [object_name(number, size=SIZES[number % len(SIZES)]) for number in range(40)]


def main() -> None:
    folder, size, seed, rounds = sys.argv[1:]
    rng = random.Random(int(seed))
    cache = DiskCache(Path(folder), DiskLimits(int(size)))
    for number in range(int(rounds)):
        names = rng.choices(NAMES, k=4)
        cache.keep_all([Kept(name, 0, memoryview(content_of(name))) for name in names])
        right_bytes(cache, names[0])
        cache.touch(segments(cache, names[0]))
        cache.put_records({b"%020d" % rng.randrange(20): bytes(2_000)})
        if rng.randrange(10) == 0:
            cache.evict(names[1])
        if rng.randrange(10) == 0:
            cache.mark_replaced(names[2])
        if number == 2:
            sys.stdout.write("loaded\n")
            sys.stdout.flush()
    assert cache.counts.bad_extents == 0
    cache.close()


if __name__ == "__main__":
    main()

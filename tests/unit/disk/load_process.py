"""Process that keeps and reads objects in a disk cache until it is killed: FOLDER SIZE SEED."""

import random
import sys
from itertools import count
from pathlib import Path

from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.reservation import Kept
from s3mount.disk.usage import DiskLimits
from tests.cached_objects import content_of, object_name, right_bytes, segments

OBJECTS = 60


def main() -> None:
    folder, size, seed = sys.argv[1:]
    rng = random.Random(int(seed))
    cache = DiskCache(Path(folder), DiskLimits(int(size)))
    for number in count():
        names = [object_name(rng.randrange(OBJECTS)) for _ in range(4)]
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


if __name__ == "__main__":
    main()

"""Two caches on one directory, interleaved with crashes: right bytes, a bounded directory."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from s3mount.disk.contents import Selection
from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.object_name import EXTENT, KIB, MIB, ObjectName
from s3mount.disk.reservation import Kept
from s3mount.disk.usage import DiskLimits
from tests.cached_objects import content_of, object_name, open_index, right_bytes, segments
from tests.cached_objects import size_on_disk as size_of

LIMITS = DiskLimits(12 * MIB)
UNCOUNTED = MIB  # bytes on the disk that are not counted: folders, -shm, tags
NAMES = [
    object_name(number % 5, size=size, etag=etag)
    for number, size in enumerate((1, 40 * KIB, 300 * KIB + 1, MIB, MIB + 1, 2 * MIB, 3 * MIB))
    for etag in ("old", "new")
]


class SharedDirectory(RuleBasedStateMachine):
    """*caches* share *folder*. The model: bytes are those of their name, or absent."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.caches = [DiskCache(self.folder, LIMITS) for _ in range(2)]
        self.abandoned: list[DiskCache] = []

    def teardown(self) -> None:
        for each in [*self.caches, *self.abandoned]:
            each.close()
        shutil.rmtree(self.folder)

    @rule(
        cache=st.integers(0, 1),
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
        start=st.integers(0, 3),
    )
    def keep(self, cache: int, names: Sequence[ObjectName], start: int) -> None:
        kept = [
            Kept(name, start * EXTENT, memoryview(content_of(name))[start * EXTENT :])
            for name in names
        ]
        assert self.caches[cache].keep_all(kept).octets <= sum(len(each.content) for each in kept)

    @rule(cache=st.integers(0, 1), name=st.sampled_from(NAMES))
    def read(self, cache: int, name: ObjectName) -> None:
        right_bytes(self.caches[cache], name)
        self.caches[cache].touch(segments(self.caches[cache], name))

    @rule(cache=st.integers(0, 1), name=st.sampled_from(NAMES))
    def read_what_the_other_evicts(self, cache: int, name: ObjectName) -> None:
        for segment in segments(self.caches[cache], name):
            self.caches[1 - cache].evict(name)
            buffer = memoryview(bytearray(segment.stop - segment.start))
            gaps = self.caches[cache].read(segment, segment.start, segment.stop, buffer)
            assert gaps == [(segment.start, segment.stop)]

    @rule(cache=st.integers(0, 1), name=st.sampled_from(NAMES))
    def mark_replaced(self, cache: int, name: ObjectName) -> None:
        self.caches[cache].mark_replaced(name)

    @rule(cache=st.integers(0, 1), is_pinned=st.booleans(), number=st.integers(0, 1))
    def pin(self, cache: int, number: int, *, is_pinned: bool) -> None:
        self.caches[cache].pin(Selection(path=f"folder/key-{number}"), is_pinned=is_pinned)

    @rule(cache=st.integers(0, 1), size=st.integers(1, 100_000))
    def put_record(self, cache: int, size: int) -> None:
        key = b"%020d" % (size % 7)
        self.caches[cache].put_records({key: bytes(size)})
        assert self.caches[1 - cache].get_record(key) == bytes(size)

    @rule(cache=st.integers(0, 1))
    def clear(self, cache: int) -> None:
        self.caches[cache].clear()

    @rule(cache=st.integers(0, 1))
    def crash_and_open(self, cache: int) -> None:
        self.abandoned.append(self.caches[cache])
        self.caches[cache] = DiskCache(self.folder, LIMITS)

    @invariant()
    def is_bounded(self) -> None:
        if hasattr(self, "caches"):
            assert self.caches[0].usage().used <= LIMITS.size
            assert size_of(self.folder) <= LIMITS.size + UNCOUNTED

    @invariant()
    def is_counted_right(self) -> None:
        if not hasattr(self, "caches"):
            return
        index = open_index(self.folder)
        totals = index.execute(
            "SELECT class, bytes, segments FROM totals WHERE segments"
        ).fetchall()
        counted = index.execute("SELECT class, sum(bytes), count(*) FROM segments GROUP BY class")
        assert totals == counted.fetchall()
        index.close()

    @invariant()
    def nothing_is_bad(self) -> None:
        assert all(cache.counts.bad_extents == 0 for cache in getattr(self, "caches", []))


SharedDirectory.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestSharedDirectory = SharedDirectory.TestCase

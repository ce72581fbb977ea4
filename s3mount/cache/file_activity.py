"""Activity of the files that are being read: who reads them, where, and how much.

A snapshot, made on request: what it shows is counted anyway.
"""

import heapq
from collections.abc import Mapping

from s3mount.cache.block import VersionBlocks
from s3mount.frozen_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class FileActivity:
    """One object version with open handles, of which there are *readers*.

    *position* is where its latest read ended, *window* how far ahead of that may be fetched, and
    *served* the bytes of all reads; all are in bytes.
    """

    key: str
    readers: int
    position: int
    size: int
    window: int
    served: int


def latest_activity(versions: Mapping[VersionBlocks, int], most: int) -> list[FileActivity]:
    """Return the *most* of the open *versions* that were read last, the latest first.

    *versions* says how many readers each has.
    """
    latest = heapq.nlargest(most, versions, key=lambda blocks: blocks.last_read)
    return [_activity(blocks, versions[blocks]) for blocks in latest]


def _activity(blocks: VersionBlocks, readers: int) -> FileActivity:
    stream = blocks.readahead.latest
    return FileActivity(
        key=blocks.version.key,
        readers=readers,
        position=stream.position if stream else 0,
        size=blocks.version.size,
        window=stream.window if stream else 0,
        served=blocks.served,
    )

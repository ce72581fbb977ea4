"""Prefetch policies: told what readers do, they fetch, or name, what readers will want next.

A policy only saves time: a mount without policies gives the same answers.
"""

from collections.abc import Iterable
from typing import Protocol

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.prefetch.traversal_order import EntryRef


class PrefetchPolicy(Protocol):
    """One policy. The methods here do nothing; a policy overrides those that it needs."""

    async def before_readdir(self, directory: DirectoryState) -> None:
        """Prepare for a reader that starts *directory* from its first entry.

        May wait for the listing of *directory*; a checkpoint only if it waits.
        """
        del directory

    def on_open(self, page: EntryPage, index: int) -> Iterable[EntryRef]:
        """Record that a file is opened; the small files to fetch now, the next one first.

        The caller stops iterating when there is no room for more.
        """
        del page, index
        return ()

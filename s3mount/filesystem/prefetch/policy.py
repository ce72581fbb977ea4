"""Interface of prefetch policies, which the composition root makes and passes to the handles."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.prefetch.traversal_order import EntryRef

SMALL: Final = 1 << 20  # bytes; one GET brings such a file about as fast as its first byte
# of formats whose readers begin with the end: it has the directory, the footer or the index
INDEX_AT_END: Final = (
    *(".zip", ".jar", ".whl", ".apk", ".npz", ".epub", ".docx", ".xlsx", ".pptx", ".odt"),
    *(".7z", ".parquet", ".orc", ".mov", ".mp4", ".m4a"),
)


class PrefetchPolicy(Protocol):
    """One policy; it overrides the methods that it needs, since these do nothing."""

    async def before_readdir(self, directory: DirectoryState) -> None:
        """Prepare for a reader that starts *directory* from its first entry.

        May wait for the listing of *directory*; a checkpoint only if it waits.
        """
        del directory

    def on_open(self, page: EntryPage, index: int) -> Iterable[EntryRef]:
        """Record that a file is opened; returns the small files to fetch now, nearest first.

        The caller stops iterating when there is no room for more.
        """
        del page, index
        return ()

    def on_read(self, inode: int, size: int) -> None:
        """Record that an open file, of *size* bytes, is read, by its first read that succeeded."""
        del inode, size

    def next_files(self, page: EntryPage, index: int) -> Sequence[EntryRef]:
        """Record that a file is opened; returns the large files that a reader goes on to."""
        del page, index
        return ()

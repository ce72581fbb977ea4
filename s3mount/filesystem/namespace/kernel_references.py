"""The kernel's references to entries that the metadata cache drops."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.inode_table import InodeTable


class KernelCache(Protocol):
    """The kernel's caches of dentries and attributes."""

    def drop(self, parent: int, page: EntryPage) -> None:
        """Have the kernel forget these entries of the directory *parent*, soon."""
        ...

    def drop_each(self, pages: Iterable[tuple[int, EntryPage] | None]) -> None:
        """`drop` of each of *pages*, which are looked at one by one."""
        ...

    def drop_name(self, parent: int, name: bytes) -> None:
        """Have the kernel forget *name* in the directory *parent*, and its absent names, soon."""
        ...

    def drop_all(self) -> None:
        """Have the kernel forget all entries that it was given before now, soon."""
        ...

    def expire_attributes(self, inode: int) -> None:
        """Have the kernel ask for the attributes of *inode* before it uses them again."""
        ...


class KernelReferences:
    """Keeps the inodes that the kernel refers to from holding whole pages in memory."""

    def __init__(self, inodes: InodeTable, kernel: KernelCache) -> None:
        self._inodes = inodes
        self._kernel = kernel

    def on_evicted(self, inode: int, pages: Sequence[EntryPage]) -> None:
        """Have the kernel give back its references to entries of the directory *inode*."""
        for page in pages:
            if page.reference_count and inode:
                self._kernel.drop(inode, page)

    def on_replaced(self, pages: Sequence[EntryPage]) -> None:
        """Keep only the entries that the kernel refers to."""
        for page in pages:
            if page.reference_count:
                self._inodes.shrink(page)

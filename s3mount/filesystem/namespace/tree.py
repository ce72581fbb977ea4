"""Lookup: from a name in a directory to an entry, with as few questions to the store as its knowledge allows.

First what is known of the name (`recall`), then the listing of its directory where other names have missed there before (`catalog`),
then the name alone (`questions`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import trio

from s3mount.config import Prefetch, StoreConfig, TreeConfig
from s3mount.errors import NameTooLong, NotADirectory, NotFound, ReplacedBeforeOpen
from s3mount.filesystem.listing.entry_page import Entry, EntryPage, inode_numbers
from s3mount.filesystem.names import NAME_MAX, decode, encode, parent_of
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.inode_table import ROOT, InodeTable
from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.filesystem.namespace.name_resolver import NameResolver
from s3mount.filesystem.namespace.ttl_policy import STAMPED_APART, MonotonicStamps, TtlPolicy
from s3mount.s3.model import ObjectVersion
from s3mount.s3.object_store import ObjectStore

LOOKUP_TO_OPEN = (
    1.0  # seconds in which an open still belongs to the lookup before it: one open(2) is both
)


class Attributes(NamedTuple):
    """What the kernel is told of an inode; *size* is negative for a directory, *valid_for* is seconds."""

    inode: int
    size: int
    mtime_ns: int
    valid_for: float


class KernelCache(Protocol):
    """What the kernel keeps of names."""

    def drop(self, parent: int, entries: EntryPage) -> None:
        """Have it forget these entries of the directory *parent*, soon; it looks them up anew when they are wanted."""
        ...

    def drop_all(self) -> None:
        """Have it forget all that it was told before now, soon."""
        ...


class Tree:
    """The directories of one bucket below one prefix."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        config: TreeConfig,
        location: StoreConfig,
        *,
        clock: Callable[[], float],
        mounted_ns: int,
        first_bytes: Callable[[ObjectVersion, bytes], None],
        kernel: KernelCache,
        no_prefetch: frozenset[Prefetch] = frozenset(),
    ) -> None:
        self.inodes = InodeTable()
        self._lifetimes = TtlPolicy.of(config)
        self._moments = MonotonicStamps(clock)
        self._bucket = location.bucket
        self.root = location.prefix
        self._mounted_ns = mounted_ns
        self._kernel = kernel
        self.catalog = MetadataCache(
            store,
            nursery,
            location.bucket,
            self._lifetimes,
            moments=self._moments,
            limit=config.metadata_limit,
            dropped=self._drop_from_kernel,
            replaced=self._shrink,
            no_prefetch=no_prefetch,
        )
        self._questions = NameResolver(store, nursery, self.catalog, location, first_bytes)

    # ---- inodes --------------------------------------------------------------------------------------------------

    def prefix(self, inode: int) -> str:
        """The prefix of a directory. NotADirectory for a file."""
        if inode == ROOT:
            return self.root
        entries, index = self.inodes.resolve(inode)
        if not entries.is_directory(index):
            raise NotADirectory("not a directory", bucket=self._bucket, key=entries.key(index))
        return entries.key(index) + "/"

    def directory_of(self, inode: int) -> DirectoryState:
        """What is known of the directory that the kernel calls *inode*. NotADirectory for a file."""
        directory = self.catalog.directory(self.prefix(inode))
        directory.inode = inode
        return directory

    def inode_above(self, prefix: str) -> int:
        """The inode number of the directory above *prefix*; the root is above itself."""
        above = parent_of(prefix[:-1])
        if len(above) <= len(self.root):
            return ROOT
        [inode] = inode_numbers(
            self._bucket, parent_of(above[:-1]), [Entry(encode(above[:-1].rpartition("/")[2]))]
        )
        return inode

    def attributes(self, inode: int) -> Attributes:
        """The attributes of an inode that the kernel knows; never a question, for an inode is one version."""
        if inode == ROOT:
            return Attributes(ROOT, -1, self._directory_mtime(self.root), self._lifetimes.positive)
        return self.describe(inode, *self.inodes.resolve(inode))

    def describe(self, inode: int, entries: EntryPage, index: int) -> Attributes:
        """The attributes of an entry, under the number that stands for it."""
        return Attributes(
            inode, entries.sizes[index], self.mtime_ns(entries, index), self.valid_for(entries)
        )

    def valid_for(self, entries: EntryPage) -> float:
        """For how many seconds more *entries* may be believed, all of them."""
        if self.catalog.doubts.newest(entries.prefix) > entries.as_of:
            return 0.0
        return self._valid_for(entries.as_of)

    def _valid_for(self, as_of: float, *, exists: bool = True) -> float:
        """The lifetime left of what was asked for at *as_of*."""
        return max(0.0, self._lifetimes.left(as_of, self._moments.now(), exists=exists))

    def mtime_ns(self, entries: EntryPage, index: int) -> int:
        """When an entry was modified: a directory, when the newest that is known of what is in it was."""
        if entries.is_directory(index):
            return self._directory_mtime(entries.key(index) + "/")
        return entries.mtimes[index]

    def _directory_mtime(self, prefix: str) -> int:
        directory = self.catalog.known.get(prefix)
        return (directory.newest_ns if directory is not None else 0) or self._mounted_ns

    # ---- lookup --------------------------------------------------------------------------------------------------

    async def lookup(self, parent: int, name: bytes) -> Attributes:
        """Find *name*, and count one reference to its inode. NotFound, NameTooLong, or what the store failed with."""
        if len(name) > NAME_MAX:
            raise NameTooLong("name of more than 255 bytes")
        directory = self.directory_of(parent)
        known = self.recall(directory, name)
        if known is None:
            known = await self._learn(directory, name)
        return self._tell(directory, name, known)

    def lookup_held(self, parent: int, name: bytes) -> Attributes | None:
        """`lookup`, where that needs no waiting; else None."""
        if len(name) > NAME_MAX:
            raise NameTooLong("name of more than 255 bytes")
        directory = self.directory_of(parent)
        known = self.recall(directory, name)
        return None if known is None else self._tell(directory, name, known)

    def is_listing_fresh(self, inode: int) -> bool:
        """Whether the listing of a directory holds still, so that reading it begins without waiting."""
        return self.catalog.is_fresh(self.directory_of(inode))

    def _tell(self, directory: DirectoryState, name: bytes, known: CachedDentry) -> Attributes:
        if known.entries is None:
            absent = NotFound(
                "no such file or directory",
                bucket=self._bucket,
                key=directory.prefix + decode(name),
            )
            absent.valid_for = self._valid_for(known.as_of, exists=False)
            raise absent
        return self.describe(self.inodes.remember(known.entries, known.at), known.entries, known.at)

    def recall(self, directory: DirectoryState, name: bytes) -> CachedDentry | None:
        """What is known of a name without a question; what may be told while it is being renewed, too."""
        now = self._moments.now()
        known = directory.recall(name, now, self._lifetimes)
        if known is None and self._lifetimes.grace:
            known = directory.latest(name)
            if (
                known is None
                or self._lifetimes.left(known.as_of, now, exists=known.exists)
                <= -self._lifetimes.grace
            ):
                return None
            self._questions.ask_ahead(directory, name)
        return known

    async def _learn(self, directory: DirectoryState, name: bytes) -> CachedDentry:
        """Find out about a name of which nothing is known."""
        if await self.catalog.wait_decided(directory, name):
            known = self.recall(directory, name)
            if known is not None:
                return known
        return await self._questions.ask(directory, name)

    async def revalidate(self, entries: EntryPage, index: int) -> None:
        """Make sure that a file's version is current. ReplacedBeforeOpen where it is not; its name has been learned anew then."""
        known = self._known_lately(entries, index)
        if known is None:
            known = await self._questions.ask(
                self.catalog.directory(entries.prefix), entries.name(index)
            )
        if not known.is_about(entries, index):
            raise ReplacedBeforeOpen(
                "replaced since it was looked up", bucket=self._bucket, key=entries.key(index)
            )

    def is_current(self, entries: EntryPage, index: int) -> bool:
        """Whether a file's version is known to be current, without a question."""
        known = self._known_lately(entries, index)
        return known is not None and known.is_about(entries, index)

    def _known_lately(self, entries: EntryPage, index: int) -> CachedDentry | None:
        """What is known of a file's name, recently enough for an open."""
        directory = self.catalog.directory(entries.prefix)
        name = entries.name(index)
        seen = CachedDentry(entries.as_of, entries, index)
        known = directory.latest(name, seen)
        if (known is None or known.as_of < seen.as_of) and not directory.is_doubted(
            name, seen.as_of
        ):
            known = seen
        if known is None or not self._lifetimes.is_recent(
            known.as_of, self._moments.now(), LOOKUP_TO_OPEN
        ):
            return None
        return known

    def pages_of(self, prefix: str, most: int) -> Sequence[EntryPage] | None:
        """All entries of a directory, if a listing of it is complete and has no more than *most*; the same object for as long as it is."""
        directory = self.catalog.known.get(prefix)
        if directory is None or directory.passage is None:
            return None
        listing = directory.passage.listing
        is_usable = listing.is_complete and not listing.is_trimmed and listing.entry_count <= most
        return listing.pages if is_usable else None  # type: ignore[return-value]  # none is trimmed

    def doubt(self, version: ObjectVersion) -> None:
        """Believe no more that *version* is current."""
        prefix = parent_of(version.key)
        self.catalog.doubts.add(prefix, encode(version.key[len(prefix) :]), self._moments.next())

    def forget_all(self) -> None:
        """Know nothing any more, and have the kernel look up every name anew."""
        self.catalog.forget_all()
        self._kernel.drop_all()

    def told(self, until: float) -> list[tuple[int, EntryPage]]:
        """What the kernel holds references into, as far as it was asked for by *until*: the inodes of directories, and their entries."""
        pages = [
            entries for entries in self.inodes.entries() if entries.as_of <= until + STAMPED_APART
        ]
        return [
            (ROOT if page.prefix == self.root else self.inode_above(f"{page.prefix}_/"), page)
            for page in pages
        ]

    def _drop_from_kernel(self, inode: int, pages: Sequence[EntryPage]) -> None:
        """Have the kernel give back its references to entries of the directory *inode* that are to go."""
        for entries in pages:
            if entries.live and inode:
                self._kernel.drop(inode, entries)

    def _shrink(self, pages: Sequence[EntryPage]) -> None:
        """Keep of pages that a newer listing takes the place of only what the kernel holds references to."""
        for entries in pages:
            if entries.live:
                self.inodes.shrink(entries)

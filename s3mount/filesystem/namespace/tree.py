"""The tree of one volume: from a name in a directory to an entry, with as few requests as possible.

Looks first in the metadata cache, then in the directory's listing if other names have missed there
before (`metadata_cache`), and requests the name alone last (`name_resolver`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import trio

from s3mount.config import Prefetch, StoreConfig, Symlinks, TreeConfig
from s3mount.errors import NameTooLong, NotADirectory, NotFound, ReplacedBeforeOpen
from s3mount.filesystem.listing.entry_page import Entry, EntryPage, inode_numbers
from s3mount.filesystem.names import NAME_MAX, PLAIN_NAMES, ViewNames, decode, encode, parent_of
from s3mount.filesystem.namespace.archived_files import ArchivedFiles
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.directory_lru import DirectoryLru
from s3mount.filesystem.namespace.inode_table import ROOT, InodeTable
from s3mount.filesystem.namespace.invalidations import Invalidations
from s3mount.filesystem.namespace.kernel_references import KernelCache, KernelReferences
from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.filesystem.namespace.name_resolver import NameResolver
from s3mount.filesystem.namespace.ttl_policy import CLOCK_LEAD, StrictClock, TtlPolicy
from s3mount.filesystem.namespace.version_checker import VersionChecker
from s3mount.filesystem.namespace.volume import Volume
from s3mount.s3.model import TARGET_MAX, ObjectVersion
from s3mount.s3.object_store import ObjectStore

LOOKUP_TO_OPEN = 1.0  # seconds between the lookup and the open of one open(2), at most


class Attributes(NamedTuple):
    """Attributes of an inode, valid *valid_for* seconds; *size* is negative for a directory."""

    inode: int
    size: int
    mtime_ns: int
    valid_for: float


class TreeCounts(NamedTuple):
    """Statistics of metadata that was kept, and of what was served in outages.

    *stale_answers*: names and attributes that the kernel was given beyond their lifetime.
    *kept_listings* and *kept_dentries* were read from what is kept.
    """

    stale_answers: int = 0
    outage_seconds: float = 0.0
    kept_listings: int = 0
    kept_dentries: int = 0


class Tree:
    """The directories and files of *volume*; *mounted_ns* is the mtime of all directories."""

    def __init__(
        self,
        volume: Volume,
        resolver: NameResolver,
        inodes: InodeTable,
        kernel: KernelCache,
        versions: VersionChecker,
        *,
        mounted_ns: int,
    ) -> None:
        self.inodes = inodes
        self.versions = versions
        self.archived = ArchivedFiles()
        self.cache = volume.cache
        self.root = volume.root
        self._bucket = volume.bucket
        self._ttl = volume.cache.ttl
        self._clock = volume.cache.clock
        self._resolver = resolver
        self._kernel = kernel
        self._mounted_ns = mounted_ns
        # statistics: lookups that the cache answered, and the others
        self.lookup_hits = 0
        self.lookup_misses = 0

    @property
    def counts(self) -> TreeCounts:
        """What it has served beside the metadata cache; of most mounts, nothing."""
        return TreeCounts()

    async def flush(self) -> None:
        """Wait, not long, until metadata is kept that was to be kept; here, none is."""

    # ---- inodes --------------------------------------------------------------------------------

    def prefix(self, inode: int) -> str:
        """The prefix of a directory. NotADirectory for a file."""
        if inode == ROOT:
            return self.root
        page, index = self.inodes.resolve(inode)
        if not page.is_directory(index):
            raise NotADirectory("not a directory", bucket=self._bucket, key=page.key(index))
        return page.key(index) + "/"

    def key(self, inode: int, name: bytes = b"") -> str | None:
        """The key or prefix of an inode, or of *name* in it; None if the kernel forgot it."""
        if inode == ROOT:
            return self.root + decode(name)
        found = self.inodes.get(inode)
        if found is None:
            return None
        page, index = found
        return page.key(index) + ("/" + decode(name) if page.is_directory(index) else "")

    def directory_of(self, inode: int) -> DirectoryState:
        """The cached state of the directory *inode*. NotADirectory for a file."""
        directory = self.cache.directory(self.prefix(inode))
        directory.inode = inode
        return directory

    def parent_inode(self, prefix: str) -> int:
        """The inode number of the directory above *prefix*; the root is its own parent."""
        above = parent_of(prefix[:-1])
        if len(above) <= len(self.root):
            return ROOT
        grandparent = parent_of(above[:-1])
        entry = Entry(encode(above[len(grandparent) : -1]))
        [inode] = inode_numbers(self._bucket, grandparent, [entry])
        return inode

    def attributes(self, inode: int) -> Attributes:
        """The attributes of an inode, without a request: an inode is one version."""
        if inode == ROOT:
            return Attributes(ROOT, -1, self._mounted_ns, self._ttl.positive)
        return self.describe(inode, *self.inodes.resolve(inode))

    def describe(self, inode: int, page: EntryPage, index: int) -> Attributes:
        """The attributes of an entry whose inode number is *inode*."""
        mtime_ns = self.mtime_ns(page, index)
        return Attributes(inode, page.sizes[index], mtime_ns, self.valid_for(page))

    def valid_for(self, page: EntryPage, *, exists: bool = True) -> float:
        """Seconds until all entries of *page* expire; or that a name is absent, as of its time."""
        if self.cache.invalidations.newest(page.bucket, page.prefix) > page.requested_at:
            return 0.0
        return self._valid_for(page.requested_at, exists=exists)

    def _valid_for(self, requested_at: float, *, exists: bool = True) -> float:
        now = self._clock.now()
        return max(0.0, self._ttl.remaining_for_kernel(requested_at, now, exists=exists))

    def mtime_ns(self, page: EntryPage, index: int) -> int:
        """The mtime of an entry; all directories have the same, see directory-times.md."""
        return self._mounted_ns if page.is_directory(index) else page.mtimes[index]

    # ---- lookup --------------------------------------------------------------------------------

    async def lookup(self, parent: int, name: bytes) -> Attributes:
        """Find *name*, and count a reference. NotFound, NameTooLong, or the store's failure."""
        cached = self.lookup_nowait(parent, name)
        if cached is not None:
            return cached
        self.lookup_misses += 1
        directory = self.directory_of(parent)
        return self._refer_to(directory, name, await self._find_out(directory, name))

    async def lookup_in(self, prefix: str, name: bytes) -> Attributes:
        """`lookup` in the directory *prefix*, which the kernel need not refer to."""
        directory = self.cache.directory(prefix)
        return self._refer_to(directory, name, await self._find(directory, name))

    async def find(self, prefix: str, name: bytes) -> tuple[EntryPage, int]:
        """The entry *name* of the directory *prefix*, without a reference. NotFound."""
        directory = self.cache.directory(prefix)
        return self._existing(directory, name, await self._find(directory, name))

    async def _find(self, directory: DirectoryState, name: bytes) -> CachedDentry:
        return self.get_fresh(directory, name) or await self._find_out(directory, name)

    def lookup_nowait(self, parent: int, name: bytes) -> Attributes | None:
        """`lookup` from the cache; None if that needs a request."""
        if len(name) > NAME_MAX:
            raise NameTooLong("name of more than 255 bytes")
        directory = self.directory_of(parent)
        known = self.get_fresh(directory, name)
        if known is None:
            return None
        self.lookup_hits += 1
        return self._refer_to(directory, name, known)

    def is_listing_fresh(self, inode: int) -> bool:
        """Whether the listing of a directory is fresh: reading it starts without waiting then."""
        return self.cache.is_fresh(self.directory_of(inode))

    def _refer_to(self, directory: DirectoryState, name: bytes, known: CachedDentry) -> Attributes:
        """Count a reference to the entry, and return its attributes. NotFound if it is negative."""
        page, at = self._existing(directory, name, known)
        if directory.scan is not None and directory.scan.listing.is_unreferenced:
            self.cache.directories.note_reference(directory)
        return self.describe(self.inodes.add_reference(page, at), page, at)

    def _existing(
        self, directory: DirectoryState, name: bytes, known: CachedDentry
    ) -> tuple[EntryPage, int]:
        """The entry of a dentry. NotFound if it is negative."""
        page, at = known.page, known.at
        if page is None:
            key = directory.prefix + decode(name)
            absent = NotFound("no such file or directory", bucket=self._bucket, key=key)
            absent.valid_for = self._valid_for(known.requested_at, exists=False)
            raise absent
        self.versions.apply(page, at)
        return page, at

    def get_fresh(self, directory: DirectoryState, name: bytes) -> CachedDentry | None:
        """The cached dentry of *name*, fresh, or in its grace period while it is renewed."""
        now = self._clock.now()
        known = directory.get_fresh(name, now, self._ttl)
        if known is None and self._ttl.grace:
            known = directory.get(name)
            if known is None:
                return None
            remaining = self._ttl.remaining(known.requested_at, now, exists=known.exists)
            if remaining <= -self._ttl.grace:
                return None
            self._resolver.resolve_in_background(directory, name)
        return known

    async def _find_out(self, directory: DirectoryState, name: bytes) -> CachedDentry:
        if await self.cache.wait_final(directory, name):
            known = self.get_fresh(directory, name)
            if known is not None:
                return known
        found = await self._resolver.resolve(directory, name)
        if found.page is None and directory.is_invalidated(name, found.requested_at):
            return found._replace(requested_at=-math.inf)  # the kernel must not keep it
        return found

    async def revalidate(self, page: EntryPage, index: int) -> None:
        """Check that a file's version is current, else cache the new one: ReplacedBeforeOpen."""
        known = self._get_recent(page, index)
        if known is None:
            directory = self.cache.directory(page.prefix)
            known = await self._resolver.resolve(directory, page.name(index))
            if known.page is not None:
                self.versions.apply(known.page, known.at)
        if not known.is_about(page, index):
            raise ReplacedBeforeOpen(
                "replaced since it was looked up", bucket=self._bucket, key=page.key(index)
            )

    def is_current(self, page: EntryPage, index: int) -> bool:
        """Whether a file's version is known to be current, without a request."""
        known = self._get_recent(page, index)
        return known is not None and known.is_about(page, index)

    def _get_recent(self, page: EntryPage, index: int) -> CachedDentry | None:
        """The newest dentry of a file's name, if it is recent enough for an open."""
        directory = self.cache.directory(page.prefix)
        name, requested_at = page.name(index), page.requested_at
        seen = CachedDentry(requested_at, page, index)
        known = directory.get(name, seen)
        is_older = known is None or known.requested_at < requested_at
        if is_older and not directory.is_invalidated(name, requested_at):
            known = seen
        if known is None:
            return None
        if known.page is not None and known.page is not page:
            self.versions.apply(known.page, known.at)
        now = self._clock.now()
        return known if self._ttl.is_recent(known.requested_at, now, LOOKUP_TO_OPEN) else None

    def pages_of(self, prefix: str, most: int) -> Sequence[EntryPage] | None:
        """The pages of a whole listing of at most *most* entries: the same object each time."""
        directory = self.cache.find_directory(prefix)
        listing = None if directory is None else directory.listing
        if listing is None or not listing.is_complete or listing.is_trimmed:
            return None
        return listing.pages if listing.entry_count <= most else None  # type: ignore[return-value]

    def may_prefetch(self, page: EntryPage, index: int) -> bool:
        """Whether the store is likely to have the version that a file is, and to send it."""
        return not (
            self.versions.corrections.doubts(page, index) or self.archived.may_be(page, index)
        )

    def invalidate(self, version: ObjectVersion) -> None:
        """Take *version* for current no longer."""
        prefix = parent_of(version.key)
        name = encode(version.key[len(prefix) :])
        self.versions.corrections.remove((version.bucket, prefix), name)
        self.cache.invalidate(prefix, name)

    def invalidate_all(self) -> None:
        """Drop all that is cached, and have the kernel look up every name again."""
        self.cache.invalidate_all()
        self._kernel.drop_all()

    def refresh(self, names: Sequence[bytes]) -> int:
        """Drop what is cached of the path *names*, and of all below if it is a directory.

        The next look at any of it, by the kernel too, is at the store. Returns how many names were
        cached. Without *names* it is the root: `invalidate_all`.
        """
        if not names:
            count = self.cache.directories.entry_count
            self.invalidate_all()
            return count
        prefix, known = self.root, None
        for name in names:
            # what is above keeps its dentry if that leads to the path
            known = self._get_known(prefix, name)
            if known is None or not known.is_directory:
                self._drop_name(prefix, name)
            prefix += f"{decode(name)}/"
        if known is not None and known.is_directory:
            self._drop_name(parent_of(prefix[:-1]), names[-1])
        count = (known is not None) + self.cache.invalidate_subtree(prefix)
        self._kernel.drop_each(self.referenced_pages(self._clock.now(), prefix))
        return count

    def _get_known(self, prefix: str, name: bytes) -> CachedDentry | None:
        directory = self.cache.find_directory(prefix)
        return None if directory is None else directory.get(name)

    def _drop_name(self, prefix: str, name: bytes) -> None:
        """Invalidate *name* in the directory *prefix*, in the kernel too."""
        self.cache.invalidate(prefix, name)
        self._kernel.drop_name(self._inode_of_directory(prefix), name)

    def referenced_pages(
        self, until: float, below: str = ""
    ) -> Iterator[tuple[int, EntryPage] | None]:
        """The pages, requested up to *until*, that the kernel refers to, and their directories.

        They are those of the directory *below*, and of all in it. Yields None for each other page:
        it takes long to look at many.
        """
        for page in self.inodes.search_pages(below):
            if page is None or page.requested_at > until + CLOCK_LEAD:
                yield None
            else:
                yield self._inode_of_directory(page.prefix), page

    def _inode_of_directory(self, prefix: str) -> int:
        return ROOT if prefix == self.root else self.parent_inode(f"{prefix}_/")


def build_tree(
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
    names: ViewNames = PLAIN_NAMES,
    ttl: TtlPolicy | None = None,
    make: Callable[..., Tree] = Tree,
) -> Tree:
    """The tree of one volume at *location*, whose view of the store has *names*.

    *ttl* is another policy than that of *config*. *make* makes another kind of `Tree`.
    """
    inodes, strict_clock = InodeTable(), StrictClock(clock)
    ttl = ttl or TtlPolicy.from_config(config)
    references = KernelReferences(inodes, kernel)
    cache = MetadataCache(
        location.bucket,
        store,
        nursery,
        *_directories(config.metadata_limit, references, inodes, ttl, strict_clock),
        ttl=ttl,
        clock=strict_clock,
        no_prefetch=no_prefetch,
        names=names,
    )
    volume = Volume(store, cache, location.prefix)
    head_max = _head_max(location)
    resolver = NameResolver(volume, nursery, location.timeout, first_bytes, head_max=head_max)
    versions = VersionChecker(store, nursery, strict_clock, inodes, kernel)
    return make(volume, resolver, inodes, kernel, versions, mounted_ns=mounted_ns)


def _directories(
    limit: int,
    references: KernelReferences,
    inodes: InodeTable,
    ttl: TtlPolicy,
    clock: StrictClock,
) -> tuple[DirectoryLru, Invalidations]:
    lifetime = ttl.usable_for(LOOKUP_TO_OPEN)
    invalidations = Invalidations(ttl.invalidate_before, clock.now, lifetime)
    on_evicted, on_replaced = references.on_evicted, references.on_replaced
    return DirectoryLru(limit, invalidations, on_evicted, on_replaced, inodes), invalidations


def _head_max(location: StoreConfig) -> int:
    """The size of the largest file that its metadata may make a symbolic link; -1 if none may."""
    is_by_metadata = bool(location.symlinks - {Symlinks.RCLONE})
    return TARGET_MAX if is_by_metadata and location.at_ns is None else -1  # the past is settled

"""Lookup: from a name in a directory to an entry, with as few questions to the store as its knowledge allows.

A name in a directory that is not listed is asked for by HEAD `name` and LIST `name/` together, since a directory shadows a file.
The LIST brings the directory's first page, so what is in it needs no question; in the root, which nobody looks up, the first lookup
brings its first page in place of the HEAD. Several names in one directory are a pattern:
its listing is fetched, a few pages for each lookup that missed, so that no lookup ever pays for a whole huge directory.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import trio

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import AccessDenied, NameTooLong, NotADirectory, NotFound, S3MountError, VersionGone
from s3mount.filesystem.directory import Directories, Directory, Known
from s3mount.filesystem.entries import Entries, Row, inode_numbers
from s3mount.filesystem.flights import Flights
from s3mount.filesystem.inodes import ROOT, InodeTable
from s3mount.filesystem.lifetimes import Lifetimes
from s3mount.filesystem.listing import Listing
from s3mount.filesystem.names import NAME_MAX, decode, encode, parent_of
from s3mount.filesystem.paging import Paged, Paging
from s3mount.filesystem.passes import Pass
from s3mount.s3.store import ObjectStore
from s3mount.s3.values import ListPage, ListQuery, ObjectStat, ObjectVersion, Replaced

log = logging.getLogger(__name__)

PAGES_A_MISS = 4  # listing pages that each lookup without an answer entitles its directory to
FIRST_BYTES = 128 << 10  # what a revalidation brings of a new version: about what a first read asks for
LOOKUP_TO_OPEN = 1.0  # seconds in which an open still belongs to the lookup before it: one open(2) is both
PAGES_WAITED = 8  # pages that one lookup waits for before it asks for its name alone


class Attributes(NamedTuple):
    """What the kernel is told of an inode; *size* is negative for a directory, *valid_for* is seconds."""

    inode: int
    size: int
    mtime_ns: int
    valid_for: float


class KernelCache(Protocol):
    """What the kernel keeps of names."""

    def drop(self, parent: int, entries: Entries) -> None:
        """Have it forget these entries of the directory *parent*, soon; it looks them up anew when they are wanted."""
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
    ) -> None:
        self.inodes = InodeTable()
        self.lifetimes = Lifetimes.of(config)
        self.clock = clock
        self._store = store
        self._nursery = nursery
        self.bucket = location.bucket
        self._root = location.prefix
        self._mounted_ns = mounted_ns
        self._first_bytes = first_bytes  # takes the first bytes of a version that a revalidation brought
        self._kernel = kernel
        # whether the store lists in an order; S3's directory buckets are known by their names not to
        self.is_ordered = not location.bucket.endswith("--x-s3")
        self._told: set[str] = set()  # directories with hidden keys that the log has named
        self.known = Directories(config.metadata_limit, self._drop_from_kernel)
        self._lookups: Flights[tuple[str, bytes], Known] = Flights(nursery)

    # ---- inodes --------------------------------------------------------------------------------------------------

    def prefix(self, inode: int) -> str:
        """The prefix of a directory. NotADirectory for a file."""
        if inode == ROOT:
            return self._root
        entries, index = self.inodes.resolve(inode)
        if not entries.is_directory(index):
            raise NotADirectory("not a directory", bucket=self.bucket, key=entries.key(index))
        return entries.key(index) + "/"

    def directory(self, prefix: str) -> Directory:
        """What is known of *prefix*."""
        return self.known.use(prefix)

    def directory_of(self, inode: int) -> Directory:
        """What is known of the directory that the kernel calls *inode*. NotADirectory for a file."""
        directory = self.directory(self.prefix(inode))
        directory.inode = inode
        return directory

    def inode_above(self, prefix: str) -> int:
        """The inode number of the directory above *prefix*; the root is above itself."""
        above = parent_of(prefix[:-1])
        if len(above) <= len(self._root):
            return ROOT
        [inode] = inode_numbers(self.bucket, parent_of(above[:-1]), [Row(encode(above[:-1].rpartition("/")[2]))])
        return inode

    def attributes(self, inode: int) -> Attributes:
        """The attributes of an inode that the kernel knows; never a question, for an inode is one version."""
        if inode == ROOT:
            return Attributes(ROOT, -1, self._directory_mtime(self._root), self.lifetimes.positive)
        return self.describe(inode, *self.inodes.resolve(inode))

    def describe(self, inode: int, entries: Entries, index: int) -> Attributes:
        """The attributes of an entry, under the number that stands for it."""
        return Attributes(inode, entries.sizes[index], self.mtime_ns(entries, index), self.valid_for(entries))

    def valid_for(self, entries: Entries) -> float:
        """For how many seconds more *entries* may be believed."""
        return max(0.0, self.lifetimes.left(entries.as_of, self.clock()))

    def mtime_ns(self, entries: Entries, index: int) -> int:
        """When an entry was modified: a directory, when the newest that is known of what is in it was."""
        if entries.is_directory(index):
            return self._directory_mtime(entries.key(index) + "/")
        return entries.mtimes[index]

    def _directory_mtime(self, prefix: str) -> int:
        directory = self.known.get(prefix)
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
        if known.entries is None:
            raise NotFound("no such file or directory", bucket=self.bucket, key=directory.prefix + decode(name))
        return self.describe(self.inodes.remember(known.entries, known.at), known.entries, known.at)

    def recall(self, directory: Directory, name: bytes) -> Known | None:
        """What is known of a name without a question; what may be told while it is being renewed, too."""
        now = self.clock()
        known = directory.recall(name, now, self.lifetimes)
        if known is None and self.lifetimes.grace:
            known = directory.latest(name)
            if known is None or self.lifetimes.left(known.as_of, now, exists=known.exists) <= -self.lifetimes.grace:
                return None
            self._lookups.begin((directory.prefix, name), partial(self._ask, directory, name))
        return known

    async def revalidate(self, entries: Entries, index: int) -> None:
        """Make sure that a file's version is current. VersionGone where it is not; its name has been learned anew then."""
        known = self._known_lately(entries, index)
        if known is None:
            known = await self._ask_once(self.directory(entries.prefix), entries.name(index))
        if not known.is_about(entries, index):
            raise VersionGone("replaced since it was looked up", bucket=self.bucket, key=entries.key(index))

    def is_current(self, entries: Entries, index: int) -> bool:
        """Whether a file's version is known to be current, without a question."""
        known = self._known_lately(entries, index)
        return known is not None and known.is_about(entries, index)

    def _known_lately(self, entries: Entries, index: int) -> Known | None:
        """What is known of a file's name, recently enough for an open."""
        directory = self.directory(entries.prefix)
        name = entries.name(index)
        known = directory.latest(name)
        if known is None and not directory.is_doubted(name, entries.as_of):
            known = Known(entries.as_of, entries, index)
        if known is None or known.as_of + max(self.lifetimes.positive, LOOKUP_TO_OPEN) <= self.clock():
            return None
        return known

    def doubt(self, version: ObjectVersion) -> None:
        """Believe no more that *version* is current."""
        prefix = parent_of(version.key)
        self.directory(prefix).doubt(encode(version.key[len(prefix) :]), self.clock())

    def forget_all(self) -> None:
        """Know nothing any more, and have the kernel look up every name anew."""
        self.known.clear()
        for entries in self.inodes.entries():
            if entries.prefix == self._root:  # with a directory the kernel drops all that is below it
                self._kernel.drop(ROOT, entries)

    def _drop_from_kernel(self, directory: Directory, pages: Sequence[Entries]) -> None:
        """Have the kernel give back its references to entries that are to go."""
        for entries in pages:
            if entries.live and directory.inode:
                self._kernel.drop(directory.inode, entries)

    # ---- listings ------------------------------------------------------------------------------------------------

    def passage(self, directory: Directory) -> Pass:
        """The listing of a directory that holds still, begun now if there is none."""
        now = self.clock()
        passage = directory.passage
        if passage is None or passage.paging.is_stuck or not directory.is_fresh(now, self.lifetimes):
            passage = directory.passage = self._begin(directory, now)
        return passage

    def _begin(self, directory: Directory, as_of: float) -> Pass:
        grown = partial(self.grown, directory)
        listing = Listing(self.bucket, directory.prefix, as_of, grown, is_ordered=self.is_ordered)
        return Pass(listing, self.paging(listing))

    def grown(self, directory: Directory) -> None:
        """More of *directory* is known."""
        self.known.weigh(directory)
        if directory.passage is not None and not directory.passage.listing.is_ordered:
            self.is_ordered = False  # for good: no later listing of this store is shown before its end
        if directory.hidden_count and directory.prefix not in self._told:
            self._told.add(directory.prefix)
            log.info("keys below %r that no file name can spell are hidden", directory.prefix)

    def paging(self, target: Paged, *, is_eager: bool = True) -> Paging:
        """What brings the pages of *target*."""
        return Paging(target, self._store, self._nursery, self.clock, is_eager=is_eager)

    # ---- questions -----------------------------------------------------------------------------------------------

    async def _learn(self, directory: Directory, name: bytes) -> Known:
        if await self._is_listed(directory, name):
            known = self.recall(directory, name)
            if known is not None:
                return known
        return await self._ask_once(directory, name)

    async def _ask_once(self, directory: Directory, name: bytes) -> Known:
        if not self.lifetimes.positive:  # an answer under way may be older than this question
            return await self._ask(directory, name)
        return await self._lookups.join((directory.prefix, name), partial(self._ask, directory, name))

    async def _is_listed(self, directory: Directory, name: bytes) -> bool:
        """Whether the directory's listing decides *name*, after as many pages as its misses have earned."""
        misses = self._count_miss(directory)
        if not self.lifetimes.positive:
            return False
        if misses == 1:
            if directory.passage is not None:  # it is larger than its first page: the next one may be wanted soon
                directory.passage.paging.want(2)
            return False
        passage = self.passage(directory)
        passage.paging.want(PAGES_A_MISS * misses)
        waited = PAGES_WAITED if misses > 2 else 1
        try:
            return await passage.wait_decided(name, waited)
        except AccessDenied:  # the right to read a key does not need the right to list
            return False

    def _count_miss(self, directory: Directory) -> int:
        now = self.clock()
        if directory.misses_since + self.lifetimes.positive < now:
            directory.misses, directory.misses_since = 0, now
        directory.misses += 1
        return directory.misses

    async def _ask(self, directory: Directory, name: bytes) -> Known:
        """Ask the store for one name: as a file and as a directory, at once."""
        key = directory.prefix + decode(name)
        as_of = self.clock()
        question = _Question()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_directory, key, question, nursery.cancel_scope)
            if await self._is_on_first_page(directory, name):
                question.listed = directory.latest(name)
            if question.listed is None:
                await self._ask_file(key, directory.latest(name), question)
            elif not question.listed.is_directory:
                nursery.cancel_scope.cancel()
        if question.page is not None:
            self._take_first_page(key + "/", question.page, as_of)
        if question.listed is not None:
            return question.listed
        row = question.answer(name)
        known = Known(as_of, None if row is None else Entries(self.bucket, directory.prefix, [row], as_of))
        directory.learn(name, known)
        return known

    async def _is_on_first_page(self, directory: Directory, name: bytes) -> bool:
        """Whether the first page of the root's listing decides *name*.

        Another directory's first page comes when it is looked up; the root is never looked up, so its first lookup brings it.
        """
        if directory.prefix != self._root or directory.passage is not None or not self.lifetimes.positive:
            return False
        try:
            return await self.passage(directory).wait_decided(name, 1)
        except S3MountError:  # the other questions will tell
            return False

    async def _ask_directory(self, key: str, question: "_Question", other: trio.CancelScope) -> None:
        try:
            page = await self._store.list_page(ListQuery(key + "/"))
        except S3MountError as exc:
            question.list_failure = exc
            return
        if page.objects or page.prefixes or page.next_token:
            question.page = page
            other.cancel()

    async def _ask_file(self, key: str, latest: Known | None, question: "_Question") -> None:
        try:
            question.stat = await self._stat(key, latest)
        except NotFound:
            question.stat = None
        except S3MountError as exc:
            question.head_failure = exc

    async def _stat(self, key: str, latest: Known | None) -> ObjectStat:
        """HEAD, or where a version was known, the question whether it is current still."""
        if latest is None or latest.entries is None or latest.is_directory:
            return await self._store.head(key)
        version = latest.entries.version(latest.at)
        match await self._store.revalidate(version, FIRST_BYTES):
            case Replaced(stat, head):
                self._first_bytes(stat.version, head)
                return stat
            case _:
                return ObjectStat(version, latest.entries.mtimes[latest.at])

    def _take_first_page(self, prefix: str, page: ListPage, as_of: float) -> None:
        directory = self.directory(prefix)
        if not directory.is_fresh(self.clock(), self.lifetimes):
            directory.passage = self._begin(directory, as_of)
            directory.passage.paging.add(page, as_of)


class _Question:
    """What came back of the two questions about one name."""

    def __init__(self) -> None:
        self.listed: Known | None = None  # what the root's first page said
        self.page: ListPage | None = None
        self.stat: ObjectStat | None = None
        self.list_failure: S3MountError | None = None
        self.head_failure: S3MountError | None = None

    def answer(self, name: bytes) -> Row | None:
        """The entry, or None where there is none. Raises where a failure leaves it open."""
        if self.page is not None:
            return Row(name)
        if self.list_failure is not None and not isinstance(self.list_failure, AccessDenied):
            raise self.list_failure
        if self.head_failure is not None:
            raise self.head_failure
        if self.stat is not None:
            return Row(name, self.stat.version.size, self.stat.mtime_ns, self.stat.version.etag)
        if self.list_failure is not None:
            raise self.list_failure
        return None

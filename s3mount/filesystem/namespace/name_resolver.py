"""One name, asked for at the store: by HEAD `name` and LIST `name/` together, since a directory shadows a file.

The LIST brings the directory's first page, so what is in it needs no question; in the root, which nobody looks up, the first lookup
brings its first page in place of the HEAD. A file of which a version was known is asked for with If-None-Match.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import trio

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, DeadlineExceeded, NotFound, S3MountError, StoreError
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.single_flight import SingleFlight
from s3mount.filesystem.names import decode
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState, listed
from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.s3.model import ListPage, ListQuery, Modified, ObjectStat, ObjectVersion
from s3mount.s3.object_store import ObjectStore

FIRST_BYTES = (
    128 << 10
)  # what a revalidation brings of a new version: about what a first read asks for


class NameResolver:
    """Asks *store* for names, and has *catalog* and their directories learn what it says."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        catalog: MetadataCache,
        location: StoreConfig,
        first_bytes: Callable[[ObjectVersion, bytes], None],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._root = location.prefix
        self._timeout = location.timeout  # seconds after which nobody waits for an answer any more
        self._first_bytes = (
            first_bytes  # takes the first bytes of a version that a revalidation brought
        )
        self._flights: SingleFlight[tuple[str, bytes], CachedDentry] = SingleFlight(
            nursery, catalog.moments.next
        )

    async def ask(self, directory: DirectoryState, name: bytes) -> CachedDentry:
        """What the store says of *name*, asked once for all who wait. Raises what it failed with, where that leaves it open."""
        lifetimes = self._catalog.lifetimes
        if not lifetimes.positive:  # an answer under way may be older than this question
            return await self._ask(directory, name)
        called = self._catalog.moments.now()
        since = max(lifetimes.valid_since, self._catalog.doubts.since(directory.prefix, name))
        known = await self._flights.join(
            (directory.prefix, name), since, partial(self._ask, directory, name)
        )
        if (
            lifetimes.left(known.as_of, called, exists=known.exists) <= 0
        ):  # it was under way for too long before
            return await self._ask(directory, name)
        return known

    def ask_ahead(self, directory: DirectoryState, name: bytes) -> None:
        """`ask`, where nobody waits for the answer."""
        self._flights.begin((directory.prefix, name), partial(self._ask, directory, name))

    async def _ask(self, directory: DirectoryState, name: bytes) -> CachedDentry:
        """Ask for one name: as a file and as a directory, at once."""
        key = directory.prefix + decode(name)
        as_of = self._catalog.moments.next()
        answers = _Answers()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_directory, key, answers, nursery.cancel_scope)
            answers.listed = await self._first_page_says(directory, name)
            if answers.listed is None:
                await self._ask_file(key, directory.latest(name), answers)
            elif not answers.listed.is_directory:
                nursery.cancel_scope.cancel()
        if answers.is_directory:
            self._catalog.take_first_pages(key + "/", answers.pages, as_of)
        if answers.listed is not None:
            return answers.listed
        row = answers.row(name)
        known = CachedDentry(
            as_of,
            None
            if row is None
            else EntryPage(self._catalog.bucket, directory.prefix, [row], as_of),
        )
        self._catalog.known.learn(directory, name, known)
        newest = directory.latest(
            name
        )  # another answer may have come meanwhile that was asked for later
        return newest if newest is not None and newest.as_of > known.as_of else known

    async def _first_page_says(self, directory: DirectoryState, name: bytes) -> CachedDentry | None:
        """What the first page of the root's listing says of *name*.

        Another directory's first page comes when it is looked up; the root is never looked up, so its first lookup brings it.
        """
        if (
            directory.prefix != self._root
            or directory.passage is not None
            or not self._catalog.lifetimes.positive
        ):
            return None
        passage = self._catalog.passage(directory)
        try:
            await passage.wait_decided(name, 1)
        except S3MountError:  # the other questions will tell
            return None
        known = listed(
            passage.listing, name
        )  # which may be too large to be the directory's any more
        return None if known is None or directory.is_doubted(name, known.as_of) else known

    async def _ask_directory(self, key: str, answers: "_Answers", other: trio.CancelScope) -> None:
        """Ask for pages until one shows that there is a directory, or none is left: S3 may send empty pages before a full one."""
        query, end, tokens = (
            ListQuery(key + "/"),
            self._catalog.moments.now() + self._timeout,
            set[str](),
        )
        try:
            while not answers.is_directory:
                if self._catalog.moments.now() > end:
                    raise DeadlineExceeded("the listing had empty pages only", key=key + "/")
                page = await self._store.list_page(query)
                answers.pages.append(page)
                if page.next_token is None:
                    break
                if page.next_token in tokens:
                    raise StoreError("the listing repeats a continuation token", key=key + "/")
                tokens.add(page.next_token)
                query = replace(query, token=page.next_token)
        except S3MountError as exc:
            answers.list_failure = exc
            return
        if answers.is_directory:
            other.cancel()

    async def _ask_file(self, key: str, latest: CachedDentry | None, answers: "_Answers") -> None:
        try:
            answers.stat = await self._stat(key, latest)
        except NotFound:
            answers.stat = None
        except S3MountError as exc:
            answers.head_failure = exc

    async def _stat(self, key: str, latest: CachedDentry | None) -> ObjectStat:
        """HEAD, or where a version was known, the question whether it is current still."""
        if latest is None or latest.entries is None or latest.is_directory:
            return await self._store.head(key)
        version = latest.entries.version(latest.at)
        match await self._store.revalidate(version, FIRST_BYTES):
            case Modified(stat, head):
                self._first_bytes(stat.version, head)
                return stat
            case _:
                return ObjectStat(version, latest.entries.mtimes[latest.at])


class _Answers:
    """What came back of the questions about one name."""

    def __init__(self) -> None:
        self.listed: CachedDentry | None = None  # what the root's first page said
        self.pages: list[ListPage] = []  # of the directory, as many as it took
        self.stat: ObjectStat | None = None
        self.list_failure: S3MountError | None = None
        self.head_failure: S3MountError | None = None

    @property
    def is_directory(self) -> bool:
        """Whether the pages show anything; only the last can."""
        return bool(self.pages) and bool(self.pages[-1].objects or self.pages[-1].prefixes)

    def row(self, name: bytes) -> Entry | None:
        """The entry, or None where there is none. Raises where a failure leaves it open."""
        if self.is_directory:
            return Entry(name)
        if self.list_failure is not None and not isinstance(self.list_failure, AccessDenied):
            raise self.list_failure
        if self.head_failure is not None:
            raise self.head_failure
        if self.stat is not None:
            version = self.stat.version
            return Entry(name, version.size, self.stat.mtime_ns, version.etag, version.version_id)
        if self.list_failure is not None:
            raise self.list_failure
        return None

"""Builder of whole directories from one undelimited listing: keys in, finished directories out.

Pure. Keys come in byte order or in the order of path components (see `entry_merger`). In both, all
keys below a directory stand together. So the open directories are a stack, and a directory is
finished by the first key outside it. A listing in any other order raises UnorderedListingError.
"""

from typing import NamedTuple

from s3mount.errors import StoreError
from s3mount.filesystem.listing.entry_merger import by_component
from s3mount.filesystem.listing.entry_page import Entry
from s3mount.filesystem.names import encode, is_valid
from s3mount.s3.model import ListedObject, ListPage, ListQuery, Reason


class UnorderedListingError(StoreError):
    """Keys came in an order in which no directory is ever finished."""


class Finished(NamedTuple):
    """All entries of a directory, valid as of the time at which its first key was requested."""

    prefix: str
    entries: list[Entry]
    hidden: int
    requested_at: float


class OpenDirectory:
    """A directory of which more keys may come."""

    def __init__(self, prefix: str, requested_at: float) -> None:
        self.prefix = prefix
        self.requested_at = requested_at
        self.entries: dict[bytes, Entry] = {}
        self.hidden = 0


class SubtreeBuilder:
    """Builder of the directories below *root* from *start* on, up to *stop* if that is given.

    Prefixes are "" or end with a slash; *start* is a directory in *root*. *root* itself is never
    finished, because the listing lacks what is before *start*.
    """

    def __init__(self, root: str, start: str, stop: str | None = None) -> None:
        self.root = root
        self.start = start
        self.stop = stop
        self.is_complete = False
        self.position = self.position_of(start)  # the last key seen
        self.pages = 0
        self.idle_pages = 0  # pages that finished no directory
        self.children = 1  # directories in *root* that keys were seen of
        self._last_child = _prefixes_between(root, start)[0]
        self._finished: list[Finished] = []  # by the page that is being added
        self._token: str | None = None
        self._open = [OpenDirectory(root, 0.0)]
        self._hidden_prefix: str | None = None  # its keys are skipped: no name can show them
        self._is_byte_order = True
        self._is_component_order = True

    def next_query(self) -> ListQuery:
        if self._token is None:
            after = self.position_of(self.start)
            return ListQuery(self.root, delimiter="", start_after=after, reason=Reason.WALK)
        return ListQuery(self.root, delimiter="", token=self._token, reason=Reason.WALK)

    def add(self, page: ListPage, requested_at: float) -> list[Finished]:
        """Add the next page; the directories that it finishes. Raises UnorderedListingError."""
        if page.next_token is not None and page.next_token == self._token:
            raise UnorderedListingError("the listing repeats a continuation token", key=self.root)
        if self._token is None:
            self._open_start(requested_at)
        for listed in page.objects:
            self._check_order(listed.key)
            self._add_object(listed, requested_at)
        self._token = page.next_token
        if page.next_token is None:
            self._finish_outside(self.root)
        finished, self._finished = self._finished, []  # a scan is remembered for long
        self.idle_pages += not finished
        self.pages += 1
        self.is_complete = page.next_token is None or self._is_at(self.stop)
        if self.is_complete:
            del self._open[1:]  # beyond *stop*
        return finished

    @property
    def pending_count(self) -> int:
        """How many entries are held, of directories that are not finished."""
        return sum(len(directory.entries) for directory in self._open)

    def is_inside(self, prefix: str) -> bool:
        """Whether keys below *prefix* have come, and more may."""
        return any(directory.prefix == prefix for directory in self._open)

    def is_before(self, prefix: str) -> bool:
        """Whether keys below *prefix* may still come, and none has."""
        is_below = prefix.startswith(self.root) and prefix != self.root
        if not is_below or self._is_at(prefix):
            return False
        return self.stop is None or self.position_of(prefix) < self.position_of(self.stop)

    def position_of(self, prefix: str) -> str:
        """Where the listing has the directory *prefix*: before its keys, and after all others."""
        return prefix

    def _is_at(self, prefix: str | None) -> bool:
        """Whether the listing has come to the directory *prefix*; never to None."""
        return prefix is not None and self.position >= self.position_of(prefix)

    def _open_start(self, requested_at: float) -> None:
        for prefix in _prefixes_between(self.root, self.start):
            self._open.append(OpenDirectory(prefix, requested_at))

    def _check_order(self, key: str) -> None:
        if key < self.position:
            self._is_byte_order = False
        if by_component(key) < by_component(self.position):
            self._is_component_order = False
        if not (self._is_byte_order or self._is_component_order):
            raise UnorderedListingError("the keys of a listing are in no order", key=key)
        self.position = key

    def _add_object(self, listed: ListedObject, requested_at: float) -> None:
        key = listed.key
        if self._hidden_prefix is not None and key.startswith(self._hidden_prefix):
            return
        self._hidden_prefix = None
        parent = key[: key.rfind("/") + 1]
        if parent != self._open[-1].prefix and not self._enter(parent, requested_at):
            return
        directory = self._open[-1]
        if len(self._open) == 1:  # *root*: its entries would only take memory
            return
        name = encode(key[len(parent) :])
        if is_valid(name):
            directory.entries[name] = Entry(
                name,
                listed.size,
                listed.mtime_ns,
                listed.etag,
                listed.version_id,
                listed.storage_class,
                listed.owner,
            )
        elif name:
            directory.hidden += 1

    def _enter(self, prefix: str, requested_at: float) -> bool:
        """Make *prefix* the innermost open directory; False if one of its components is no name."""
        self._finish_outside(prefix)
        for inner in _prefixes_between(self._open[-1].prefix, prefix):
            parent = self._open[-1]
            name = encode(inner[len(parent.prefix) : -1])
            if not is_valid(name):
                parent.hidden += 1
                self._hidden_prefix = inner
                return False
            if len(self._open) == 1:
                self._count_child(inner)
            else:  # a directory shadows a file of its name, which came before it
                parent.entries[name] = Entry(name)
            self._open.append(OpenDirectory(inner, requested_at))
        return True

    def _count_child(self, prefix: str) -> None:
        self.children += prefix != self._last_child
        self._last_child = prefix

    def _finish_outside(self, prefix: str) -> None:
        """Finish the open directories that *prefix* is not in."""
        while len(self._open) > 1 and not prefix.startswith(self._open[-1].prefix):
            done = self._open.pop()
            entries = list(done.entries.values())
            self._finished.append(Finished(done.prefix, entries, done.hidden, done.requested_at))


def _prefixes_between(outer: str, inner: str) -> list[str]:
    """The prefixes of the directories below *outer*, down to *inner*."""
    prefixes = []
    for component in inner[len(outer) :].split("/")[:-1]:
        outer += component + "/"
        prefixes.append(outer)
    return prefixes

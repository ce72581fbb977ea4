"""A whole subtree from one undelimited listing: keys in, finished directories out.

Pure. Keys come in byte order or in component order (see `assembly`); in both, all keys below a directory stand together. So the open
directories are a stack, and one that a key has left behind is finished. A listing in no such order cannot be used: Disorder.
"""

from typing import NamedTuple

from s3mount.errors import StoreError
from s3mount.filesystem.listing.entry_merger import by_component
from s3mount.filesystem.listing.entry_page import Entry
from s3mount.filesystem.names import encode, is_valid
from s3mount.s3.model import ListedObject, ListPage, ListQuery


class UnorderedListingError(StoreError):
    """Keys came in an order in which no directory is ever finished."""


class Finished(NamedTuple):
    """A directory that is known whole, as of when its first key was asked for."""

    prefix: str
    rows: list[Entry]
    hidden: int
    as_of: float


class _Open:
    """A directory whose keys are coming in."""

    def __init__(self, prefix: str, as_of: float) -> None:
        self.prefix = prefix
        self.as_of = as_of
        self.rows: dict[bytes, Entry] = {}
        self.hidden = 0


class SubtreeBuilder:
    """The directories below *root* from *start* on, itself included: "" or prefixes that end with a
    slash. *start* is a directory in *root*. *root* is never finished here, since what stands before *start* is not seen. With *stop*, nothing behind it is asked for.
    """

    def __init__(self, root: str, start: str, stop: str | None = None) -> None:
        self.root = root
        self.start = start
        self.stop = stop
        self.is_complete = False
        self.position = start  # the last key seen
        self.pages = 0
        self.idle_pages = 0  # pages that finished none
        self._finished: list[Finished] = []  # since the page began
        self._token: str | None = None
        self._open = [_Open(root, 0.0)]
        self._hidden: str | None = None  # a prefix that no name can show; its keys are passed over
        self._is_byte_order = True
        self._is_component_order = True
        self._last_child = _between(root, start)[0]  # the directory of *root* that it came to last
        self.children = 1  # how many directories of *root* it has come to

    def next_query(self) -> ListQuery:
        if self._token is None:
            return ListQuery(self.root, delimiter="", start_after=self.start)
        return ListQuery(self.root, delimiter="", token=self._token)

    def add(self, page: ListPage, as_of: float) -> list[Finished]:
        """Take the next page, asked for at *as_of*; the directories it finishes. Disorder where its keys are in no useful order."""
        if page.next_token is not None and page.next_token == self._token:
            raise UnorderedListingError("the listing repeats a continuation token", key=self.root)
        if self._token is None:
            self._open.extend(_Open(prefix, as_of) for prefix in _between(self.root, self.start))
        self._finished = []
        for listed in page.objects:
            self._check_order(listed.key)
            self._take(listed, as_of)
        self._token = page.next_token
        if page.next_token is None:
            self._close_down_to(self.root)
        self.idle_pages += not self._finished
        self.pages += 1
        self.is_complete = page.next_token is None or (
            self.stop is not None and self.position >= self.stop
        )
        return self._finished

    def is_inside(self, prefix: str) -> bool:
        """Whether keys below *prefix* have come, and more may."""
        return any(directory.prefix == prefix for directory in self._open)

    def is_before(self, prefix: str) -> bool:
        """Whether keys below *prefix* can still come, and none has."""
        is_below = prefix.startswith(self.root) and prefix != self.root
        return is_below and self.position < prefix and (self.stop is None or prefix < self.stop)

    def _check_order(self, key: str) -> None:
        if key < self.position:
            self._is_byte_order = False
        if by_component(key) < by_component(self.position):
            self._is_component_order = False
        if not (self._is_byte_order or self._is_component_order):
            raise UnorderedListingError("the keys of a listing are in no order", key=key)
        self.position = key

    def _take(self, listed: ListedObject, as_of: float) -> None:
        key = listed.key
        if self._hidden is not None and key.startswith(self._hidden):
            return
        self._hidden = None
        above = key[: key.rfind("/") + 1]
        if above != self._open[-1].prefix and not self._enter(above, as_of):
            return
        directory = self._open[-1]
        if (
            len(self._open) == 1
        ):  # in *root*, which is never finished: its entries would only fill the memory
            return
        name = encode(key[len(above) :])
        if is_valid(name):
            directory.rows[name] = Entry(name, listed.size, listed.mtime_ns, listed.etag)
        elif name:
            directory.hidden += 1

    def _enter(self, prefix: str, as_of: float) -> bool:
        """Make *prefix* the innermost open directory; False where a part of it is no name."""
        self._close_down_to(prefix)
        for inner in _between(self._open[-1].prefix, prefix):
            above = self._open[-1]
            name = encode(inner[len(above.prefix) : -1])
            if not is_valid(name):
                above.hidden += 1
                self._hidden = inner
                return False
            if len(self._open) == 1:
                self.children += inner != self._last_child
                self._last_child = inner
            else:
                above.rows[name] = Entry(
                    name
                )  # a directory shadows a file of its name, which came before it
            self._open.append(_Open(inner, as_of))
        return True

    def _close_down_to(self, prefix: str) -> None:
        while len(self._open) > 1 and not prefix.startswith(self._open[-1].prefix):
            done = self._open.pop()
            self._finished.append(
                Finished(done.prefix, list(done.rows.values()), done.hidden, done.as_of)
            )


def _between(outer: str, inner: str) -> list[str]:
    """The prefixes below *outer*, down to *inner*."""
    parts = inner[len(outer) :].split("/")[:-1]
    prefixes = []
    for part in parts:
        outer += part + "/"
        prefixes.append(outer)
    return prefixes

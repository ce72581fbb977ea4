"""Raw listing order in, a directory's entries out: markers hidden, impossible names hidden, a directory shadowing its file.

Pure. S3 lists keys in byte order, so between a file `a` and the directory `a/` stand all keys that begin with `a` and a byte
below the slash (`a-b`, `a.txt`); stores over file trees list in the order of path components, `a/` right behind `a`. A file is held
back while, in either order, its directory could still come: while the last key is its own, or leaves room behind it. In a listing in
neither order everything is held back to the end; and until so many keys have come in order that it is no chance, too, as the first
pages of a listing without an order may look as if they had one.
"""

from collections.abc import Callable, Iterator
from copy import copy

from s3mount.errors import StoreError
from s3mount.filesystem.listing.entry_page import Entry
from s3mount.filesystem.names import encode, is_valid
from s3mount.s3.model import ListPage


def by_component(raw: str) -> str:
    """A sort key under which a directory's keys follow its name at once, as file trees have it."""
    return raw.replace("/", "\0")


class EntryMerger:
    """The entries of one directory, from the pages of one delimited listing of it, in turn.

    States, each left for the next one only: *unproven* (in order so far, nothing is let go), *ordered* (what is certain is let go),
    *unordered* (all that has not been let go is held to the end). *proof* is how many keys have to come in order before anything is
    let go: 0 begins as ordered, None as unordered. `hidden` counts the keys and prefixes that cannot be shown.
    """

    __slots__ = (
        "_last_directory",
        "_pending",
        "_prefix",
        "_tracker",
        "_unordered",
        "_unproven",
        "hidden_count",
        "key_count",
        "keys_needed",
    )

    def __init__(self, prefix: str, *, keys_needed: int | None = 0) -> None:
        self._prefix = prefix
        self.keys_needed = keys_needed
        self.key_count = 0  # and common prefixes that have come
        self._unproven: list[Entry] = []  # certain, if the order is proved
        self._pending: dict[str, Entry] = {}  # files whose directory can still come
        self._unordered: dict[bytes, Entry] | None = {} if keys_needed is None else None
        self._tracker = _OrderTracker()
        self._last_directory = (
            b""  # a page may begin with the prefix that the one before ended with
        )
        self.hidden_count = 0

    def copy(self) -> "EntryMerger":
        """The same state, to go on from a second time."""
        twin = copy(self)
        twin._unproven, twin._pending = self._unproven.copy(), self._pending.copy()  # noqa: SLF001 - another of this class
        twin._unordered = None if self._unordered is None else self._unordered.copy()  # noqa: SLF001
        twin._tracker = copy(self._tracker)  # noqa: SLF001
        return twin

    def add(self, page: ListPage) -> list[Entry]:
        """The entries that are certain now."""
        files = dict(self._files(page))
        directories = list({row.name: row for row in self._directories(page)}.values())
        self.key_count += len(page.objects) + len(page.prefixes)
        if self._unordered is None and not self._tracker.advance(page):
            self._unordered = {row.name: row for row in (*self._unproven, *self._pending.values())}
            self._unproven, self._pending = [], {}
        if self._unordered is None:
            return self._proved(self._certain(files, directories))
        for row in files.values():
            self._unordered.setdefault(row.name, row)
        self._unordered.update((row.name, row) for row in directories)
        return []

    def finish(self) -> list[Entry]:
        """What was held back, when no more pages come."""
        return (
            [*self._unproven, *self._pending.values()]
            if self._unordered is None
            else list(self._unordered.values())
        )

    @property
    def is_ordered(self) -> bool:
        return self._unordered is None

    @property
    def pending_count(self) -> int:
        """How many entries are held back."""
        return (
            len(self._unproven) + len(self._pending)
            if self._unordered is None
            else len(self._unordered)
        )

    @property
    def pending_files(self) -> frozenset[str] | None:
        """The files that are held back alone; None if all entries are, for want of an order."""
        return None if self._unproven or self._unordered is not None else frozenset(self._pending)

    def is_past(self, name: str) -> bool:
        """Whether in an ordered listing neither a file nor a directory *name* can come any more: a hint, as order is not a promise."""
        is_past = self._unordered is None and self._tracker.is_past(f"{self._prefix}{name}/")
        return is_past and name not in self._pending

    def _proved(self, certain: list[Entry]) -> list[Entry]:
        """*certain*, with all that was certain before, once enough keys have come in order."""
        if self.keys_needed is None or self.key_count < self.keys_needed:
            self._unproven += certain
            return []
        certain, self._unproven = self._unproven + certain if self._unproven else certain, []
        return certain

    def _certain(self, files: dict[str, Entry], directories: list[Entry]) -> list[Entry]:
        """What an ordered page makes certain: its directories, and the files that none of them or those to come shadows."""
        shadows = {row.name for row in directories}
        candidates = {**self._pending, **files}
        self._pending = {}
        certain = [row for row in directories if row.name != self._last_directory]
        self._last_directory = directories[-1].name if directories else self._last_directory
        has_room = self._tracker.may_follow(self._prefix)
        for name, row in candidates.items():
            if row.name in shadows:
                continue
            if has_room(name):
                self._pending[name] = row
            else:
                certain.append(row)
        return certain

    def _files(self, page: ListPage) -> Iterator[tuple[str, Entry]]:
        skip = len(self._prefix)
        for key, size, mtime_ns, etag, _ in page.objects:
            raw = key[skip:]
            name = encode(raw)
            if "/" in raw:
                raise StoreError("the listing passes over the delimiter", key=key)
            if is_valid(name):
                yield raw, Entry(name, size, mtime_ns, etag)
            elif raw:
                self.hidden_count += 1

    def _directories(self, page: ListPage) -> Iterator[Entry]:
        skip = len(self._prefix)
        for prefix in page.prefixes:
            name = encode(prefix[skip:-1])
            if is_valid(name):
                yield Entry(name)
            else:
                self.hidden_count += 1


class _OrderTracker:
    """How far an ordered listing has come, in both orders that stores list in."""

    __slots__ = ("_is_byte_order", "_is_component_order", "_last", "_last_component")

    def __init__(self) -> None:
        self._last = ""
        self._last_component = ""
        self._is_byte_order = True
        self._is_component_order = True

    def advance(self, page: ListPage) -> bool:
        """Note a page; False where it is in neither order, within itself or after the one before."""
        objects, prefixes = [listed.key for listed in page.objects], page.prefixes
        if not objects and not prefixes:
            return True
        last, last_component = self._last, self._last_component
        if self._is_byte_order:
            self._is_byte_order = _rises(last, objects) and _rises(last, prefixes)
        components = (
            [by_component(key) for key in objects],
            [by_component(prefix) for prefix in prefixes],
        )
        if self._is_component_order:
            self._is_component_order = all(_rises(last_component, column) for column in components)
        self._last = max(last, *objects[-1:], *prefixes[-1:])
        self._last_component = max(last_component, *components[0][-1:], *components[1][-1:])
        return self._is_byte_order or self._is_component_order

    def is_past(self, raw: str) -> bool:
        return raw <= self._last and by_component(raw) <= self._last_component

    def may_follow(self, prefix: str) -> Callable[[str], bool]:
        """Whether a directory of a name could follow still, in one of the orders that are possible."""
        last = self._last[len(prefix) :]
        last_component = (
            self._last_component[len(prefix) :].partition("\0")[0]
            if self._is_component_order
            else None
        )

        def has_room(name: str) -> bool:
            if name == last_component:
                return True
            return (
                self._is_byte_order
                and last.startswith(name)
                and last[len(name) : len(name) + 1] < "/"
            )

        return has_room


def _rises(last: str, column: list[str]) -> bool:
    """Whether *column* is in rising order and begins behind *last*; a key told twice in a row is no disorder."""
    previous = last
    for raw in column:
        if raw < previous:
            return False
        previous = raw
    return True

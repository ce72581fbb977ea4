"""Merger of raw listing pages into a directory's entries.

Pure. Hides directory markers and names that no file can have; a directory shadows its file. S3
lists keys in byte order, so between a file `a` and the directory `a/` come all keys of `a` and a
byte below the slash (`a-b`, `a.txt`). Stores over file trees list in the order of path components,
`a/` right after `a`. A file is held back while, in either order, its directory could still come. In
a listing in neither order everything is held back to the end; and also until so many keys have come
in order that it is no chance, as the first pages of an unordered listing may look ordered.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy

from s3mount.errors import StoreError
from s3mount.filesystem.listing.entry_page import Entry
from s3mount.filesystem.names import encode, is_valid
from s3mount.s3.model import ListPage


def by_component(raw: str) -> str:
    """A sort key by which a directory's keys follow its name at once, as in a file tree."""
    return raw.replace("/", "\0")


class EntryMerger:
    """The entries of one directory, from the pages of one delimited listing of it, in turn.

    States, in this order: *unproven* (in order so far, all is held back), *ordered* (what is
    certain is released), *unordered* (what was not released is held to the end). *keys_needed* is
    how many keys must come in order before anything is released: 0 starts as ordered, None as
    unordered. `hidden_count` counts the keys and prefixes that cannot be shown.
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
        self.key_count = 0  # received, with common prefixes
        self.hidden_count = 0
        # held back: what is certain if the order is proved, files whose directory can still come,
        # and (not None: unordered) everything
        self._unproven: list[Entry] = []
        self._pending: dict[str, Entry] = {}
        self._unordered: dict[bytes, Entry] | None = {} if keys_needed is None else None
        self._tracker = _OrderTracker()
        self._last_directory = b""  # which the next page may repeat

    def copy(self) -> "EntryMerger":
        """The same state, to continue from a second time."""
        twin = copy(self)
        twin._unproven = self._unproven.copy()  # noqa: SLF001 - its own class
        twin._pending = self._pending.copy()  # noqa: SLF001
        if self._unordered is not None:
            twin._unordered = self._unordered.copy()  # noqa: SLF001
        twin._tracker = copy(self._tracker)  # noqa: SLF001
        return twin

    def add(self, page: ListPage) -> list[Entry]:
        """Take the next page; the entries that are certain now."""
        files = dict(self._files(page))
        directories = list({entry.name: entry for entry in self._directories(page)}.values())
        self.key_count += len(page.objects) + len(page.prefixes)
        if self._unordered is None and not self._tracker.advance(page):
            held = (*self._unproven, *self._pending.values())
            self._unordered = {entry.name: entry for entry in held}
            self._unproven, self._pending = [], {}
        if self._unordered is None:
            return self._proved(self._certain(files, directories))
        self._hold(self._unordered, list(files.values()), directories)
        return []

    def finish(self) -> list[Entry]:
        """What was held back, when no more pages come."""
        if self._unordered is not None:
            return list(self._unordered.values())
        return [*self._unproven, *self._pending.values()]

    @property
    def is_ordered(self) -> bool:
        return self._unordered is None

    @property
    def pending_count(self) -> int:
        """How many entries are held back."""
        if self._unordered is not None:
            return len(self._unordered)
        return len(self._unproven) + len(self._pending)

    @property
    def pending_files(self) -> frozenset[str] | None:
        """The files that are held back; None if all entries are, for want of an order."""
        is_proved = not self._unproven and self._unordered is None
        return frozenset(self._pending) if is_proved else None

    def is_past(self, name: str) -> bool:
        """Whether neither a file nor a directory *name* can come any more, if the order holds."""
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
        """What an ordered page makes certain: its directories, and files that none can shadow."""
        shadows = {entry.name for entry in directories}
        candidates = {**self._pending, **files}
        self._pending = {}
        certain = [entry for entry in directories if entry.name != self._last_directory]
        self._last_directory = directories[-1].name if directories else self._last_directory
        may_follow = self._tracker.may_follow(self._prefix)
        for name, entry in candidates.items():
            if entry.name in shadows:
                certain += self._shadowed(entry)
            elif may_follow(name):
                self._pending[name] = entry
            else:
                certain.append(entry)
        return certain

    def _shadowed(self, entry: Entry) -> Sequence[Entry]:  # noqa: ARG002 - it is not shown
        """What is shown of a file beside a directory of its name."""
        return ()

    def _hold(self, held: dict[bytes, Entry], files: list[Entry], directories: list[Entry]) -> None:
        """Hold the entries of a page in no order: a directory shadows its file."""
        for entry in files:
            held.setdefault(entry.name, entry)
        held.update((entry.name, entry) for entry in directories)

    def _files(self, page: ListPage) -> Iterator[tuple[str, Entry]]:
        skip = len(self._prefix)
        for key, size, mtime_ns, etag, storage_class, version_id in page.objects:
            raw = key[skip:]
            name = encode(raw)
            if "/" in raw:
                raise StoreError("the listing passes over the delimiter", key=key)
            if is_valid(name):
                yield raw, Entry(name, size, mtime_ns, etag, version_id, storage_class)
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
    """The position of an ordered listing, in both orders that stores list in."""

    __slots__ = ("_is_byte_order", "_is_component_order", "_last", "_last_component")

    def __init__(self) -> None:
        self._last = ""
        self._last_component = ""
        self._is_byte_order = True
        self._is_component_order = True

    def advance(self, page: ListPage) -> bool:
        """Note a page; False if it is in neither order, in itself or after the one before."""
        objects, prefixes = [listed.key for listed in page.objects], page.prefixes
        if not objects and not prefixes:
            return True
        last, last_component = self._last, self._last_component
        if self._is_byte_order:
            self._is_byte_order = _rises(last, objects) and _rises(last, prefixes)
        columns = [[by_component(raw) for raw in column] for column in (objects, prefixes)]
        if self._is_component_order:
            self._is_component_order = all(_rises(last_component, column) for column in columns)
        self._last = max(last, *objects[-1:], *prefixes[-1:])
        self._last_component = max(last_component, *columns[0][-1:], *columns[1][-1:])
        return self._is_byte_order or self._is_component_order

    def is_past(self, raw: str) -> bool:
        return raw <= self._last and by_component(raw) <= self._last_component

    def may_follow(self, prefix: str) -> Callable[[str], bool]:
        """Whether a directory of a name can still come, in one of the orders that are possible."""
        last = self._last[len(prefix) :]
        component = self._last_component[len(prefix) :].partition("\0")[0]
        last_component = component if self._is_component_order else None
        is_byte_order = self._is_byte_order

        def may_follow(name: str) -> bool:
            if name == last_component:
                return True
            length = len(name)
            return is_byte_order and last.startswith(name) and last[length : length + 1] < "/"

        return may_follow


def _rises(last: str, column: list[str]) -> bool:
    """Whether *column* rises, from *last* on; a key twice in a row is in order."""
    previous = last
    for raw in column:
        if raw < previous:
            return False
        previous = raw
    return True

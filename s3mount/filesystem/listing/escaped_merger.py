"""Merger of pages into entries of which none is hidden: with `--show-hidden`.

Pure. As `EntryMerger`, but that names come from a `NameEscape`; raw keys, and so the order, are the
store's. A shadowed file is shown under its other name as soon as its directory has come. The
directories for parts of over-long components are held back to the end: each may stand for rows of
several pages, among others.
"""

from collections.abc import Iterator
from operator import itemgetter
from typing import Final

from s3mount.errors import StoreError
from s3mount.filesystem.listing.entry_merger import EntryMerger
from s3mount.filesystem.listing.entry_page import DIRECTORY, Entry
from s3mount.filesystem.names import NameEscape, decode, encode
from s3mount.s3.model import ListedObject, ListPage

# of an entry but for its name, as a row has them
_ATTRIBUTES: Final = itemgetter(*map(ListedObject._fields.index, Entry._fields[1:]))


class EscapedEntryMerger(EntryMerger):
    """`EntryMerger` with the names of *escape*."""

    __slots__ = ("_escape", "_parts")

    def __init__(self, prefix: str, escape: NameEscape, *, keys_needed: int | None = 0) -> None:
        super().__init__(prefix, keys_needed=keys_needed)
        self._escape = escape
        self._parts: dict[str, Entry] = {}  # directories of parts, by name

    def copy(self) -> "EscapedEntryMerger":
        twin = super().copy()
        assert isinstance(twin, EscapedEntryMerger)
        twin._parts = self._parts.copy()  # noqa: SLF001 - its own class
        return twin

    def finish(self) -> list[Entry]:
        return [*super().finish(), *self._parts.values()]

    @property
    def pending_count(self) -> int:
        return super().pending_count + len(self._parts)

    @property
    def pending_files(self) -> frozenset[str] | None:
        files = super().pending_files
        return None if files is None else files.union(self._parts)

    def _files(self, page: ListPage) -> Iterator[tuple[str, Entry]]:
        skip = len(self._prefix)
        for row in page.objects:
            raw = row.key[skip:]
            if "/" in raw:
                raise StoreError("the listing passes over the delimiter", key=row.key)
            if raw or row.size:  # an empty marker is its directory
                name = self._name(raw, is_directory=False)
                if name is not None:
                    yield raw, entry_of(name, row)

    def _directories(self, page: ListPage) -> Iterator[Entry]:
        skip = len(self._prefix)
        for prefix in page.prefixes:
            name = self._name(prefix[skip:-1], is_directory=True)
            if name is not None:
                yield Entry(encode(name))

    def _name(self, raw: str, *, is_directory: bool) -> str | None:
        """The name of a component; None if it has several, of which the first is held back."""
        first, *others = self._escape.names(raw, is_directory=is_directory)
        if not others:
            return first
        self._parts.setdefault(first, Entry(encode(first)))
        return None

    def _shadowed(self, entry: Entry) -> list[Entry]:
        return [shadowed(entry, self._escape)]

    def _hold(self, held: dict[bytes, Entry], files: list[Entry], directories: list[Entry]) -> None:
        for entry in (*files, *directories):
            other = held.setdefault(entry.name, entry)
            if (entry.size == DIRECTORY) != (other.size == DIRECTORY):
                file, directory = (other, entry) if entry.size == DIRECTORY else (entry, other)
                held[entry.name] = directory
                file = shadowed(file, self._escape)
                held.setdefault(file.name, file)


def entry_of(name: str, row: ListedObject) -> Entry:
    """The entry of a listed object."""
    return Entry(encode(name), *_ATTRIBUTES(row))


def shadowed(file: Entry, escape: NameEscape) -> Entry:
    """The entry of a file beside a directory of its name."""
    return file._replace(name=encode(escape.shadowed(decode(file.name))))

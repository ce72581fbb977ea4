"""Builder of whole directories of which none hides a key: with `--show-hidden`.

Pure. As `SubtreeBuilder`, but that names come from a `NameEscape`. Keys, positions and the order
are the store's, prefixes of directories are the tree's. The keys of a part of an over-long
component stand together, but others may stand among them, of shorter components that begin alike.
So an open directory need not be in the one that was opened before.
"""

from s3mount.filesystem.listing.entry_page import DIRECTORY, Entry
from s3mount.filesystem.listing.escaped_merger import entry_of, shadowed
from s3mount.filesystem.names import NameEscape, encode
from s3mount.filesystem.prefetch.subtree_builder import Finished, OpenDirectory, SubtreeBuilder
from s3mount.s3.model import ListedObject


class EscapedSubtreeBuilder(SubtreeBuilder):
    """`SubtreeBuilder` with the names of *escape*.

    What begins before *start* is not finished either: a part of over-long components may, and so
    does *start* itself, since its marker has a name here.
    """

    def __init__(
        self, root: str, start: str, stop: str | None = None, *, escape: NameEscape
    ) -> None:
        self._escape = escape
        super().__init__(root, start, stop)
        self._starts_after = self.position
        # of each open directory, what its keys begin with; and the last key's, with its directory
        self._begins = {root: root}
        self._last_parent = root, self._open[0]

    def position_of(self, prefix: str) -> str:
        return self.root + self._escape.unescape(prefix[len(self.root) :])

    def _open_start(self, requested_at: float) -> None:
        self._open.append(OpenDirectory(self.start, requested_at))
        self._begins[self.start] = self._starts_after

    def _add_object(self, listed: ListedObject, requested_at: float) -> None:
        key = listed.key
        self._finish_outside(key)
        parent, last = key[: key.rfind("/") + 1], key[key.rfind("/") + 1 :]
        if parent != self._last_parent[0]:
            self._last_parent = parent, self._enter_parent(parent, requested_at)
        *parts, name = self._escape.names(last, is_directory=False)
        directory = self._enter_parts(self._last_parent[1], parent, parts, requested_at)
        if directory is not self._open[0] and (last or listed.size):
            _add_file(directory, entry_of(name, listed), self._escape)

    def _enter_parent(self, parent: str, requested_at: float) -> OpenDirectory:
        """The directory of keys that have *parent* before their last component."""
        # the parts of a component above the innermost directory of whole ones are no way to it
        directory = next(
            each
            for each in reversed(self._open)
            if each is self._open[0] or self._begins[each.prefix].endswith("/")
        )
        begin = self._begins[directory.prefix]
        for component in parent[len(begin) :].split("/")[:-1]:
            *parts, name = self._escape.names(component, is_directory=True)
            directory = self._enter_parts(directory, begin, parts, requested_at)
            begin += f"{component}/"
            directory = self._enter_name(directory, name, begin, requested_at)
        return directory

    def _enter_parts(
        self, directory: OpenDirectory, begin: str, parts: list[str], requested_at: float
    ) -> OpenDirectory:
        """The directory of *parts* of a component, whose keys begin with *begin* before it."""
        for name in parts:
            begin += self._escape.unescape(f"{name}/")
            directory = self._enter_name(directory, name, begin, requested_at)
        return directory

    def _enter_name(
        self, parent: OpenDirectory, name: str, begin: str, requested_at: float
    ) -> OpenDirectory:
        """The directory *name*, opened now if it is not open."""
        prefix = f"{parent.prefix}{name}/"
        if prefix in self._begins:
            return next(each for each in reversed(self._open) if each.prefix == prefix)
        if parent is self._open[0]:
            self._count_child(prefix)
        else:
            _add_directory(parent, encode(name), self._escape)
        directory = OpenDirectory(prefix, requested_at)
        self._open.append(directory)
        self._begins[prefix] = begin
        return directory

    def _finish_outside(self, key: str) -> None:
        while len(self._open) > 1 and not key.startswith(self._begins[self._open[-1].prefix]):
            done = self._open.pop()
            if not self._starts_after.startswith(self._begins.pop(done.prefix)):
                entries = list(done.entries.values())
                self._finished.append(Finished(done.prefix, entries, 0, done.requested_at))


def _add_file(directory: OpenDirectory, file: Entry, escape: NameEscape) -> None:
    other = directory.entries.get(file.name)
    if other is not None and other.size == DIRECTORY:
        file = shadowed(file, escape)
    directory.entries[file.name] = file


def _add_directory(parent: OpenDirectory, name: bytes, escape: NameEscape) -> None:
    other = parent.entries.get(name)
    if other is not None and other.size != DIRECTORY:
        file = shadowed(other, escape)
        parent.entries[file.name] = file
    parent.entries[name] = Entry(name)

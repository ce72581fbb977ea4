"""Raw listing order in, a directory's entries out: markers hidden, impossible names hidden, a directory shadowing its file.

Pure. S3 lists keys in byte order, so between a file `a` and the directory `a/` stand all keys that begin with `a` and a byte
below the slash (`a-b`, `a.txt`): a file is held back while the next raw key still leaves room for its directory. Held names are a
stack, each a beginning of the next. Some stores list in the order of path components (`a/` before `a-b`), which the same
rule bears; in a listing in no order at all everything is held back to the end.
"""

from collections.abc import Iterable, Iterator

from s3mount.filesystem.entries import Row
from s3mount.filesystem.names import encode, is_valid
from s3mount.s3.values import ListPage


def by_component(raw: str) -> str:
    """A sort key under which a directory's keys follow its name at once, as file trees have it."""
    return raw.replace("/", "\0")


class Assembler:
    """The entries of one directory, from the pages of one delimited listing of it, in turn.

    `hidden` counts the keys and prefixes that cannot be shown.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._held: list[tuple[str, Row]] = []
        self._unordered: dict[bytes, Row] | None = None
        self._frontier = _Frontier()
        self._last_directory = ""  # a page may begin with the prefix that the one before ended with
        self.hidden = 0

    def feed(self, page: ListPage) -> list[Row]:
        """The entries that are certain now."""
        raws = [(raw, row) for raw, row in self._rows(page) if raw]
        if self._unordered is None and not self._frontier.advance(page):
            self._unordered = {row.name: row for _, row in self._held}
            self._held.clear()
        if self._unordered is not None:
            self._gather(raws, self._unordered)
            return []
        raws.sort(key=self._frontier.sort_key)
        released: list[Row] = []
        for raw, row in raws:
            self._release(raw, released)
            if row.size >= 0:
                self._held.append((raw, row))
            elif raw != self._last_directory:
                self._last_directory = raw
                released.append(row)
        return released

    def finish(self) -> list[Row]:
        """What was held back, when no more pages come."""
        rows = [row for _, row in self._held] if self._unordered is None else list(self._unordered.values())
        self._held.clear()
        return rows

    @property
    def is_ordered(self) -> bool:
        return self._unordered is None

    def decides(self, name: str) -> bool:
        """Whether neither a file nor a directory *name* can come any more, nor change what came."""
        return (
            self._unordered is None
            and self._frontier.is_past(f"{self._prefix}{name}/")
            and all(held != name for held, _ in self._held)
        )

    def _rows(self, page: ListPage) -> Iterator[tuple[str, Row]]:
        """Raw names below the prefix, each with its entry; an empty raw name for what is not shown."""
        skip = len(self._prefix)
        for key, size, mtime_ns, etag, _ in page.objects:
            raw = key[skip:]
            if "/" in raw:  # a store that passes over the delimiter
                raw = raw[: raw.index("/") + 1]
                yield from self._directory(raw)
            elif raw:
                name = encode(raw)
                if is_valid(name):
                    yield raw, Row(name, size, mtime_ns, etag)
                else:
                    self.hidden += 1
        for prefix in page.prefixes:
            yield from self._directory(prefix[skip:])

    def _directory(self, raw: str) -> Iterator[tuple[str, Row]]:
        name = encode(raw[:-1])
        if is_valid(name):
            yield raw, Row(name)
        else:
            self.hidden += 1

    def _release(self, raw: str, released: list[Row]) -> None:
        """Let go of the held files that *raw* shows to have no directory; drop the one it shadows."""
        held = self._held
        while held:
            name, row = held[-1]
            if raw.startswith(name) and raw[len(name) : len(name) + 1] < "/" and raw != name:
                return
            held.pop()
            if raw not in (name, f"{name}/"):
                released.append(row)

    @staticmethod
    def _gather(raws: Iterable[tuple[str, Row]], into: dict[bytes, Row]) -> None:
        for _, row in raws:
            known = into.get(row.name)
            if known is None or row.size < 0:
                into[row.name] = row


class _Frontier:
    """How far an ordered listing has come, in both orders that stores list in."""

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
        components = [by_component(key) for key in objects], [by_component(prefix) for prefix in prefixes]
        if self._is_component_order:
            self._is_component_order = all(_rises(last_component, column) for column in components)
        self._last = max(last, *objects[-1:], *prefixes[-1:])
        self._last_component = max(last_component, *components[0][-1:], *components[1][-1:])
        return self._is_byte_order or self._is_component_order

    def is_past(self, raw: str) -> bool:
        return raw <= self._last and by_component(raw) <= self._last_component

    def sort_key(self, pair: tuple[str, Row]) -> str:
        return pair[0] if self._is_byte_order else by_component(pair[0])


def _rises(last: str, column: list[str]) -> bool:
    """Whether *column* is in rising order and begins behind *last*; a key told twice in a row is no disorder."""
    previous = last
    for raw in column:
        if raw < previous:
            return False
        previous = raw
    return True

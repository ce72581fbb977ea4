"""Versions that were current at one moment, chosen from the rows of pages of versions.

Pure. S3's times are those at which versions and delete markers were put, in whole seconds: of
several in one second, the last one counts.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from s3mount.errors import StoreError
from s3mount.s3.model import ListedVersion, ListQuery, VersionMarker, VersionPage


def show_moment(moment_ns: int) -> str:
    """Return *moment_ns*, nanoseconds since 1970, as RFC 3339 has it, in UTC."""
    seconds, fraction = divmod(moment_ns, 10**9)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{fraction:09}".rstrip("0").rstrip(".") + "Z"


class Carried(NamedTuple):
    """State between two pages: what the next one has to know of those before it.

    *version* is the newest one so far of a key whose versions go on there, and *directory* the last
    one that was shown or is known to be absent, which may come again.
    """

    version: ListedVersion | None = None
    directory: str = ""


NOTHING: Final = Carried()  # from before the first page


@dataclass(slots=True)
class MomentPage:
    """Objects and directories of one page, as they were at a moment.

    *doubtful* are those of the *directories* that may not have existed: the page has no object of
    them that did, and not all of their rows. *carried* is for the page at *next_marker*.
    """

    objects: list[ListedVersion] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)
    next_marker: VersionMarker | None = None
    carried: Carried = NOTHING


def newest_until(
    moment_ns: int, rows: Iterable[ListedVersion], newest: ListedVersion | None = None
) -> ListedVersion | None:
    """Return the newest of *newest* and *rows*, of one key, that was put until *moment_ns*."""
    for row in rows:
        if row.mtime_ns > moment_ns:
            continue
        is_newer = newest is None or row.mtime_ns > newest.mtime_ns
        if is_newer or (newest and row.mtime_ns == newest.mtime_ns and row.is_latest):
            newest = row
    return newest


def is_object(version: ListedVersion | None) -> bool:
    """Whether *version*, the newest one of its key, makes an object."""
    return version is not None and not version.is_delete_marker


class KeyHistory:
    """The versions of one key, page by page: the newest one that was put until *moment_ns*."""

    def __init__(self, moment_ns: int) -> None:
        self._moment_ns = moment_ns
        self._last: ListedVersion | None = None
        self._is_newest_first = True  # S3's order: then the rest is older
        self.newest: ListedVersion | None = None

    def add(self, rows: Iterable[ListedVersion]) -> None:
        for row in rows:
            last, self._last = self._last, row
            is_next = row.is_latest if last is None else row.mtime_ns <= last.mtime_ns
            self._is_newest_first = self._is_newest_first and is_next
            self.newest = newest_until(self._moment_ns, (row,), self.newest)

    @property
    def is_decided(self) -> bool:
        """Whether later pages cannot have a newer one."""
        return self.newest is not None and self._is_newest_first


def page_at(
    moment_ns: int, page: VersionPage, query: ListQuery, carried: Carried = NOTHING
) -> MomentPage:
    """Return what *page* shows of *moment_ns* to *query*, behind the pages that left *carried*.

    The page may have rows below the delimiter: they show directories, too.
    """
    newest = _newest_of_keys(moment_ns, page, carried.version)
    marker = page.next_marker
    result = MomentPage(next_marker=marker)
    directories: dict[str, bool] = {}  # whether it has an object
    last = marker.key if marker is not None else None
    for key, version in newest.items():
        directory = directory_of(key, query)
        if directory:
            directories[directory] = directories.get(directory, False) or (
                is_object(version) and key != last
            )
        elif key == last:
            result.carried = Carried(version)
        elif is_object(version):
            assert version is not None
            result.objects.append(version)
    directories.update(dict.fromkeys((p for p in page.prefixes if p not in directories), False))
    directories.pop(carried.directory, None)
    _sort_directories(result, directories, page, query, carried)
    return result


def _newest_of_keys(
    moment_ns: int, page: VersionPage, carried: ListedVersion | None
) -> dict[str, ListedVersion | None]:
    """Return the newest version of each key, None if all are later, in the order of the page."""
    rows: dict[str, list[ListedVersion]] = {} if carried is None else {carried.key: []}
    for row in page.versions:
        rows.setdefault(row.key, []).append(row)
    return {
        key: newest_until(moment_ns, each, carried if carried and carried.key == key else None)
        for key, each in rows.items()
    }


def _sort_directories(
    result: MomentPage,
    directories: dict[str, bool],
    page: VersionPage,
    query: ListQuery,
    carried: Carried,
) -> None:
    """Put *directories* into *result*, by whether they exist."""
    marker = page.next_marker
    cut = "" if marker is None else directory_of(marker.key, query)
    listed = set(page.prefixes)
    for directory, has_object in directories.items():
        if not has_object and (directory in listed or directory == cut):
            result.doubtful.add(directory)
        if has_object or directory in result.doubtful:
            result.directories.append(directory)
    if cut and (cut in directories or cut == carried.directory):
        result.carried = result.carried._replace(directory=cut)


def directory_of(key: str, query: ListQuery) -> str:
    """Return the directory that *key* is shown as; "" for an object of the listing itself."""
    if not query.delimiter:
        return ""
    name, delimiter, _ = key[len(query.prefix) :].partition(query.delimiter)
    return query.prefix + name + delimiter if delimiter else ""


def check_forward(page: VersionPage, marker: VersionMarker) -> None:
    """Raise StoreError if a row of *page* is before *marker*: its key has been decided already."""
    behind = _orders(marker.key)
    directories = [each for each in page.prefixes if not marker.key.startswith(each)]
    for key in (*(row.key for row in page.versions), *directories):
        if all(mine < theirs for mine, theirs in zip(_orders(key), behind, strict=True)):
            raise StoreError("the store lists versions in no order", key=key)


def _orders(key: str) -> tuple[bytes, bytes]:
    """Return sort keys of the orders that stores list in: by bytes, and by components."""
    by_bytes = key.encode("utf-8", "surrogateescape")
    return by_bytes, by_bytes.replace(b"/", b"\0")

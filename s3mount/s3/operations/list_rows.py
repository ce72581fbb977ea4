"""Rows of a listing page: which of them are entries of the listing that was requested.

Pure. One odd row never costs its page: it is skipped, read generously, or shown plainly, and
counted (`RowOddity`). A page is invalid only if it has common prefixes although no delimiter was
requested: these would hide objects.
"""

from collections import Counter
from collections.abc import Sequence
from heapq import merge
from typing import NamedTuple

from s3mount.s3.limits import ROWS_LIMIT
from s3mount.s3.model import ListedObject, ListQuery, RowOddity
from s3mount.s3.operations import validation
from s3mount.s3.operations.list_fast_parser import Columns
from s3mount.s3.operations.timestamps import parse_time
from s3mount.s3.transport import InvalidResponseError

SIZE_DIGITS = 18  # the most that a file offset is sure to hold


class PageRows(NamedTuple):
    """The rows of a page as `ListPage` has them."""

    objects: list[ListedObject]
    prefixes: list[str]
    odd_rows: tuple[tuple[RowOddity, int], ...] = ()
    incomplete: tuple[tuple[int, str], ...] = ()
    is_partial: bool = False


def read_rows(
    query: ListQuery, columns: Columns, keys: list[str], prefixes: list[str], after: str | None
) -> PageRows:
    """Return the rows with *keys* and the other *columns*, and *prefixes*, as *query* wants them.

    The page was to begin after the key *after*, if that is given.
    """
    if max(len(keys), len(prefixes)) > ROWS_LIMIT:
        raise InvalidResponseError(
            f"a page of {len(keys)} objects and {len(prefixes)} common prefixes"
        )
    mtimes = {text: parse_time(text) for text in set(columns.mtimes)}
    is_plain = (
        None not in mtimes.values()
        and _are_sizes(columns.sizes)
        and _are_plain_keys(keys, query, after)
        and _are_plain_prefixes(prefixes, query)
    )
    if not is_plain:
        return _RowReader(query, after).read(columns, keys, prefixes)
    # one string for all that are equal
    classes = {name: name or "STANDARD" for name in columns.storage_classes}
    objects = [
        ListedObject(
            key,
            int(size),
            mtimes[mtime],  # type: ignore[arg-type]  # none of them is None
            etag or validation.synthetic_etag(mtimes[mtime], int(size)),  # type: ignore[arg-type]
            classes[name],
        )
        for key, size, mtime, etag, name in zip(
            keys,
            columns.sizes,
            columns.mtimes,
            columns.etags,
            columns.storage_classes,
            strict=True,
        )
    ]
    return PageRows(_with_owners(objects, columns.owners), prefixes)


def _with_owners(objects: list[ListedObject], owners: Sequence[str]) -> list[ListedObject]:
    if not owners:
        return objects
    one = {owner: owner or None for owner in owners}  # one string for all that are equal
    pairs = zip(objects, owners, strict=True)
    return [listed._replace(owner=one[owner]) for listed, owner in pairs]


def _are_sizes(texts: list[str]) -> bool:
    joined = "".join(texts)
    is_digits = not texts or (all(texts) and joined.isascii() and joined.isdecimal())
    return is_digits and max(map(len, texts), default=0) <= SIZE_DIGITS


def _are_plain_keys(keys: list[str], query: ListQuery, after: str | None) -> bool:
    """Whether each key is one of a file, or the directory's own marker.

    All at once: it costs a tenth of a loop. Each has the delimiters of the prefix, and no more.
    """
    if not all(keys) or (after is not None and after in keys):
        return False
    prefix, delimiter = query.prefix, query.delimiter
    joined = "\0".join(["", *keys])
    are_below = joined.count("\0") == len(keys) == joined.count("\0" + prefix)
    return are_below and (
        not delimiter or joined.count(delimiter) == len(keys) * prefix.count(delimiter)
    )


def _are_plain_prefixes(prefixes: list[str], query: ListQuery) -> bool:
    """Whether each is below the prefix, and has one delimiter more, at its end."""
    prefix, delimiter = query.prefix, query.delimiter
    if not prefixes:
        return True
    if not delimiter or prefix in prefixes:
        return False
    joined, count = "\0".join(["", *prefixes, ""]), len(prefixes)
    return (
        joined.count("\0") == count + 1
        and joined.count("\0" + prefix) == count + (not prefix)
        and joined.count(delimiter + "\0") == count
        and joined.count(delimiter) == count * (prefix.count(delimiter) + 1)
    )


class _RowReader:
    """Reader of the rows of one page, one by one."""

    def __init__(self, query: ListQuery, after: str | None) -> None:
        self._query = query
        self._after = after
        self._counts: Counter[RowOddity] = Counter()
        self._objects: list[ListedObject] = []
        self._incomplete: list[tuple[int, str]] = []
        self._folded: dict[str, None] = {}  # directories that objects show, in their order

    def read(self, columns: Columns, keys: list[str], prefixes: list[str]) -> PageRows:
        owners = columns.owners or [""] * len(keys)
        for key, owner, *texts in zip(keys, owners, *columns[1:5], strict=True):
            if self._is_entry(key, has_parts=any(texts)):
                found = self._object(key, *texts)
                if found is not None:
                    self._objects.append(found._replace(owner=owner) if owner else found)
        listed = [each for each in map(self._common_prefix, prefixes) if each]
        return PageRows(
            self._objects,
            # both rise, if the store lists in order
            list(dict.fromkeys(merge(listed, self._folded))) if self._folded else listed,
            tuple(self._counts.items()),
            tuple(self._incomplete),
            is_partial=RowOddity.NO_KEY in self._counts,
        )

    def _is_entry(self, key: str, *, has_parts: bool) -> bool:
        """Whether the object *key* is one of the listing; what it is otherwise is noted."""
        query = self._query
        if not key:
            if has_parts:  # else it is how some stores write that there are none
                self._counts[RowOddity.NO_KEY] += 1
            return False
        if not key.startswith(query.prefix):
            self._counts[RowOddity.OUTSIDE] += 1
            return False
        if key == self._after:
            self._counts[RowOddity.REPEATED] += 1
            return False
        if not query.delimiter:
            return True
        name, delimiter, rest = key[len(query.prefix) :].partition(query.delimiter)
        if not delimiter:
            return True
        oddity = RowOddity.BELOW_DELIMITER if rest else RowOddity.DIRECTORY_OBJECT
        self._counts[oddity] += 1
        self._folded[query.prefix + name + delimiter] = None
        return False

    def _object(
        self, key: str, size: str, mtime: str, etag: str, storage_class: str
    ) -> ListedObject | None:
        """Return the object *key*; None if its size or version is not told."""
        mtime_ns = parse_time(mtime)
        if mtime_ns is None:
            self._counts[RowOddity.NO_TIME] += 1
        size = size.strip()
        if not (size and _are_sizes([size])) or (not etag and mtime_ns is None):
            self._counts[RowOddity.NO_VERSION] += 1
            self._incomplete.append((len(self._objects), key))
            return None
        etag = etag or validation.synthetic_etag(mtime_ns or 0, int(size))
        return ListedObject(key, int(size), mtime_ns or 0, etag, storage_class or "STANDARD")

    def _common_prefix(self, prefix: str) -> str | None:
        """Return the common prefix of a directory that *prefix* shows, or None."""
        query = self._query
        if not prefix:
            return None
        if prefix == query.prefix:
            self._counts[RowOddity.OWN_PREFIX] += 1
            return None
        if not prefix.startswith(query.prefix):
            self._counts[RowOddity.OUTSIDE] += 1
            return None
        if not query.delimiter:
            raise InvalidResponseError(f"common prefix {prefix!r} in a listing without delimiter")
        name, delimiter, rest = prefix[len(query.prefix) :].partition(query.delimiter)
        if rest:
            self._counts[RowOddity.BELOW_DELIMITER] += 1
        elif not delimiter:
            self._counts[RowOddity.NO_DELIMITER] += 1
        return query.prefix + name + query.delimiter

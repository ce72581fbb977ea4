"""Key orders of object stores, and the items of a listing in one of them."""

from collections.abc import Callable, Iterable
from hashlib import md5

from s3mount.s3.model import ListQuery

Order = Callable[[str], bytes]  # the sort key of an object key


def in_byte_order(key: str) -> bytes:
    """S3's order: the keys' UTF-8 bytes."""
    return key.encode("utf-8", "surrogateescape")


def in_component_order(key: str) -> bytes:
    """Order of stores over directories: `a/x` before `a-b`."""
    return in_byte_order(key).replace(b"/", b"\0")


def in_no_order(key: str) -> bytes:
    """Order of a hash table, as directory buckets list."""
    return md5(in_byte_order(key), usedforsecurity=False).digest()


def items_of(keys: Iterable[str], query: ListQuery, order: Order) -> list[str]:
    """Return the keys and common prefixes that *query* asks for, sorted by *order*.

    *keys* are those after StartAfter: a common prefix is listed while a key below it remains.
    """
    found = set()
    for key in keys:
        if key.startswith(query.prefix):
            below = key[len(query.prefix) :]
            name, slash, _ = below.partition("/") if query.delimiter else (below, "", "")
            found.add(query.prefix + name + slash)
    return sorted(found, key=order)


def is_common_prefix(item: str, query: ListQuery) -> bool:
    """Return whether *item* of a listing stands for the keys below it."""
    return query.delimiter == "/" and item.endswith("/") and item != query.prefix

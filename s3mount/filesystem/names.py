"""Names and keys: conversion between them, and the names that a file can have.

Pure. A name is `bytes`, as the kernel has it; a key is a `str` (see `s3.model`).
"""

from typing import Final, NamedTuple, Protocol

NAME_MAX = 255  # bytes, see limits.h
_IMPOSSIBLE = frozenset((b"", b".", b".."))


class NameEscape(Protocol):
    """Names for all components of keys, one to one: those that no file can have are escaped."""

    def names(self, component: str, *, is_directory: bool) -> tuple[str, ...]:
        """The names of *component*: several for an over-long one, directories but for the last."""
        ...

    def shadowed(self, name: str) -> str:
        """The name of a file beside a directory *name*."""
        ...

    def unescape(self, path: str) -> str:
        """What keys have for the directories of *path*, which ends with a slash."""
        ...


class ViewNames(NamedTuple):
    """Rules of the names that the view of a store has.

    Directories with *unlisted* names may be in any directory, though no listing tells them: so no
    listing denies these names. Their own listings come in no order. *escape* names the rows of
    listings, if it is given: then no key is hidden.
    """

    unlisted: frozenset[bytes] = frozenset()
    escape: NameEscape | None = None

    def is_unlisted(self, prefix: str) -> bool:
        """Whether the directory *prefix* has an unlisted name, or is of over-long names in it."""
        if not self.unlisted:
            return False
        above, _, name = prefix[:-1].rpartition("/")
        while self.escape is not None and not self.escape.unescape(f"{name}/").endswith("/"):
            above, _, name = above.rpartition("/")
        return encode(name) in self.unlisted


PLAIN_NAMES: Final = ViewNames()  # of a store without a view


def encode(text: str) -> bytes:
    """The bytes of a key, or of a part of one."""
    return text.encode("utf-8", "surrogateescape")


def decode(name: bytes) -> str:
    """The text of a name, as part of a key."""
    return name.decode("utf-8", "surrogateescape")


def is_valid(name: bytes) -> bool:
    """Whether a Linux file can have this name, which has no slash."""
    return name not in _IMPOSSIBLE and len(name) <= NAME_MAX and b"\0" not in name


def parent_of(key: str) -> str:
    """The prefix of the directory of a file *key*: "", or ending with a slash."""
    return key[: key.rfind("/") + 1]

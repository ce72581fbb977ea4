"""Names and keys: conversion between them, and the names that a file can have.

Pure. A name is `bytes`, as the kernel has it; a key is a `str` (see `s3.model`).
"""

from typing import Protocol

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

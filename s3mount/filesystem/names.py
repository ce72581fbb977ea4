"""Names and keys: conversion between them, and the names that a file can have.

Pure. A name is `bytes`, as the kernel has it; a key is a `str` (see `s3.model`).
"""

NAME_MAX = 255  # bytes, see limits.h
_IMPOSSIBLE = frozenset((b"", b".", b".."))


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

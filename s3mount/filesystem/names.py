"""Keys and names: which component of a key can be a file name, and how it is written for the kernel.

Pure. A name is `bytes`, as the kernel has it; a key is a `str` (see `s3.values`).
"""

NAME_MAX = 255  # bytes, see limits.h
_IMPOSSIBLE = frozenset((b"", b".", b".."))


def encode(text: str) -> bytes:
    """The bytes that a key, or a part of one, stands for."""
    return text.encode("utf-8", "surrogateescape")


def decode(name: bytes) -> str:
    """The text of a name, as it stands in keys."""
    return name.decode("utf-8", "surrogateescape")


def is_valid(name: bytes) -> bool:
    """Whether a Linux file can have this name, given that it holds no slash."""
    return name not in _IMPOSSIBLE and len(name) <= NAME_MAX and b"\0" not in name


def parent_of(key: str) -> str:
    """The prefix of the directory that the file of *key* is in: "", or ending with a slash."""
    return key[: key.rfind("/") + 1]

"""Replies about symbolic links, and about entries whose type is not known yet."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import pyfuse3
from pyfuse3 import EntryAttributes, readdir_reply

_LINK_MODE: Final = stat.S_IFLNK | 0o777
_UNKNOWN_MODE: Final = 0  # DT_UNKNOWN


@dataclass(slots=True)
class ListingReply:
    """Reply to one READDIR.

    *undecided* is the name, in a directory's prefix, that ended it; *is_taken* has those decided.
    """

    has_entries: bool
    undecided: tuple[str, bytes] | None = None
    is_taken: dict[bytes, bool] = field(default_factory=dict)


@contextmanager
def kept(attributes: EntryAttributes) -> Iterator[None]:
    """Restore what the entries of a page share, after the block."""
    shared = attributes.st_mode, attributes.st_uid, attributes.st_gid
    entry_timeout = attributes.entry_timeout
    yield
    attributes.st_mode, attributes.st_uid, attributes.st_gid = shared
    attributes.entry_timeout = entry_timeout


def reply_untyped(
    token: pyfuse3.ReaddirToken, name: bytes, attributes: EntryAttributes, offset: int
) -> bool:
    """Reply a name alone: the kernel looks it up before it shows any attribute.

    It cannot make an inode of an entry without a type, and forgets the number at once
    (fs/fuse/readdir.c, parse_dirplusfile).
    """
    with kept(attributes):
        attributes.st_mode = _UNKNOWN_MODE
        return readdir_reply(token, name, attributes, offset)


def describe_link(reply: EntryAttributes, target: bytes) -> None:
    reply.st_mode = _LINK_MODE
    if target:
        reply.st_size = len(target)

"""Names of rclone's symbolic links: a file `NAME.rclonelink` may be shown as NAME.

The tree knows the first name, and the kernel either.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from s3mount.filesystem.names import is_valid
from s3mount.fuse.entry_invalidator import EntryInvalidator

LINK_SUFFIX: Final = b".rclonelink"


def link_name(name: bytes) -> bytes | None:
    """The name of the link that rclone keeps in the file *name*; None if it is no such name."""
    stem = name.removesuffix(LINK_SUFFIX)
    return stem if stem != name and is_valid(stem) else None


class SymlinkInvalidator(EntryInvalidator):
    """`EntryInvalidator` that drops both names of a link."""

    async def _send(self, names: Iterable[tuple[int, bytes]]) -> None:
        await super()._send(_with_links(names))


def _with_links(names: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for parent, name in names:
        yield parent, name
        link = link_name(name)
        if link is not None:
            yield parent, link

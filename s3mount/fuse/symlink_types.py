"""Types of entries, symbolic link or not, by the conventions of `--symlinks`.

A link of rclone is known by its name, `NAME.rclonelink`; the others are by their metadata, which no
listing tells. So the type of a small file may be unknown. Invariants:

1. A type is told by the name, or by a response about that version. It is never guessed. Uploads of
   equal bytes are one version, and empty links all are: of them, the one that was listed counts.
2. No request is sent for a file that cannot be a link: by its size, or a directory.
"""

from collections.abc import Awaitable, Callable, Collection
from enum import Enum
from typing import Final

from s3mount.config import Symlinks
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.fuse.symlink_names import link_name
from s3mount.s3.model import TARGET_MAX, ObjectStat, ObjectVersion, PosixAttributes
from s3mount.s3.object_store import PosixSource

_IN_BODY: Final = frozenset((Symlinks.S3FS, Symlinks.GCSFUSE))  # the target is, or may be
_SECOND: Final = 1_000_000_000  # ns; a response tells a time in whole seconds
_IN_METADATA: Final = frozenset((Symlinks.GCSFUSE, Symlinks.GEESEFS))


class EntryType(Enum):
    """Type of an entry: OTHER is a regular file or a directory."""

    OTHER = 0
    SYMLINK = 1
    UNKNOWN = 2


class SymlinkTypes:
    """Types of entries by *conventions*, as far as *posix* knows the metadata of their versions.

    *head* requests the metadata of a version, so that *posix* knows it.
    """

    def __init__(
        self,
        conventions: Collection[Symlinks],
        posix: PosixSource,
        head: Callable[[ObjectVersion], Awaitable[ObjectStat]],
    ) -> None:
        self.has_suffix = Symlinks.RCLONE in conventions
        self._posix = posix
        self._head = head
        self._may_have_body = not _IN_BODY.isdisjoint(conventions)
        self._may_be_empty = not _IN_METADATA.isdisjoint(conventions)

    def type_of(self, page: EntryPage, index: int, *, is_of_upload: bool = True) -> EntryType:
        """The type of an entry, without a request.

        Unless *is_of_upload*, a response about an older upload of equal bytes tells it, too: for a
        store that tells other times in listings.
        """
        size = page.sizes[index]
        if not 0 <= size <= TARGET_MAX:
            return EntryType.OTHER
        if self.link_name(page, index) is not None:
            return EntryType.SYMLINK
        if not (self._may_have_body if size else self._may_be_empty):
            return EntryType.OTHER
        known = self._posix.posix_attributes(page.version(index))
        if known is None or (is_of_upload and known.uploaded_at < page.mtimes[index] // _SECOND):
            return EntryType.UNKNOWN
        return EntryType.SYMLINK if _is_link(known, size) else EntryType.OTHER

    def link_name(self, page: EntryPage, index: int) -> bytes | None:
        """The name of the link that rclone keeps in a file; None if the file is no such link."""
        is_named = self.has_suffix and 0 < page.sizes[index] <= TARGET_MAX
        return link_name(page.name(index)) if is_named else None

    async def request(self, version: ObjectVersion) -> bool:
        """Request what tells the type of *version*; False if another one is current."""
        stat = await self._head(version)
        return stat.version.is_same(version)

    def target(self, page: EntryPage, index: int) -> str:
        """The target of a link, as its metadata has it; "" if the body has it."""
        if self.link_name(page, index) is not None:
            return ""
        known = self._posix.posix_attributes(page.version(index))
        return "" if known is None or known.target is None else known.target


def _is_link(known: PosixAttributes, size: int) -> bool:
    """Whether a file of *size* bytes is a link: one without a target is none."""
    return known.target is not None and bool(known.target or size)

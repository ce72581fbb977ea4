"""Archived files: which entries have to be seen to be readable before they are open.

An entry has the storage class that a listing or a HEAD told. That decides which files may be
archived; whether one is, only the store tells, since a restore changes no entry. Pure.

Invariant: files of Intelligent-Tiering are not suspected before one of them was found archived.
Most buckets of that class have no archive tiers, and their files cost nothing more.
"""

from s3mount.errors import Archived
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.s3.archive import ARCHIVE_CLASSES, INTELLIGENT_TIERING, TIERED_MIN


class ArchivedFiles:
    """Knowledge of a mount about archived files: which of them are refused by their open."""

    def __init__(self) -> None:
        self._has_archive_tiers = False  # a file of Intelligent-Tiering was archived

    def may_be(self, page: EntryPage, index: int) -> bool:
        """Whether a file may be archived. Such files are not prefetched."""
        storage_class = page.storage_class(index)
        if storage_class in ARCHIVE_CLASSES:
            return True
        is_tiered = self._has_archive_tiers and storage_class == INTELLIGENT_TIERING
        return is_tiered and page.sizes[index] >= TIERED_MIN

    def record(self, page: EntryPage, index: int) -> None:
        """Account for a file whose read was refused since it is archived."""
        if page.storage_class(index) == INTELLIGENT_TIERING:
            self._has_archive_tiers = True


def refused_open(page: EntryPage, index: int, refusal: Archived) -> Archived:
    """Return the failure of an open after *refusal*: it names the class, and says what to do."""
    storage_class = page.storage_class(index)
    return Archived(
        f"archived ({storage_class}), and has to be restored first: s3mountctl restore PATH",
        bucket=page.bucket,
        key=page.key(index),
        status=refusal.status,
        code=refusal.code,
        request_id=refusal.request_id,
    )

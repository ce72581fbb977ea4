"""Archived objects: which may be archived, and what a restore is and has come to.

The one place that says what counts as archived. GLACIER_IR is not: it is read at once. A listing
has the storage class only. Whether an object of Intelligent-Tiering is archived, and whether one of
the archive classes is restored, only a HEAD or a GET of it tells.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/archived-objects.html
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, NamedTuple

ARCHIVE_CLASSES: Final = ("GLACIER", "DEEP_ARCHIVE")
INTELLIGENT_TIERING: Final = "INTELLIGENT_TIERING"
# bytes; a smaller object of Intelligent-Tiering always stays in the frequent access tier:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/intelligent-tiering-overview.html
TIERED_MIN: Final = 128 * 1024

_ONGOING: Final = re.compile(r'ongoing-request\s*=\s*"(true|false)"', re.IGNORECASE)
_EXPIRY: Final = re.compile(r'expiry-date\s*=\s*"([^"]{1,64})"', re.IGNORECASE)


class ArchiveState(StrEnum):
    """State of an object, as a HEAD tells it.

    READABLE: it is not archived. RESTORED: it is, and a copy can be read for some days.
    """

    READABLE = "readable"
    ARCHIVED = "archived"
    RESTORING = "restoring"
    RESTORED = "restored"


class RestoreTier(StrEnum):
    """Retrieval tier: how fast a restore is, and at what price."""

    EXPEDITED = "Expedited"
    STANDARD = "Standard"
    BULK = "Bulk"


class RestoreOrder(NamedTuple):
    """Order of a restore: *days* that the copy is kept, None for Intelligent-Tiering.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html
    """

    tier: RestoreTier = RestoreTier.STANDARD
    days: int | None = None


class RestoreQuery(NamedTuple):
    """Object to restore, current or of *version_id*, and the order."""

    key: str
    order: RestoreOrder
    version_id: str | None = None


class RestoreOutcome(StrEnum):
    """Response of the store to a `RestoreOrder`.

    REQUESTED: the restore begins (202). EXTENDED: the copy is there, and its days are counted from
    now on (200). ONGOING: it was requested before (409).
    """

    REQUESTED = "requested"
    EXTENDED = "extended"
    ONGOING = "ongoing"


def archive_state(storage_class: str, headers: Mapping[str, str]) -> ArchiveState:
    """Return the state that the *headers* of a response (names in lower case) tell."""
    restore = headers.get("x-amz-restore", "")
    is_in_archive = storage_class in ARCHIVE_CLASSES or "x-amz-archive-status" in headers
    ongoing = _ONGOING.search(restore)
    if ongoing is not None and ongoing[1].lower() == "true":
        # "ongoing" without an archive: the object comes back to a tier that is read at once
        return ArchiveState.RESTORING if is_in_archive else ArchiveState.READABLE
    if not is_in_archive:
        return ArchiveState.READABLE
    return ArchiveState.ARCHIVED if ongoing is None else ArchiveState.RESTORED


def restored_until(restore: str) -> float | None:
    """Return when the copy expires that *restore* (x-amz-restore) tells, in seconds since 1970.

    None if it tells none, as for Intelligent-Tiering.
    """
    expiry = _EXPIRY.search(restore)
    try:
        return None if expiry is None else parsedate_to_datetime(expiry[1]).timestamp()
    except (ValueError, OverflowError):
        return None

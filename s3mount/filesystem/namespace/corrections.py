"""Corrections of entries: objects whose bytes are of another version than the store lists.

Encrypting and compressing gateways list a size that no GET brings, others an ETag. The bytes
decide: such an entry is shown, and read, as the version that GET tells. Pure. Invariants:

1. Only a contradiction of the store is corrected. A replacement is none: after it, no response
   tells the former version any more.
2. A correction is used as long as listings tell what it corrects. A version that is replaced takes
   its correction with it.
3. No more than CORRECTIONS_MAX are kept; without one, the store is asked again.
"""

from typing import Final, NamedTuple

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.invalidations import DirectoryKey
from s3mount.s3.model import ObjectStat, ObjectVersion, is_same_etag

CORRECTIONS_MAX: Final = 10_000  # some 5 MB
DOUBTED: Final = 32  # opens after a contradiction whose first bytes come before the reply
UNCHECKED_SIZES: Final = 8  # sizes of 0 that no GET could tell, until stat(2) asks no more
SECOND: Final = 1_000_000_000  # ns
MD5_OF_NOTHING: Final = "d41d8cd98f00b204e9800998ecf8427e"  # the ETag of an empty object, mostly


class Responses(NamedTuple):
    """Responses of the store about one object: by GET first, then by HEAD and in a listing.

    *head* and *listed* are None if it tells nothing.
    """

    got: ObjectStat
    head: ObjectStat | None
    listed: ObjectStat | None


def actual_stat(entry: ObjectStat, told: Responses) -> ObjectStat | None:
    """Return what an object is whose *entry* GET contradicts; None if it was replaced.

    HEAD and the listing were requested after GET had denied the version of *entry*. So if one of
    them still tells it, the store contradicts itself.
    """
    got, head, listed = told
    if got.version.is_same(entry.version):
        return None
    if got.version.size != entry.version.size and not _is_as_old(got, entry):
        return None  # a reader may go by the size that it was told: better open the file again
    agrees = head is None or head.version.is_same(got.version) or _is_as_old(head, got)
    if _tells(head, entry) or _tells(listed, entry):
        return got if agrees else None
    if listed is not None and listed.version.is_same(got.version):
        return None
    # The listing has come to tell a third version, or none: it makes ETags up, or the object was
    # replaced again. Only what is as old and as large cannot have been replaced to a reader's harm.
    is_unchanged = head is not None and head.version.is_same(got.version) and _is_as_old(got, entry)
    sizes = {stat.version.size for stat in (entry, got, listed) if stat is not None}
    return got if is_unchanged and len(sizes) == 1 else None


def is_size_confirmed(told: Responses) -> bool:
    """Whether another response than GET's tells the size that GET tells."""
    return any(
        stat is not None and stat.version.size == told.got.version.size
        for stat in (told.head, told.listed)
    )


def _tells(stat: ObjectStat | None, entry: ObjectStat) -> bool:
    return stat is not None and stat.version.is_same(entry.version)


def _lists_sizes(page: EntryPage) -> bool:
    return any(size > 0 and not page.is_corrected(at) for at, size in enumerate(page.sizes))


def _is_as_old(one: ObjectStat, other: ObjectStat) -> bool:
    """Whether both were modified in one second: the header has no more."""
    return one.mtime_ns // SECOND == other.mtime_ns // SECOND


class _Correction(NamedTuple):
    listed: ObjectVersion
    stat: ObjectStat


class Corrections:
    """Corrections by directory and name, and how far listings are relied on.

    It counts the opens that are still to be checked: the first one of a mount, and some after each
    contradiction, of listed files and of those that were looked up.
    *has_empty_file*: an object that was told to be empty has proved to be.
    """

    def __init__(self) -> None:
        self._names: dict[DirectoryKey, dict[bytes, _Correction]] = {}
        self._count = 0
        self._listed_doubts = 1
        self._looked_up_doubts = 1
        self._unchecked_sizes = 0
        self._has_listed_size = False  # not 0
        self.has_empty_file = False

    def __len__(self) -> int:
        return self._count

    def doubts(self, page: EntryPage, index: int) -> bool:
        """Whether the bytes of a file are to be seen before it is open."""
        if not (self._has_listed_size or page.is_looked_up):
            self._has_listed_size = _lists_sizes(page)
        doubts = self._looked_up_doubts if page.is_looked_up else self._listed_doubts
        is_doubted = doubts > 0 if page.sizes[index] else self._may_be_no_size(page, index)
        return is_doubted and not page.is_corrected(index)

    @property
    def checks_sizes(self) -> bool:
        """Whether sizes of 0 are worth a check before they are shown."""
        return not self._are_sizes_told and self._unchecked_sizes < UNCHECKED_SIZES

    def record_unchecked_size(self) -> None:
        """Count a size of 0 that could not be checked: the keys may list, and not read."""
        self._unchecked_sizes += 1

    def _may_be_no_size(self, page: EntryPage, index: int) -> bool:
        """Whether the size of 0 may mean that the store did not tell one: nothing is read then."""
        return not self._are_sizes_told and page.etag(index) != MD5_OF_NOTHING

    @property
    def _are_sizes_told(self) -> bool:
        """Whether 0 is a size: one was true, which proves nothing if listings tell no other."""
        return self.has_empty_file and self._has_listed_size

    def record_open(self, page: EntryPage) -> None:
        """Count an open of a file in *page* whose version was checked."""
        if page.is_looked_up:
            self._looked_up_doubts -= 1
        else:
            self._listed_doubts -= 1

    def add(self, page: EntryPage, index: int, stat: ObjectStat) -> None:
        """Correct the entry to *stat*, and remember that."""
        self.remember(page, index, stat)
        page.correct(index, stat)

    def remember(self, page: EntryPage, index: int, stat: ObjectStat) -> None:
        """Remember that the entry is *stat*, and check others that are opened next."""
        names = self._names.setdefault((page.bucket, page.prefix), {})
        name = page.name(index)
        self._count += name not in names
        # a correction that is itself corrected was of what listings tell
        former = names.get(name)
        is_corrected = former is not None and page.is_corrected(index)
        listed = former.listed if former and is_corrected else page.version(index)
        names[name] = _Correction(listed, stat)
        if page.is_looked_up:
            self._looked_up_doubts = DOUBTED
        else:
            self._listed_doubts = DOUBTED
        while self._count > CORRECTIONS_MAX:
            self._drop_oldest()

    def find(self, page: EntryPage, index: int) -> ObjectStat | None:
        """Return what the entry has to be corrected to, if it tells what was corrected before."""
        names = self._names.get((page.bucket, page.prefix))
        correction = names.get(page.name(index)) if names else None
        if correction is None or correction.listed.size != page.sizes[index]:
            return None
        is_listed = is_same_etag(correction.listed.etag, page.etag(index))
        return correction.stat if is_listed else None

    def has_any(self, page: EntryPage) -> bool:
        """Whether any name of the directory of *page* is corrected."""
        return bool(self._names) and (page.bucket, page.prefix) in self._names

    def remove(self, key: DirectoryKey, name: bytes) -> None:
        """Forget the correction of *name*, which was replaced."""
        names = self._names.get(key)
        if names and names.pop(name, None) is not None:
            self._count -= 1
            if not names:
                del self._names[key]

    def _drop_oldest(self) -> None:
        key, names = next(iter(self._names.items()))
        self.remove(key, next(iter(names)))

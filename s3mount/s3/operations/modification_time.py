"""Last-Modified as a validator, for versions without an ETag of the store's.

Its seconds are weak evidence: two versions of one second look alike. So If-Unmodified-Since only
spares the body of another version, since each response is compared with the version anyway. A 304
to If-Modified-Since is no response to compare. It is believed only of an object that was modified
long before the mount began: all that the mount has been told of it is newer than its second, so no
other version of that second can follow. docs/decisions/modification-times.md
https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2.2
"""

import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Final

from s3mount.s3.model import ObjectVersion
from s3mount.s3.operations.timestamps import parse_time
from s3mount.s3.operations.validation import synthetic_seconds

SETTLED_AFTER: Final = 60  # seconds, for clocks that differ, as RFC 7232, section 2.2.2 has it


class ModificationTimes:
    """Trust in the modification times of one store. Called from any thread.

    *wall_clock* is in seconds since 1970.
    """

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        # the moment of the first listing, by whichever of both clocks is behind; None before that
        self._first_listed_at: int | None = None
        self._is_usable = True  # the store takes If-Modified-Since, and tells the time with a 304

    def record_listing(self, date: str | None) -> None:
        """Account for a response to LIST, sent at *date* (HTTP); only the first of them counts."""
        if self._first_listed_at is None:
            sent_at = parse_time(date or "")
            if sent_at is not None:
                self._first_listed_at = min(sent_at // 1_000_000_000, int(self._wall_clock()))

    def disable(self) -> None:
        """Rely on no time any more."""
        self._is_usable = False

    def may_settle(self, version: ObjectVersion) -> bool:
        """Whether a 304 by the time of *version* may show that it is current."""
        seconds, first = synthetic_seconds(version.etag), self._first_listed_at
        if seconds is None or first is None or not self._is_usable:
            return False
        return 0 < seconds < first - SETTLED_AFTER

    def is_unmodified(self, version: ObjectVersion, headers: Mapping[str, str]) -> bool:
        """Whether the headers of a 304 tell the time of *version*: that of a file may go back.

        If they tell none, no time is relied on any more.
        """
        told = parse_time(headers.get("last-modified", ""))
        if told is None:
            self.disable()
            return False
        return told // 1_000_000_000 == synthetic_seconds(version.etag)


def http_date(seconds: int) -> str:
    """Return *seconds* since 1970 as a header has them."""
    return formatdate(seconds, usegmt=True)

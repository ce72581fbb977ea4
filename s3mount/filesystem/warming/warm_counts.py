"""Counts of one warm-up, for its progress and its result; and when the store counts as away."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from s3mount.errors import (
    Archived,
    DeadlineExceeded,
    NotFound,
    S3MountError,
    StaleVersion,
    StoreError,
)

log = logging.getLogger(__name__)

FAILURES_KEPT: Final = 20
# in a row: an outage weighs as ten refusals, and two of it are enough
FAILURES_MAX: Final = 20
_OUTAGE: Final = 10


class Failure(NamedTuple):
    """A file or directory that failed; its *path* is relative to the mount."""

    path: str
    message: str


@dataclass(slots=True)
class WarmCounts:
    """Files and bytes of a warm-up: found, fetched, and what became of them.

    *directories*, *files* and *octets* were listed. *wanted* ones are to be fetched, *fetched* ones
    have been, *done_octets* too; *already* were in memory. *unlisted* directories did not fit into
    the metadata limit. *gets* are the requests for what is wanted, *heads* those that ask whether
    files are archived. *path* is the latest one.
    """

    directories: int = 0
    files: int = 0
    octets: int = 0
    unlisted: int = 0
    already: int = 0
    wanted_files: int = 0
    wanted_octets: int = 0
    gets: int = 0
    heads: int = 0
    archived_files: int = 0
    archived_octets: int = 0
    done_files: int = 0
    done_octets: int = 0
    fetched_files: int = 0
    fetched_octets: int = 0
    unfit_files: int = 0
    unfit_octets: int = 0
    failed_count: int = 0
    failed: list[Failure] = field(default_factory=list)
    is_fetching: bool = False
    path: str = ""

    def progress(self) -> Mapping[str, object]:
        """Return the progress: of the listing, or of the files that are fetched."""
        is_fetching = self.is_fetching
        return {
            "phase": "fetching" if is_fetching else "listing",
            "directories": self.directories,
            "files": self.wanted_files if is_fetching else self.files,
            "bytes": self.wanted_octets if is_fetching else self.octets,
            "files_done": self.done_files,
            "bytes_done": self.done_octets,
            "path": self.path,
        }

    def result(self, *, is_dry: bool) -> Mapping[str, object]:
        """Return what has become of all; if *is_dry*, what would be fetched as fetched."""
        return {
            "directories": self.directories,
            "files": self.files,
            "bytes": self.octets,
            "fetched_files": self.wanted_files if is_dry else self.fetched_files,
            "fetched_bytes": self.wanted_octets if is_dry else self.fetched_octets,
            "already": self.already,
            "did_not_fit_files": self.unfit_files,
            "did_not_fit_bytes": self.unfit_octets,
            "did_not_fit_directories": self.unlisted,
            "archived_files": self.archived_files,
            "archived_bytes": self.archived_octets,
            "failed": [failure._asdict() for failure in self.failed],
            "failed_count": self.failed_count,
        }

    def add_failure(self, path: str, exc: S3MountError) -> None:
        self.failed_count += 1
        log.info("warming %r failed: %s", path, exc)
        if len(self.failed) < FAILURES_KEPT:
            self.failed.append(Failure(path, str(exc)))

    def add_already(self) -> None:
        """Count a planned file that is in memory already."""
        self.already += 1
        self.done_files += 1

    def add_unfit(self, octets: int) -> None:
        """Count a file whose missing *octets* have no room."""
        self.unfit_files += 1
        self.unfit_octets += octets

    def add_archived(self, octets: int) -> None:
        """Count a file of *octets* that has to be restored before it can be fetched."""
        self.archived_files += 1
        self.archived_octets += octets


class OutageDetector:
    """Failures in a row, and whether there were so many that going on is in vain.

    Then the store stays away: what is in flight is cancelled, whatever of it still succeeds.
    """

    def __init__(self) -> None:
        self._failures = FAILURES_MAX - _OUTAGE  # nothing has succeeded yet

    @property
    def is_away(self) -> bool:
        return self._failures >= FAILURES_MAX

    @property
    def error(self) -> StoreError:
        """The failure of what is not requested any more, as the store is away."""
        return StoreError("not fetched, since the store failed too often in a row")

    def note_success(self) -> None:
        self._clear()

    def note_failure(self, exc: S3MountError) -> None:
        if isinstance(exc, Archived | NotFound | StaleVersion):  # which the store has told
            self._clear()
            return
        is_outage = isinstance(exc, DeadlineExceeded | StoreError)
        self._failures += _OUTAGE if is_outage else 1

    def _clear(self) -> None:
        if not self.is_away:
            self._failures = 0

"""One check of a report: run in a thread, within its time limit, and alone in its failure.

Invariants:

1. `run_check` returns within the limit of the check. The thread of a check that hangs is left
   behind, and does not keep the process from ending.
2. Whatever a check raises becomes its finding, so the next check runs.
3. A fact is found once. The check that owns it reports its failure; those that need it are not
   tried then.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import outcome

from s3mount.doctor.report import (
    Finding,
    ReportRow,
    failure,
    not_tried,
    report_row,
)
from s3mount.errors import S3MountError
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.transport import Retryable

T = TypeVar("T")

LIMIT = 30.0  # seconds


class NotTriedError(Exception):
    """A check cannot be tried; the text says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check: *run* blocks, and returns what it found within *limit* seconds.

    *run* may raise NotTriedError, and S3MountErrors and Retryables, whose text is the finding.
    """

    name: str
    run: Callable[[], Finding]
    limit: float = LIMIT


class Fact(Generic[T]):
    """A value that *find* finds, for the check *owner* and others that need it.

    One check runs at a time. *_is_begun* without *_found* is a search that hangs in a thread that
    was left behind.
    """

    def __init__(self, owner: str, find: Callable[[], T]) -> None:
        self._owner = owner
        self._find = find
        self._is_begun = False
        self._found: outcome.Maybe[T] | None = None

    def get(self) -> T:
        """Return the value. Raises what *find* raised."""
        if not self._is_begun:
            self._is_begun = True
            self._found = outcome.capture(self._find)
        if self._found is None:
            raise self._not_tried()
        if isinstance(self._found, outcome.Error):
            raise self._found.error.with_traceback(None)
        return self._found.value

    def need(self) -> T:
        """Return the value. Raises NotTriedError if there is none."""
        try:
            return self.get()
        except NotTriedError:
            raise
        except Exception as exc:  # reported by its owner, whatever it is
            raise self._not_tried() from exc

    def _not_tried(self) -> NotTriedError:
        return NotTriedError(f"it depends on {self._owner}, see there")


def run_check(check: Check) -> ReportRow:
    """Return the row of *check*."""
    findings: list[Finding] = []
    thread = threading.Thread(
        target=lambda: findings.append(_finding(check)), name=check.name, daemon=True
    )
    thread.start()
    thread.join(check.limit)
    found = findings[0] if findings else _no_result(check)
    return report_row(check.name, found)


def _finding(check: Check) -> Finding:
    try:
        return check.run()
    except NotTriedError as exc:
        return not_tried(str(exc))
    except S3MountError as exc:
        return failure(str(exc))
    except Retryable as exc:
        return failure(str(exc.failure))
    except Exception as exc:  # noqa: BLE001 - a bug ends no other check; its text may hold anything
        return failure(
            f"internal error: {type(exc).__name__}", "this is a bug of s3mount: report it"
        )


def _no_result(check: Check) -> Finding:
    return failure(
        f"no result within {check.limit:g} s", "try again; look at the network and its firewalls"
    )

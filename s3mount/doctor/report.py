"""Values of a report: outcomes, findings with their remedies, and the exit status."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from s3mount.frozen_dataclass import dataclass
from s3mount.printable import one_line


class Outcome(StrEnum):
    """Outcome of a check; the value is what a report says."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check: one line of *text*, and what to do, unless that is in the text."""

    outcome: Outcome
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """The finding of the check *name*, with texts that cannot control a terminal."""

    name: str
    finding: Finding

    def as_json(self) -> Mapping[str, str]:
        finding = self.finding
        return {
            "check": self.name,
            "outcome": finding.outcome.value,
            "text": finding.text,
            "remedy": finding.remedy,
        }


def ok(text: str) -> Finding:
    return Finding(Outcome.OK, text)


def warning(text: str, remedy: str = "") -> Finding:
    return Finding(Outcome.WARNING, text, remedy)


def failure(text: str, remedy: str = "") -> Finding:
    return Finding(Outcome.FAILURE, text, remedy)


def not_tried(text: str) -> Finding:
    return Finding(Outcome.NOT_TRIED, text)


def report_row(name: str, finding: Finding) -> ReportRow:
    """Return the row of *finding*, each of its texts on one line."""
    text, remedy = one_line(finding.text), one_line(finding.remedy)
    return ReportRow(name, Finding(finding.outcome, text, remedy))


def exit_status(rows: Iterable[ReportRow]) -> int:
    """Return 1 if a check failed, else 0."""
    return int(any(row.finding.outcome is Outcome.FAILURE for row in rows))

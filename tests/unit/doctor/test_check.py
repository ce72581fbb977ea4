"""Single checks: limits, failures, bugs, and facts that several of them need."""

import threading
from collections.abc import Callable

import pytest

from s3mount.doctor.check import Check, Fact, NotTriedError, run_check
from s3mount.doctor.report import Finding, Outcome, exit_status, ok, report_row, warning
from s3mount.errors import SetupError, StoreError
from s3mount.s3.transport import Retryable


def raises(exc: Exception) -> Callable[[], Finding]:
    def run() -> Finding:
        raise exc

    return run


@pytest.mark.parametrize(
    ("run", "outcome", "text"),
    [
        (lambda: ok("fine"), Outcome.OK, "fine"),
        (lambda: warning("hm", "mend it"), Outcome.WARNING, "hm"),
        (raises(SetupError("wrong: do this")), Outcome.FAILURE, "wrong: do this"),
        (raises(Retryable(StoreError("busy"))), Outcome.FAILURE, "busy"),
        (raises(NotTriedError("see there")), Outcome.NOT_TRIED, "see there"),
        (raises(KeyError("hush")), Outcome.FAILURE, "internal error: KeyError"),
    ],
)
def test_what_a_check_returns_or_raises_is_its_finding(
    run: Callable[[], Finding], outcome: Outcome, text: str
) -> None:
    row = run_check(Check("name", run))

    assert (row.name, row.finding.outcome, row.finding.text) == ("name", outcome, text)


def test_a_check_that_hangs_ends_at_its_limit() -> None:
    ended = threading.Event()

    def run() -> Finding:
        ended.wait()
        return ok("late")

    row = run_check(Check("name", run, limit=0.05))
    ended.set()

    assert row.finding.outcome is Outcome.FAILURE
    assert row.finding.text == "no result within 0.05 s"
    assert "firewalls" in row.finding.remedy


def test_a_fact_is_found_once_and_reported_by_its_owner() -> None:
    calls: list[int] = []

    def find() -> int:
        calls.append(1)
        raise SetupError("no")

    fact = Fact("owner", find)
    for _ in range(2):
        with pytest.raises(SetupError, match="no"):
            fact.get()
    with pytest.raises(NotTriedError, match="it depends on owner, see there"):
        fact.need()

    assert calls == [1]


def test_a_fact_whose_search_hangs_is_not_waited_for_again() -> None:
    begun, ended = threading.Event(), threading.Event()

    def find() -> int:
        begun.set()
        ended.wait()
        return 1

    fact = Fact("owner", find)
    searching = threading.Thread(target=fact.get, daemon=True)
    searching.start()
    begun.wait()
    with pytest.raises(NotTriedError, match="owner"):
        fact.need()
    ended.set()
    searching.join()

    assert fact.need() == 1


def test_a_fact_that_could_not_be_looked_for_keeps_its_reason() -> None:
    def find() -> int:
        raise NotTriedError("it depends on another, see there")

    with pytest.raises(NotTriedError, match="another"):
        Fact("owner", find).need()


def test_a_row_is_one_line_that_cannot_control_a_terminal() -> None:
    row = report_row("name", warning("a\nb\x1b[2J", "c\r\nd"))

    assert row.finding == warning("a b\\x1b[2J", "c d")
    assert row.as_json() == {
        "check": "name",
        "outcome": "warning",
        "text": "a b\\x1b[2J",
        "remedy": "c d",
    }


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], 0),
        ([Outcome.OK, Outcome.WARNING, Outcome.NOT_TRIED], 0),
        ([Outcome.OK, Outcome.FAILURE, Outcome.OK], 1),
    ],
)
def test_only_a_failure_changes_the_exit_status(outcomes: list[Outcome], status: int) -> None:
    rows = [report_row("name", Finding(outcome, "")) for outcome in outcomes]

    assert exit_status(rows) == status

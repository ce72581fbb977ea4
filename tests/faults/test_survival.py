"""Each misbehaviour of the catalogue, through the command line and the real kernel.

The user is told what the catalogue calls right, in time; the mount lives on and is right as soon as the store is; the log
says what failed, and nothing that is secret.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.faults.catalogue import CATALOGUE
from tests.faults.catalogue.rows import GRACE, TIMEOUT, Outcome
from tests.faults.faulty_mount import BUCKET, KEY_ID, SECRET, TOKEN
from tests.faults.scenarios import Scenario, ScenarioResult, ScenarioRunner, scenarios_of

ALL_ROWS = [row for rows in CATALOGUE.values() for row in rows]
SAMPLE = int(
    os.environ.get("S3MOUNT_FAULTS_SAMPLE", "4")
)  # every n-th row is tried with boto3 too; 1 for all of them
TRIALS = [*scenarios_of(ALL_ROWS, "lean"), *scenarios_of(ALL_ROWS[::SAMPLE], "boto3", first=5000)]
LINES_MAX = 8  # reads that are ahead fail too
WIDTH = int(os.environ.get("S3MOUNT_FAULTS_AT_ONCE", "16"))


@pytest.fixture(scope="session")
def scenarios(request: pytest.FixtureRequest) -> Iterator[ScenarioRunner]:
    """All chosen scenarios, running side by side while the tests ask for one after another."""
    callspecs = (getattr(item, "callspec", None) for item in request.session.items)
    chosen = [
        callspec.params["scenario"]
        for callspec in callspecs
        if callspec and "scenario" in callspec.params
    ]
    running = ScenarioRunner(chosen, WIDTH)
    yield running
    running.close()


@pytest.mark.parametrize("scenario", TRIALS, ids=lambda scenario: scenario.name)
def test_a_mount_survives(scenario: Scenario, scenarios: ScenarioRunner) -> None:
    report = scenarios.report(scenario)

    assert report.hits > 0, "nothing met the fault"
    assert report.is_alive
    assert report.outcome in scenario.expected, f"{report.outcome} after {report.seconds:.1f} s"
    assert report.seconds < TIMEOUT * scenario.row.workload.calls + GRACE
    assert report.after in scenario.row.after, "when the fault was over"
    assert report.redirected == 0, "a redirect was followed"
    assert_the_log_tells(report, scenario)


def assert_the_log_tells(report: ScenarioResult, scenario: Scenario) -> None:
    """What failed, a line for each request of the kernel's, and nothing that is secret."""
    for secret in (SECRET, TOKEN, KEY_ID):
        assert secret not in str(report.records)
    assert not any("Traceback" in str(record) for record in report.records)
    failures = [
        record
        for record in report.records
        if record["level"] != "DEBUG" and _is_about(scenario, record)
    ]
    assert all(record.get("bucket", BUCKET) == BUCKET for record in failures)
    if report.outcome != Outcome.RIGHT:
        assert 1 <= len(failures) <= LINES_MAX
    if scenario.expected == Outcome.RIGHT:
        assert not failures


def _is_about(scenario: Scenario, record: Mapping[str, Any]) -> bool:
    """Whether a log record tells a failure of this scenario's, not one that a scenario before it left behind.

    A request of the kernel's that is cut off between two questions has no key to tell.
    """
    key = record.get("key")
    if key is None:
        return "no answer within" in record["message"]
    return key.startswith(scenario.prefix) or scenario.prefix.startswith(key)

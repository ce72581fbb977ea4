"""Every misbehaviour of the catalogue, through the command line and the real kernel.

The user gets an outcome of the catalogue in time; the mount survives, and is right when the store
is; the log says what failed, and contains no secret.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.faults.catalogue import CATALOGUE
from tests.faults.catalogue.rows import GRACE, OUTAGE_SECONDS, TIMEOUT, Outcome
from tests.faults.faulty_mount import BUCKET, KEY_ID, SECRET, TOKEN
from tests.faults.scenarios import Scenario, ScenarioResult, ScenarioRunner, scenarios_of

ALL_ROWS = [row for rows in CATALOGUE.values() for row in rows]
# every n-th row is run with boto3 too; 1 runs all of them
SAMPLE = int(os.environ.get("S3MOUNT_FAULTS_SAMPLE", "4"))
SCENARIOS = [
    *scenarios_of(ALL_ROWS, "native"),
    *scenarios_of(ALL_ROWS[::SAMPLE], "boto3", first=5000),
]
LINES_MAX = 8  # prefetched reads fail too
WIDTH = int(os.environ.get("S3MOUNT_FAULTS_AT_ONCE", "16"))


@pytest.fixture(scope="session")
def scenarios(request: pytest.FixtureRequest) -> Iterator[ScenarioRunner]:
    """Run all collected scenarios side by side; each test waits for its own."""
    callspecs = (getattr(item, "callspec", None) for item in request.session.items)
    chosen = [
        callspec.params["scenario"]
        for callspec in callspecs
        if callspec and "scenario" in callspec.params
    ]
    running = ScenarioRunner(chosen, WIDTH)
    yield running
    running.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_mount_survives(scenario: Scenario, scenarios: ScenarioRunner) -> None:
    result = scenarios.result(scenario)

    assert result.hits > 0, "nothing met the fault"
    if scenario.row.outage is not None and scenario.is_once:
        assert result.seconds > OUTAGE_SECONDS / 2, "nothing met the outage"
    assert result.is_alive
    assert result.outcome in scenario.expected, f"{result.outcome} after {result.seconds:.1f} s"
    assert result.seconds < TIMEOUT * scenario.row.workload.calls + GRACE
    assert result.after in scenario.row.after, "when the fault was over"
    assert result.redirected == 0, "a redirect was followed"
    check_log(result, scenario)


def check_log(result: ScenarioResult, scenario: Scenario) -> None:
    """Check that the log has a line for each failed request, and no secret."""
    for secret in (SECRET, TOKEN, KEY_ID):
        assert secret not in str(result.records)
    assert not any("Traceback" in str(record) for record in result.records)
    failures = [
        record
        for record in result.records
        if record["level"] != "DEBUG" and _is_about(scenario, record)
    ]
    assert all(record.get("bucket", BUCKET) == BUCKET for record in failures)
    if result.outcome != Outcome.RIGHT:
        assert 1 <= len(failures) <= LINES_MAX
    if scenario.expected == Outcome.RIGHT:
        assert not failures


def _is_about(scenario: Scenario, record: Mapping[str, Any]) -> bool:
    """Return whether a log record belongs to *scenario*, not to an earlier one of the same mount.

    A request that is cancelled between two operations has no key in its record.
    """
    key = record.get("key")
    if key is None:
        return "no answer within" in record["message"]
    return key.startswith(scenario.prefix) or scenario.prefix.startswith(key)

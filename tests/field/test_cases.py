"""Every report of the tables, through the real command line and the real kernel."""

from collections import Counter
from pathlib import Path

import pytest

from tests.field.case import Case, check
from tests.field.cases import TABLES

RUNS = [
    pytest.param(case, transport, id=f"{area}-{case.name.replace(' ', '-')}-{transport}")
    for area, cases in TABLES.items()
    for case in cases
    for transport in case.transports
]


@pytest.mark.parametrize(("case", "transport"), RUNS)
def test_what_was_reported_comes_out_right(case: Case, transport: str, tmp_path: Path) -> None:
    check(case, transport, tmp_path)


def test_each_case_has_a_name_of_its_own_and_a_report() -> None:
    cases = [case for table in TABLES.values() for case in table]

    assert {name: n for name, n in Counter(case.name for case in cases).items() if n > 1} == {}
    assert [case.name for case in cases if not case.report] == []

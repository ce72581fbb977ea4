"""Every report of the tables, through the real command line and the real kernel."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

import pytest

from tests.field.case import BOTH, NATIVE, SAMPLED, Case, check
from tests.field.cases import TABLES

# every n-th of the cases that the transport cannot matter for runs with boto3 too; 1 runs all
SAMPLE = int(os.environ.get("S3MOUNT_FIELD_SAMPLE", "4"))


def runs(tables: Mapping[str, Sequence[Case]], sample: int) -> Iterator[tuple[str, Case, str]]:
    """Yield area, case and transport of each run."""
    sampled = count()
    for area, cases in tables.items():
        for case in cases:
            yield area, case, "native"
            is_chosen = case.transports is SAMPLED and next(sampled) % sample == 0
            if case.transports is BOTH or is_chosen:
                yield area, case, "boto3"


RUNS = [
    pytest.param(case, transport, id=f"{area}-{case.name.replace(' ', '-')}-{transport}")
    for area, case, transport in runs(TABLES, SAMPLE)
]


@pytest.mark.parametrize(("case", "transport"), RUNS)
def test_what_was_reported_comes_out_right(case: Case, transport: str, tmp_path: Path) -> None:
    check(case, transport, tmp_path)


def test_each_case_has_a_name_of_its_own_and_a_report() -> None:
    cases = [case for table in TABLES.values() for case in table]

    assert {name: n for name, n in Counter(case.name for case in cases).items() if n > 1} == {}
    assert [case.name for case in cases if not case.report] == []


def test_a_case_about_the_transport_runs_with_both_and_others_with_a_sample() -> None:
    table = [Case(f"{n}", "x") for n in range(5)]
    about_transport = [Case("b", "x", transports=BOTH), Case("n", "x", transports=NATIVE)]

    with_boto3 = [
        case.name
        for _, case, transport in runs({"a": table, "b": about_transport}, 2)
        if transport == "boto3"
    ]

    assert ["0", "2", "4", "b"] == with_boto3

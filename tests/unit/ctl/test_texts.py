"""Texts of figures, aligned lines, and rates between two answers."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.ctl import units
from s3mount.ctl.output import aligned, flattened
from s3mount.ctl.rates import SORT_KEYS, RateHistory
from tests.fakes.control_replies import activity

HEAVY = {"rich", "trio", "boto3", "botocore", "pyfuse3", "urllib3", "tomllib", "difflib"}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (8 << 20, "8.0 MiB"),
        (100 << 20, "100 MiB"),
        (5 << 60, "5120 PiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.25, "250 ms"),
        (1.26, "1.3 s"),
        (61, "1 min 1 s"),
        (7260, "2 h 1 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations(value: float, text: str) -> None:
    assert units.seconds(value) == text


def test_a_share_of_nothing_is_a_dash() -> None:
    assert (units.share(0, 0), units.share(1, 3)) == ("-", "33.3 %")


@given(st.lists(st.floats(0, 1e12), max_size=40), st.integers(1, 30))
def test_a_sparkline_has_its_width(values: list[float], width: int) -> None:
    line = units.sparkline(values, width)

    assert len(line) == width
    assert line.count(" ") == max(0, width - len(values))


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.integers(1, 30))
def test_a_gauge_has_its_width(part: float, whole: float, width: int) -> None:
    assert len(units.gauge(part, whole, width)) == width


@given(st.lists(st.tuples(*[st.text("ab ", max_size=5)] * 3), min_size=1, max_size=5))
def test_columns_begin_at_the_same_place(rows: list[tuple[str, str, str]]) -> None:
    lines = [*aligned(rows)]

    assert len(lines) == len(rows)
    start = max(len(row[0] or "-") for row in rows) + 2
    assert all(line[start - 2 : start].strip() == "" for line in lines)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("a\x1b\udcff\n", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\n", max_size=2), inner),
    max_leaves=8,
)


@given(JSON)
def test_every_leaf_of_json_is_one_printable_line(value: object) -> None:
    leaves = [*flattened(json.loads(json.dumps(value)))]

    assert all((name + text).isprintable() for name, text in leaves)


def test_rates_are_differences_between_answers() -> None:
    history = RateHistory()
    first = history.add(10.0, activity(1))
    second = history.add(12.0, activity(3))

    assert (first.all_requests, first.fetched) == (0, 0)
    assert second.requests == {"GET": 10.0, "LIST": 1.0}
    assert (second.fetched, second.served) == (4 << 20, 8 << 20)
    assert [file.rate for file in second.files] == [1 << 20, 3 << 20]
    assert [rates.fetched for rates in history.rates] == [4 << 20]


def test_counters_that_go_back_are_no_rate() -> None:
    """Another process serves the mount, after a remount."""
    history = RateHistory()
    history.add(1.0, activity(9))

    assert history.add(2.0, activity(1)).all_requests == 0


@pytest.mark.parametrize("key", SORT_KEYS)
def test_files_are_sorted_by_each_column(key: str) -> None:
    history = RateHistory()
    history.add(1.0, activity(1))
    files = history.add(2.0, activity(2)).sorted_files(key)

    values = [getattr(file, key) for file in files]
    assert values == sorted(values, reverse=key != "key")


def test_listing_mounts_imports_nothing_that_is_slow() -> None:
    program = (
        "import sys; from s3mount.ctl.main import s3mountctl; "
        "from s3mount.ctl.mounts import Machine; s3mountctl(['list'], Machine()); "
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert HEAVY & {*done.stderr.split()} == set()

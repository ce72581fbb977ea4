"""docs/security.md names tests for its promises; they must be there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()


def test_the_tests_that_are_named_exist() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+)`", PAGE))

    assert named
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_each_promise_names_a_test() -> None:
    promised = PAGE.partition("## What is promised")[2].partition("## What is not promised")[0]
    rows = [
        line
        for line in promised.splitlines()
        if line.startswith("| ") and not line.startswith("| promise")
    ]

    assert rows
    assert [row for row in rows if "`tests/" not in row] == []

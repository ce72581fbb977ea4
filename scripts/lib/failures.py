"""Summary of the failed tests of a suite, from its JUnit report: `python failures.py REPORT`.

Prints a line for each: where it is, and the first line of its error. A suite that was ended, or
never began, has no report.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

MOST = 40  # lines
WIDEST = 240  # characters
NO_REPORT = "no report: pytest did not start, or did not end in time"


def failures_in(report: Path) -> Iterator[str]:
    """Yield a line for each failed test; one that fails in its teardown too has two."""
    for case in ET.parse(report).iter("testcase"):
        place = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        for failure in (*case.iterfind("failure"), *case.iterfind("error")):
            message = failure.get("message", "").partition("\n")[0]
            yield f"{place}: {message}"[:WIDEST]


def lines_of(report: Path) -> list[str]:
    """Return the failures, at most MOST lines."""
    if not report.is_file():
        return [NO_REPORT]
    found = list(failures_in(report))
    left_out = len(found) - MOST
    return [*found[:MOST], f"... and {left_out} more"] if left_out > 0 else found


if __name__ == "__main__":
    print("\n".join(lines_of(Path(sys.argv[1]))))

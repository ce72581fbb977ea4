"""What `s3mountctl verify` says of results, and its exit status."""

from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from s3mount.ctl.verify import FAILED, MATCH, MISMATCH, NO_EVIDENCE, lines_of, status_of
from s3mount.ctl.verify_view import BarDisplay

MATCHING: Mapping[str, Any] = {
    "matches": True,
    "method": "multipart ETag",
    "parts": 3,
    "part_size": 8 << 20,
    "expected": "aa-3",
    "actual": "aa-3",
    "fault": None,
    "bad_ranges": [],
    "reason": None,
    "replaced": False,
}
BAD_PART = {"part": 2, "start": 8, "stop": 16, "expected": "0a", "actual": "0b"}
WRONG = {**MATCHING, "matches": False, "actual": "bb-3", "fault": "object"}


def said(result: Mapping[str, Any], path: str = "/m/a") -> list[str]:
    return [line for line, _ in lines_of(path, result)]


def test_a_match_is_one_line() -> None:
    assert said(MATCHING) == ["/m/a: OK: multipart ETag, 3 parts of 8.0 MiB"]
    assert said({**MATCHING, "part_size": None}) == ["/m/a: OK: multipart ETag, 3 parts"]
    assert said({**MATCHING, "parts": None, "method": "CRC32C"}) == ["/m/a: OK: CRC32C"]


def test_a_mismatch_says_what_was_expected_whose_fault_it_is_and_where() -> None:
    first, fault, where = said({**WRONG, "bad_ranges": [BAD_PART]})
    assert first.startswith("/m/a: DOES NOT MATCH: multipart ETag")
    assert first.endswith("expected aa-3, found bb-3")
    assert "the object is damaged" in fault
    assert where == "/m/a: wrong in part 2, bytes 8 to 15; expected 0a, found 0b"


@pytest.mark.parametrize(
    ("fault", "words"),
    [("cache", "memory were wrong"), ("transfer", "proxy"), ("new", "not known")],
)
def test_each_fault_has_its_words(fault: str, words: str) -> None:
    assert words in said({**WRONG, "fault": fault})[1]


def test_a_range_that_is_no_part_has_its_bytes_only() -> None:
    bad = {**BAD_PART, "part": None, "expected": None, "actual": None}
    assert said({**WRONG, "bad_ranges": [bad]})[-1] == "/m/a: wrong in bytes 8 to 15"


def test_of_many_ranges_the_first_are_shown() -> None:
    lines = said({**WRONG, "bad_ranges": [BAD_PART] * 100})
    assert len(lines) == 23
    assert lines[-1].endswith("--json has them")


def test_a_replacement_is_said() -> None:
    assert said({**MATCHING, "replaced": True})[-1].endswith("has replaced it meanwhile")


def test_names_and_messages_cannot_control_a_terminal() -> None:
    for result in (
        {"matches": None, "error": "\x1b[31m"},
        {**MATCHING, "matches": None, "reason": "\x1b[31m"},
        {**WRONG, "expected": "\x1b[31m", "method": "\x1b[31m"},
    ):
        assert "\x1b" not in "".join(said(result, "/m/\x1b[31m"))


def test_the_exit_status_of_one_result() -> None:
    assert status_of(MATCHING) == MATCH == 0
    assert status_of(WRONG) == MISMATCH == 1
    assert status_of({"matches": None, "error": "it failed"}) == FAILED == 4
    assert status_of({**MATCHING, "matches": None}) == NO_EVIDENCE == 5


def test_the_bar_shows_names_as_they_are() -> None:
    console = Console(width=120, color_system=None, force_terminal=True)
    with console.capture() as capture, BarDisplay(console) as bar:
        bar.begin("a [/b] [red]")
        bar.show({"phase": "waiting", "bytes": 0, "bytes_done": 0})
        bar.show({"phase": "reading", "bytes": 1 << 20, "bytes_done": 1 << 19})
        bar.write("a [/b]: OK", "")
    shown = capture.get()
    assert "a [/b] [red]" in shown
    assert "reading: 512 KiB/1.0 MiB" in shown
    assert "a [/b]: OK" in shown

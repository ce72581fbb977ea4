"""What a text from outside looks like in a message, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import StoreError
from s3mount.printable import OUTSIDE_LIMIT, printable, printable_lines

ANY_TEXT = st.text(st.characters()) | st.text(
    "\n\r\x0b\x0c\x1b\x85\u2028\u2029\u202e\u2066\ufeff\udcff ab\\…", max_size=600
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NoSuchKey", "NoSuchKey"),
        ("x\n2026-11-26 CRITICAL root: forged", r"x\n2026-11-26 CRITICAL root: forged"),
        ("\x1b[2J\x07\x7f\x9b", r"\x1b[2J\x07\x7f\x9b"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\u202egpj.exe\u2066", r"\u202egpj.exe\u2066"),
        ("\udcff", r"\udcff"),
        ("Übergröße 文", "Übergröße 文"),
        ("A" * 60_000, "A" * 98 + "…" + "A" * 98),
    ],
)
def test_what_is_not_printable_is_escaped_and_the_middle_is_cut(text: str, expected: str) -> None:
    assert expected == printable(text)


@given(ANY_TEXT, st.integers(8, 300))
def test_it_is_one_printable_line_within_the_limit_and_stays_as_it_is(
    text: str, limit: int
) -> None:
    shown = printable(text, limit)

    assert shown.isprintable()
    assert len(shown.encode()) <= limit
    assert shown == printable(shown, limit)


@given(ANY_TEXT)
def test_short_text_keeps_all_that_is_printable(text: str) -> None:
    kept = [char for char in text[:20] if char.isprintable()]

    shown = printable(text[:20])

    remaining = iter(shown)
    assert all(char in remaining for char in kept)


@given(ANY_TEXT)
def test_no_line_of_many_begins_at_the_margin(text: str) -> None:
    lines = printable_lines(text, 1000).split("\n")

    assert all(line.startswith("  ") and line.isprintable() for line in lines)


def test_a_failure_keeps_code_and_request_id_as_they_can_be_shown() -> None:
    failure = StoreError("no", code="x\ny", request_id="A" * 60_000, key="k\n")

    assert failure.code == r"x\ny"
    assert len((failure.request_id or "").encode()) <= OUTSIDE_LIMIT
    assert failure.key == "k\n"

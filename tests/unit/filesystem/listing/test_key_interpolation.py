"""Guessed names are near if names go on as they have, and harmless if they do not."""

import random
import string
from bisect import bisect
from itertools import count, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.key_interpolation import KeyInterpolator

_random = random.Random(7)


def _drawn(alphabet: str, length: int) -> list[str]:
    return sorted("".join(_random.choices(alphabet, k=length)) for _ in range(30_000))


@pytest.mark.parametrize(
    ("seen", "steps", "expected"),
    [
        (["img-0001.jpg", "img-0002.jpg", "img-0003.jpg"], 5, "img-0008.jpg"),
        (["img-0097.jpg", "img-0098.jpg", "img-0099.jpg"], 5, "img-0104.jpg"),
        (["a-08", "a-10", "a-12"], 4, "a-20"),
        (["00fd", "00fe", "00ff", "0100"], 16, "0110"),
        (["3d-0", "3e-0", "3f-0", "40-0", "41-0"], 2, "43-0"),
    ],
)
def test_names_at_even_distances_go_on(seen: list[str], steps: int, expected: str) -> None:
    assert expected == KeyInterpolator(seen).key_after(seen[-1], steps)


@pytest.mark.parametrize(
    "names",
    [
        sorted(f"file{number}.txt" for number in range(30_000)),
        [f"{letter}-{number:04}" for letter in "ABC" for number in range(10_000)],
        _drawn("0123456789abcdef", 12),
        _drawn(string.ascii_letters + string.digits, 8),
        sorted(f"{stem[:4]}-{stem[4:8]}-4{stem[8:]}" for stem in _drawn("0123456789abcdef", 12)),
    ],
    ids=["unpadded", "two levels", "hashes", "base 62", "uuids"],
)
def test_a_guess_is_seldom_farther_off_than_the_distance_it_bridges(names: list[str]) -> None:
    wide = 0
    for at in range(500, len(names) - 2000, 500):
        seen = names[at - 500 : at]
        guess = KeyInterpolator(seen).key_after(seen[-1], 1000)
        wide += guess is not None and bisect(names, guess) > at + 2000

    assert wide < 3


def test_there_is_no_guess_after_the_last_possible_name() -> None:
    assert KeyInterpolator(["7", "8", "9"]).key_after("9", 1) is None
    assert KeyInterpolator(["only"]).key_after("only", 1) is None
    assert (
        KeyInterpolator(["one", "two"]).key_after("two", 1) is None
    )  # one step, which may be a gap


@given(st.sets(st.text(max_size=20), min_size=1, max_size=30), st.integers(0, 10_000), st.text())
def test_a_guess_comes_after_the_name_whatever_names_are(
    names: set[str], steps: int, name: str
) -> None:
    guess = KeyInterpolator(sorted(names)).key_after(name, steps)

    assert guess is None or guess > name


def test_a_gap_that_no_name_can_fill_does_not_widen_the_steps() -> None:
    seen = [
        *islice((f"file{number}" for number in count(19_990)), 10),
        "file2",
        "file20",
        "file200",
        "file2000",
    ]

    guess = KeyInterpolator(seen).key_after("file2000", 3)

    assert guess is not None
    assert guess < "file21"

"""Invalidations of names and of subtrees."""

import math

from s3mount.filesystem.namespace.invalidations import SUBTREES_MAX, Invalidations

BUCKET = "b"


def ignore(time: float) -> None:
    """Nothing overflows here."""


def test_a_subtree_is_all_below_its_directory_and_nothing_beside_it() -> None:
    invalidations = Invalidations(ignore)

    invalidations.add_subtree((BUCKET, "a/b/"), 5.0)

    for inside in ("a/b/", "a/b/c/", "a/b/c/d/"):
        assert invalidations.last((BUCKET, inside), b"x") == 5.0
        assert invalidations.newest(BUCKET, inside) == 5.0
    for outside in ("", "a/", "a/bc/", "b/"):
        assert invalidations.last((BUCKET, outside), b"x") == -math.inf
    assert invalidations.last(("other", "a/b/"), b"x") == -math.inf


def test_the_later_of_a_name_and_of_a_directory_above_it_counts() -> None:
    invalidations = Invalidations(ignore)
    invalidations.add((BUCKET, "a/"), b"y", 4.0)
    invalidations.add_subtree((BUCKET, "a/"), 5.0)
    invalidations.add((BUCKET, "a/"), b"x", 6.0)

    assert invalidations.last((BUCKET, "a/"), b"x") == 6.0
    assert invalidations.last((BUCKET, "a/"), b"y") == 5.0
    assert invalidations.newest(BUCKET, "a/") == 6.0


def test_too_many_subtrees_invalidate_everything_older() -> None:
    times: list[float] = []
    invalidations = Invalidations(times.append)

    for number in range(SUBTREES_MAX + 1):
        invalidations.add_subtree((BUCKET, f"{number}/"), float(number))

    assert times == [float(SUBTREES_MAX)]
    assert invalidations.last((BUCKET, "0/"), b"x") == -math.inf
    assert invalidations.last((BUCKET, f"{SUBTREES_MAX}/"), b"x") == float(SUBTREES_MAX)

"""The whole of `filesystem/` against the reference model.

Each example is a program (see `programs`) of many users at once, with a changing bucket, SIGHUP,
eviction and failures, on a virtual clock (see `driver`). S3MOUNT_EXAMPLES sets how many there are,
S3MOUNT_SEED runs one. A program that fails is made smaller, and printed with what happened.
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from s3mount.config import Prefetch
from tests.property.driver import Deviation, outcome_of
from tests.property.history import DIRECTORY, State
from tests.property.programs import Program, huge_program_of, program_of, smaller
from tests.property.strategies import bodies
from tests.reference import Directory, directories_of, look, tree_of

EXAMPLES = int(os.environ.get("S3MOUNT_EXAMPLES", "300"))
SHRINKING = 20.0  # seconds, at most
SEEDS = (
    st.just(int(os.environ["S3MOUNT_SEED"]))
    if "S3MOUNT_SEED" in os.environ
    else st.integers(0, (1 << 32) - 1)
)


@pytest.fixture
def outages_are_logged(allowed_warnings: list[str]) -> None:
    allowed_warnings.append("the store cannot be reached, so what is known is served")


@settings(
    max_examples=EXAMPLES, phases=[Phase.generate], database=None
)  # a smaller seed is no smaller program
@given(seed=SEEDS)
def test_every_result_is_of_a_state_that_it_may_be_of(seed: int) -> None:
    check(program_of, seed)


@settings(max_examples=max(1, EXAMPLES // 5), phases=[Phase.generate], database=None)
@given(seed=SEEDS)
def test_every_answer_without_prefetch_is_of_a_state_that_it_may_be_of(seed: int) -> None:
    check(lambda seed: replace(program_of(seed), no_prefetch=frozenset(Prefetch)), seed)


@settings(max_examples=max(1, EXAMPLES // 2), phases=[Phase.generate], database=None)
@given(seed=SEEDS)
def test_every_answer_from_kept_metadata_is_of_a_state_that_it_may_be_of(seed: int) -> None:
    check(lambda seed: replace(program_of(seed), mounts=2), seed)


@settings(max_examples=max(1, EXAMPLES // 2), phases=[Phase.generate], database=None)
@given(seed=SEEDS)
@pytest.mark.usefixtures("outages_are_logged")
def test_every_answer_of_a_store_that_is_away_is_of_a_state_that_it_may_be_of(seed: int) -> None:
    stale = 30.0 if seed % 2 else 300.0
    check(lambda seed: replace(program_of(seed), mounts=2, serve_stale=stale), seed)


@pytest.mark.parametrize("seed", range(max(5, EXAMPLES // 300)))
def test_a_huge_directory_shows_its_own_entries(seed: int) -> None:
    check(huge_program_of, seed)


@given(bodies=bodies(20))
def test_the_history_sees_in_one_state_what_the_reference_model_sees(
    bodies: dict[str, bytes],
) -> None:
    sizes = {key: len(body) for key, body in bodies.items()}
    tree, state = tree_of(sizes), State(0.0, sizes)
    for path in (b"", *directories_of(tree)):
        node = look(tree, path)
        assert isinstance(node, Directory)
        seen = state.children(path.decode() + "/" if path else "")
        expected = {
            name: DIRECTORY if isinstance(below, Directory) else below
            for name, below in node.items()
        }
        assert expected == {
            name: DIRECTORY if child.is_directory else child.size for name, child in seen.items()
        }


def check(program_of: Callable[[int], Program], seed: int) -> None:
    """Run the program of *seed*; if it deviates, fail with a small one that does."""
    program = program_of(seed)
    deviation = outcome_of(program)
    if deviation is not None:
        program, deviation = _smallest(program, deviation)
        pytest.fail(
            f"{deviation}\nby the program\n{program}", pytrace=deviation.__cause__ is not None
        )


def _smallest(program: Program, deviation: Deviation) -> tuple[Program, Deviation]:
    """A smaller program that deviates in the same kind."""
    end = time.monotonic() + SHRINKING
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in smaller(program):
            if time.monotonic() > end:
                break
            found = outcome_of(candidate)
            if found is not None and found.kind == deviation.kind:
                program, deviation, is_smaller = candidate, found, True
                break
    return program, deviation

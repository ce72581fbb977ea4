"""What a mount has learned of its store, and for how long it believes that."""

import time

from s3mount.s3.operations.request_form import RequestForm
from s3mount.s3.operations.store_traits import (
    IGNORED_RANGES,
    TRIED_AGAIN_AFTER,
    USELESS_HEADS_MAX,
    StoreTraits,
)

WITHOUT_RANGES = RequestForm(ranges=False)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_the_store_refused_is_tried_again_later() -> None:
    clock = Clock()
    traits = StoreTraits(clock=clock)

    traits.learn(WITHOUT_RANGES, is_certain=True)
    assert not traits.form.ranges
    clock.now += TRIED_AGAIN_AFTER - 1
    assert not traits.form.ranges
    clock.now += 1
    assert traits.form == RequestForm()


def test_one_more_refusal_is_enough_after_that() -> None:
    clock = Clock()
    traits = StoreTraits(clock=clock)
    traits.learn(WITHOUT_RANGES, is_certain=True)
    clock.now += TRIED_AGAIN_AFTER
    assert traits.form.ranges

    traits.learn(WITHOUT_RANGES)

    assert not traits.form.ranges


def test_ignored_ranges_are_tried_again_later() -> None:
    clock = Clock()
    traits = StoreTraits(clock=clock)
    for _ in range(IGNORED_RANGES):
        traits.record_range(is_part=False)
    assert not traits.has_ranges

    clock.now += TRIED_AGAIN_AFTER

    assert traits.has_ranges
    traits.record_range(is_part=False)
    assert not traits.has_ranges


def without_heads(clock: Clock) -> StoreTraits:
    traits = StoreTraits(clock=clock)
    for _ in range(USELESS_HEADS_MAX):
        assert traits.has_heads
        traits.record_head(is_useful=False)
    return traits


def test_head_is_tried_again_later() -> None:
    clock = Clock()
    traits = without_heads(clock)

    clock.now += TRIED_AGAIN_AFTER - 1
    assert not traits.has_heads
    clock.now += 1
    assert traits.has_heads


def test_one_more_useless_head_is_enough_after_that() -> None:
    clock = Clock()
    traits = without_heads(clock)
    clock.now += TRIED_AGAIN_AFTER
    assert traits.has_heads

    traits.record_head(is_useful=False)

    assert not traits.has_heads


def test_a_useful_head_makes_up_for_all_useless_ones() -> None:
    clock = Clock()
    traits = without_heads(clock)
    clock.now += TRIED_AGAIN_AFTER
    traits.record_head(is_useful=True)

    traits.record_head(is_useful=False)

    assert traits.has_heads


def test_checksums_that_are_not_wanted_are_not_tried_again() -> None:
    clock = Clock()
    traits = StoreTraits(checksums=False, clock=clock)
    traits.learn(RequestForm(checksums=False, ranges=False), is_certain=True)

    clock.now += TRIED_AGAIN_AFTER

    assert traits.form == RequestForm(checksums=False)


def test_an_object_that_shows_an_md5_meanwhile_outweighs_a_probe() -> None:
    traits = StoreTraits()

    def probe() -> bool:
        traits.has_md5_etags = True
        return False

    assert traits.may_be_md5s(probe, time.monotonic() + 1, is_again=True)
    assert traits.has_md5_etags

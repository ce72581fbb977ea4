"""The compact map of the inode table equals a dict, and no call moves many keys."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.filesystem.namespace import compact_map
from s3mount.filesystem.namespace.compact_map import CompactMap

KEYS_MAX = 3
KEY_MAX = (1 << 64) - 1
few_keys = st.one_of(st.integers(0, 200), st.integers(0, 40).map(lambda n: n << 58 | 2))
steps = st.tuples(st.sampled_from(["put", "put", "pop", "pop all"]), few_keys)


@pytest.fixture(autouse=True)
def _small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact_map, "KEYS_MAX", KEYS_MAX)


@settings(max_examples=200)
@given(steps=st.lists(steps, max_size=120), values=st.randoms(use_true_random=False))
def test_it_has_what_a_dict_has(steps: list[tuple[str, int]], values: Random) -> None:
    compact, model = CompactMap(), dict[int, int]()
    for step, key in steps:
        if step == "put":
            model[key] = values.choice([1, 1 << 40, KEY_MAX])
            compact.put(key, model[key])
        elif step == "pop":
            assert compact.pop(key) == model.pop(key, None)
        else:  # while it is gone through
            for each in list(model)[::2]:
                assert compact.pop(each) == model.pop(each)
        assert compact.count == len(model)
        assert {each: compact.get(each) for each in (*model, key)} == {key: None, **model}


@given(keys=st.lists(st.integers(0, KEY_MAX), unique=True, max_size=300))
def test_its_buckets_follow_the_number_of_keys(keys: list[int]) -> None:
    compact = CompactMap()
    for key in keys:
        compact.put(key, key)
    assert len(compact._keys) == max(1, -(-len(keys) // KEYS_MAX))
    for left, key in enumerate(reversed(keys)):
        assert all(compact.get(each) == each for each in keys[: len(keys) - left])
        assert compact.pop(key) == key
        assert compact.get(key) is None

    assert (compact.count, len(compact._keys)) == (0, 1)

"""Hypothesis strategies for small buckets: in a tiny alphabet every kind of collision occurs."""

from hypothesis import strategies as st

keys = st.text("ab-/.", min_size=1, max_size=6)
page_sizes = st.integers(1, 3)


def bodies(max_size: int = 12) -> st.SearchStrategy[dict[str, bytes]]:
    """Generate buckets of up to *max_size* keys, and their bodies."""
    return st.dictionaries(keys, st.binary(max_size=2), max_size=max_size)

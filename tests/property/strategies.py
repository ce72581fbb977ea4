"""Small buckets: a tiny alphabet finds more than Unicode does, since everything collides in it."""

from hypothesis import strategies as st

keys = st.text("ab-/.", min_size=1, max_size=6)
page_sizes = st.integers(1, 3)


def bodies(max_size: int = 12) -> st.SearchStrategy[dict[str, bytes]]:
    """Buckets of up to *max_size* keys, and their bodies."""
    return st.dictionaries(keys, st.binary(max_size=2), max_size=max_size)

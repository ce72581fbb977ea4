"""Parallel listing shows what the listing alone shows; here it starts after few small pages."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing import (
    page_cursor,
    parallel_lister,
)
from s3mount.filesystem.namespace.inode_table import ROOT
from tests.fakes.key_order import Order, in_byte_order, in_component_order, in_no_order
from tests.fakes.memory_store import MemoryStore, Request, fail_at, hook, respond_at_once
from tests.property.kernel import Clock, answers, kernel_on, truth
from tests.property.running import run

COUNTED = [f"k{number:03}" for number in range(60)]
HASHED = [f"{number * 2654435761 % (1 << 24):06x}" for number in range(60)]
ODD = [
    f"{stem}{end}"
    for stem in ("a", "B", "é", "\U0001f600", "\udc80", "-")
    for end in ("", "0", "9.z", "~~")
]
NESTED = [f"k{number:03}{end}" for number in range(20, 50, 7) for end in ("-", "-/x", "/x")]

names = st.one_of(
    st.integers(20, 60).map(lambda count: set(COUNTED[:count])),
    st.sets(st.sampled_from(COUNTED), min_size=10),
    st.sets(st.sampled_from(HASHED), min_size=10),
    st.sets(st.sampled_from(ODD), min_size=10),
    st.sets(
        st.text(min_size=1, max_size=4).filter(lambda text: "/" not in text and "\0" not in text),
        min_size=10,
    ),
    st.sets(st.sampled_from(COUNTED + NESTED), min_size=20),
)
page_sizes = st.integers(1, 3)
orders = st.sampled_from([in_byte_order, in_component_order])
changes = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from(COUNTED + NESTED), st.booleans()), max_size=30
)


@pytest.fixture(autouse=True, scope="module")
def _few_pages_are_many() -> Iterator[None]:
    with (
        patch.object(parallel_lister, "PAGES_BEFORE", 3),
        patch.object(parallel_lister, "SEGMENT_PAGES", 3),
        patch.object(parallel_lister, "WASTE_MAX", 100),
        patch.object(page_cursor, "_SAMPLED", 1),
    ):
        yield


@given(keys=names, page_size=page_sizes, order=orders, knows_start_after=st.booleans())
def test_a_directory_is_shown_as_it_is(
    keys: set[str], page_size: int, order: Order, *, knows_start_after: bool
) -> None:
    store = MemoryStore(
        dict.fromkeys(keys, b""),
        page_size=page_size,
        order=order,
        knows_start_after=knows_start_after,
    )

    assert sorted(truth(store)) == sorted(run(lambda: _readdir(store)))


@given(
    keys=st.sets(st.sampled_from(COUNTED + HASHED), min_size=30), knows_start_after=st.booleans()
)
def test_an_unordered_store_is_shown_whole_or_not_at_all(
    keys: set[str], *, knows_start_after: bool
) -> None:
    store = MemoryStore(
        dict.fromkeys(keys, b""),
        page_size=5,
        order=in_no_order,
        knows_start_after=knows_start_after,
    )

    shown = run(lambda: answers(_readdir(store)))

    assert shown is None or sorted(truth(store)) == sorted(shown)


@given(
    keys=names, page_size=page_sizes, order=orders, failing=st.sets(st.integers(1, 60), min_size=1)
)
def test_if_requests_fail_there_is_an_error_or_the_whole_directory(
    keys: set[str], page_size: int, order: Order, failing: set[int]
) -> None:
    store = MemoryStore(
        dict.fromkeys(keys, b""), page_size=page_size, order=order, before=fail_at(*failing)
    )

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            for _ in range(3):
                shown = await answers(kernel.readdir(ROOT))
                assert shown is None or sorted(truth(store)) == sorted(name for name, _ in shown)
            store.before = respond_at_once
            assert sorted(truth(store)) == sorted(name for name, _ in await kernel.readdir(ROOT))

    run(main)


@given(keys=names, page_size=page_sizes, order=orders, changes=changes)
def test_while_it_changes_no_name_is_shown_twice_and_none_is_lost_that_stayed(
    keys: set[str], page_size: int, order: Order, changes: list[tuple[int, str, bool]]
) -> None:
    store = MemoryStore(dict.fromkeys(keys, b""), page_size=page_size, order=order)
    trees = [truth(store)]

    def change(request: Request) -> None:
        for at, key, is_there in changes:
            if at == request.number:
                store.change(key, b"" if is_there else None)
                trees.append(truth(store))

    store.before = hook(change)

    shown = run(lambda: _readdir(store))

    assert len(shown) == len(set(shown))
    assert set(trees[0]).intersection(*trees[1:]) <= set(shown) <= set().union(*trees)


async def _readdir(store: MemoryStore) -> list[bytes]:
    async with kernel_on(store, Clock()) as kernel:
        return [name for name, _ in await kernel.readdir(ROOT)]

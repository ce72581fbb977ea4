"""Which of the paths of a request a warm-up lists."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.warming.warm_up import Path, distinct

_names = st.sampled_from([b"a", b"b", b"a-", b"\xff"])
_paths = st.lists(_names, max_size=4).map(tuple)


@given(st.lists(_paths, max_size=8))
def test_each_path_is_listed_once_by_itself_or_by_one_above(paths: list[Path]) -> None:
    expected = [
        path
        for index, path in enumerate(paths)
        if path not in paths[:index]
        and not any(path[:depth] in paths for depth in range(len(path)))
    ]

    assert distinct(paths) == expected


class CountedPath(tuple[bytes, ...]):
    """Path that counts the names that are looked at."""

    __slots__ = ()
    looked_at = 0

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        CountedPath.looked_at += len(found) if isinstance(index, slice) else 1
        return found

    def __iter__(self) -> Iterator[bytes]:
        CountedPath.looked_at += len(self)
        return super().__iter__()


def test_deep_paths_are_compared_by_as_many_names_as_they_have() -> None:
    deep = [CountedPath([b"a"] * 2_000 + [b"%d" % number]) for number in range(16)]

    assert distinct(deep) == deep

    assert CountedPath.looked_at <= 4 * sum(map(len, deep))

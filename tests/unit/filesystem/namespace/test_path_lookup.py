"""A path names what the mount shows there."""

import pytest

from s3mount.errors import NotADirectory, NotFound
from s3mount.filesystem.namespace.path_lookup import PathLookup
from tests.fakes.memory_store import MemoryStore
from tests.unit.filesystem.namespace.test_tree import file_system


async def test_a_path_is_found_from_the_root_down() -> None:
    store = MemoryStore({"d/e/f": b"bytes"})
    async with file_system(store) as filesystem:
        paths = PathLookup(filesystem.tree)
        assert (await paths.find([])).is_directory
        assert (await paths.find([b"d", b"e"])).key == "d/e/"
        found = await paths.find([b"d", b"e", b"f"])
        assert found.version == (await store.head("d/e/f")).version
        assert (found.is_directory, found.storage_class) == (False, "STANDARD")


async def test_a_path_through_a_file_or_to_nothing_is_refused() -> None:
    async with file_system(MemoryStore({"f": b""})) as filesystem:
        paths = PathLookup(filesystem.tree)
        with pytest.raises(NotADirectory):
            await paths.find([b"f", b"below"])
        with pytest.raises(NotFound):
            await paths.find([b"absent"])

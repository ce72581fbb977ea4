"""Small files are prefetched in the orders in which real programs have opened those of one tree.

Each trace has the keys of a tree, with files beside directories on each level, as a program opened
them on a mount of the bucket `bucket`, where the content of an object was its own key.
"""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.prefetch.sibling_prefetcher import SiblingPrefetcher
from s3mount.filesystem.prefetch.traversal_order import TraversalOrders

TRACES = {
    path.stem: path.read_text().split() for path in (Path(__file__).parent / "traces").iterdir()
}
WAITED_MAX = 6  # files in a new order, each of which shows a little more of it


def page_of(prefix: str, keys: list[str]) -> EntryPage:
    """The directory *prefix* of a bucket of *keys*, whole."""
    below = {key[len(prefix) :] for key in keys if key.startswith(prefix)}
    directories = {name.partition("/")[0] for name in below if "/" in name}
    files = {name for name in below if "/" not in name}
    rows = [Entry(name.encode()) for name in directories]
    for name in files:
        content = f"{prefix}{name}".encode()
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        rows.append(Entry(name.encode(), len(content), 0, etag))
    return EntryPage("bucket", prefix, sorted(rows, key=lambda row: row.name), 0.0)


class Replay:
    """Replay of the opens of *keys*, whose directories are known."""

    def __init__(self, keys: list[str]) -> None:
        prefixes = {"", *(key[: at + 1] for key in keys for at, c in enumerate(key) if c == "/")}
        pages = {prefix: [page_of(prefix, keys)] for prefix in prefixes}
        self._entries = {
            page.key(at): (page, at) for [page] in pages.values() for at in range(len(page))
        }
        self._siblings = SiblingPrefetcher(TraversalOrders(lambda prefix, _: pages.get(prefix), ""))
        self.prefetched: Counter[str] = Counter()
        self.waited: list[str] = []

    def open(self, key: str) -> None:
        if key not in self.prefetched:
            self.waited.append(key)
        found = self._siblings.on_open(*self._entries[key])
        self.prefetched.update(page.key(at) for page, at in found)


@pytest.mark.parametrize("program", TRACES)
def test_a_program_that_reads_a_whole_tree_waits_for_the_first_files_only(program: str) -> None:
    replay = Replay(TRACES[program])
    for key in TRACES[program]:
        replay.open(key)

    assert len(replay.waited) <= WAITED_MAX
    assert set(TRACES[program][30:]) <= set(replay.prefetched)
    assert max(replay.prefetched.values()) <= 2  # a file that a guess had named before


@pytest.mark.parametrize("program", TRACES)
def test_two_programs_at_once_are_both_followed(program: str) -> None:
    other = TRACES["cp-a" if program != "cp-a" else "rsync-a"]
    replay = Replay(other)
    for key, beside in zip(TRACES[program], other, strict=True):
        replay.open(key)
        replay.open(beside)

    assert len(set(replay.waited)) <= 3 * WAITED_MAX

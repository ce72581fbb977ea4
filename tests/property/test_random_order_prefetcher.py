"""Prefetches for readers at random are bounded by what they read, whatever they do."""

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.prefetch.policy import SMALL
from s3mount.filesystem.prefetch.random_order_prefetcher import (
    UNREAD_BYTES,
    UNREAD_FILES,
    RandomOrderPrefetcher,
)

_SIZES = (0, 1, 10, 100, 5000, SMALL, SMALL + 1)
STEPS = 400

File = tuple[str, int]  # a prefix, and the place of the file in the listing


class Model:
    """Directories, a reader of them, and what is prefetched for it.

    A file prefetched is *unread* until it is read: also if it was forgotten meanwhile.
    """

    def __init__(self, rng: random.Random, memory: int) -> None:
        self.rng = rng
        self.sizes = {
            f"{number}/": rng.choices(_SIZES, k=rng.choice((1, 5, 30, 120)))
            for number in range(rng.randint(1, 6))
        }
        self.pages = {prefix: self.listed(prefix) for prefix in self.sizes}
        self.archived: set[File] = {file for file in self.files() if not rng.randrange(10)}
        self.unknown: set[str] = set()
        self.policy = RandomOrderPrefetcher(self._pages_of, self._may_prefetch, memory)
        self.unread: dict[File, int] = {}
        self.files_read = self.octets_read = 0
        self.prefetched: list[File] = []
        self.opened: list[File] = []

    def files(self) -> list[File]:
        return [(prefix, at) for prefix, sizes in self.sizes.items() for at in range(len(sizes))]

    def listed(self, prefix: str) -> Sequence[EntryPage]:
        rows = [Entry(b"%03d" % at, size, 0, "e") for at, size in enumerate(self.sizes[prefix])]
        return [EntryPage("b", prefix, rows[at : at + 50], 0.0) for at in range(0, len(rows), 50)]

    def open(self, file: File, room: int) -> None:
        """Open *file*; there is room for *room* prefetches."""
        prefix, at = file
        self.opened.append(file)
        for page, index in self.policy.on_open(self.pages[prefix][at // 50], at % 50):
            assert page.prefix not in self.unknown
            assert page in self.pages[page.prefix]
            if not room:
                return
            room -= 1
            found = page.prefix, self.pages[page.prefix].index(page) * 50 + index
            assert found not in self.archived
            assert 0 < page.sizes[index] <= SMALL
            self.prefetched.append(found)
            self.unread[found] = page.sizes[index]

    def read(self, file: File) -> None:
        prefix, at = file
        page = self.pages[prefix][at // 50]
        self.policy.on_read(page.inode(at % 50), page.sizes[at % 50])
        self.unread.pop(file, None)
        if 0 < page.sizes[at % 50] <= SMALL:
            self.files_read += 1
            self.octets_read += page.sizes[at % 50]

    def check(self) -> None:
        assert len(self.unread) <= UNREAD_FILES * self.files_read
        assert sum(self.unread.values()) <= UNREAD_BYTES * self.octets_read

    def _pages_of(self, prefix: str, most: int) -> Sequence[EntryPage] | None:
        pages = self.pages[prefix]
        return pages if prefix not in self.unknown and sum(map(len, pages)) <= most else None

    def _may_prefetch(self, page: EntryPage, index: int) -> bool:
        return (
            page.prefix,
            self.pages[page.prefix].index(page) * 50 + index,
        ) not in self.archived


@given(st.integers(0), st.sampled_from((1 << 10, 1 << 20, 1 << 30)), st.integers(1, 40))
def test_what_is_prefetched_in_vain_is_bounded_by_what_was_read(
    seed: int, memory: int, often: int
) -> None:
    """A reader opens, opens again, skips reads; listings are renewed and forgotten."""
    rng = random.Random(seed)
    model = Model(rng, memory)
    files = model.files()
    rng.shuffle(files)
    for _ in range(STEPS):
        prefix = rng.choice([*model.sizes])
        match rng.randrange(4 * often):
            case 0:
                model.pages[prefix] = model.listed(prefix)
            case 1:
                model.unknown ^= {prefix}
            case 2 if model.opened:
                model.open(rng.choice(model.opened), rng.randrange(9))
            case 3 if files:
                model.open(rng.choice(files), rng.randrange(9))
            case 4 if model.opened:
                model.read(rng.choice(model.opened))
            case step if files:
                model.open(file := files.pop(), 99)
                if step % 8:
                    model.read(file)
            case _:
                files = model.files()
                rng.shuffle(files)
        model.check()


@given(st.integers(0), st.integers(1, 16))
def test_a_reader_at_random_has_no_file_prefetched_twice_nor_once_it_was_opened(
    seed: int, workers: int
) -> None:
    """Several workers open files while others read theirs; too few to judge by their hits."""
    rng = random.Random(seed)
    model = Model(rng, 1 << 30)
    model.sizes = {"d/": rng.choices(_SIZES[1:], k=400)}
    model.pages = {"d/": model.listed("d/")}
    files = model.files()
    rng.shuffle(files)
    for number, file in enumerate(files[:60]):
        before = len(model.prefetched)
        model.open(file, rng.choice((0, 2, 99)))
        assert not {*model.opened} & {*model.prefetched[before:]}
        if number >= workers:
            model.read(files[number - workers])
        model.check()

    assert len(model.prefetched) == len({*model.prefetched})

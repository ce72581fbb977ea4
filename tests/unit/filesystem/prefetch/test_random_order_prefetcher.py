import random
from collections.abc import Iterable, Sequence

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.prefetch.policy import SMALL
from s3mount.filesystem.prefetch.random_order_prefetcher import (
    PAUSE_MIN,
    REOPENED_WITHIN,
    UNREAD_BYTES,
    RandomOrderPrefetcher,
)
from s3mount.filesystem.prefetch.traversal_order import EntryRef

MEMORY = 256 << 20
EVIDENCE = 40  # opens at random, more than enough to tell


def page_of(count: int, prefix: str = "d/", size: int = 100) -> EntryPage:
    return EntryPage(
        "bucket", prefix, [Entry(b"%05d" % index, size, 0, "e") for index in range(count)], 0.0
    )


def shuffled(*pages: EntryPage) -> list[EntryRef]:
    files = [EntryRef(page, at) for page in pages for at in range(len(page))]
    random.Random(0).shuffle(files)
    return files


class Reader:
    """Reader that opens files of *pages*, and reads them; their directories are known whole."""

    def __init__(
        self,
        *pages: EntryPage,
        memory: int = MEMORY,
        is_whole: bool = True,
        kept_back: Sequence[EntryRef] = (),
    ) -> None:
        self.directories = {page.prefix: [page] for page in pages}
        self.is_whole = is_whole
        self.policy = RandomOrderPrefetcher(
            self._pages_of, lambda page, at: EntryRef(page, at) not in kept_back, memory
        )
        self.prefetched: list[EntryRef] = []

    def open(self, file: EntryRef, *, is_read: bool = True) -> list[EntryRef]:
        """Open a file, and read it; the files prefetched for that."""
        found = list(self.policy.on_open(*file))
        self.prefetched += found
        if is_read:
            self.policy.on_read(file.page.inode(file.at), file.page.sizes[file.at])
        return found

    def open_all(self, files: Iterable[EntryRef], *, is_read: bool = True) -> list[EntryRef]:
        return [found for file in files for found in self.open(file, is_read=is_read)]

    def _pages_of(self, prefix: str, most: int) -> Sequence[EntryPage] | None:
        pages = self.directories.get(prefix)
        return pages if pages and self.is_whole and sum(map(len, pages)) <= most else None


def test_files_opened_at_random_have_others_prefetched() -> None:
    page = page_of(1000)
    files = shuffled(page)
    reader = Reader(page)
    reader.open_all(files[:EVIDENCE])

    assert len(reader.prefetched) > EVIDENCE
    assert not {*reader.prefetched} & {*files[: EVIDENCE // 4]}


def test_each_file_read_once_at_random_is_prefetched_once_or_opened_before() -> None:
    pages = [page_of(100, f"{number}/") for number in range(10)]
    files = shuffled(*pages)
    reader = Reader(*pages)
    opened: set[EntryRef] = set()
    misses = 0
    for file in files:
        misses += file not in reader.prefetched
        opened.add(file)
        assert not opened & {*reader.open(file)}

    assert len(reader.prefetched) == len({*reader.prefetched})
    assert misses < len(files) // 3


def test_small_directories_opened_at_random_are_prefetched_too() -> None:
    pages = [page_of(10, f"{number:03}/") for number in range(100)]
    reader = Reader(*pages)
    reader.open_all(shuffled(*pages))

    assert len(reader.prefetched) > 500


def test_files_opened_by_name_or_by_inode_number_are_not_prefetched_here() -> None:
    page = page_of(1000)
    by_name = [EntryRef(page, at) for at in range(len(page))]
    by_inode = sorted(by_name, key=lambda file: file.page.inode(file.at))
    for order in (by_name, by_inode, by_name[::-1]):
        assert Reader(page).open_all(order) == []


def test_workers_that_open_files_a_little_out_of_order_are_no_random_reader() -> None:
    page = page_of(1000)
    files = [EntryRef(page, at + offset) for at in range(0, 1000, 4) for offset in (1, 0, 3, 2)]

    assert Reader(page).open_all(files) == []


def test_a_few_files_chosen_at_random_have_a_bounded_number_prefetched() -> None:
    page = page_of(10_000)
    reader = Reader(page)
    reader.open_all(shuffled(page)[:20])

    assert 0 < len(reader.prefetched) <= UNREAD_BYTES * 20


def test_files_that_are_opened_and_not_read_have_none_prefetched() -> None:
    page = page_of(1000)
    reader = Reader(page)

    assert reader.open_all(shuffled(page), is_read=False) == []


def test_a_second_epoch_that_the_kernel_serves_has_none_prefetched() -> None:
    page = page_of(1000)
    reader = Reader(page)
    reader.open_all(shuffled(page))
    reader.prefetched.clear()
    reader.open_all(reversed(shuffled(page)), is_read=False)

    assert reader.prefetched == []


def test_a_file_opened_again_later_ends_the_run() -> None:
    page = page_of(1000)
    files = shuffled(page)
    reader = Reader(page)
    reader.open_all(files[: REOPENED_WITHIN + EVIDENCE])

    assert reader.open(files[0]) == []
    assert reader.open_all(files[-3:]) == []  # too few to tell


def test_a_program_that_opens_each_file_twice_at_once_has_files_prefetched() -> None:
    page = page_of(1000)
    files = shuffled(page)[:200]
    reader = Reader(page)
    reader.open_all(file for file in files for _ in range(2))

    assert len(reader.prefetched) > 200


def test_a_reader_that_opens_no_prefetched_file_ends_the_run_and_is_followed_by_a_pause() -> None:
    page = page_of(1000)
    files = shuffled(page)
    reader = Reader(page)
    found: list[EntryRef] = []
    while found or not reader.prefetched:
        found = reader.open(files.pop(0))
        files = [each for each in files if each not in reader.prefetched]

    assert len(reader.prefetched) < 250
    assert reader.open_all(files[: PAUSE_MIN - 2]) == []


def test_only_directories_known_whole_have_files_prefetched() -> None:
    page = page_of(1000)

    assert Reader(page, is_whole=False).open_all(shuffled(page)[:100]) == []


def test_files_that_may_not_be_prefetched_are_left_out() -> None:
    page = page_of(100)
    archived = [EntryRef(page, at) for at in range(0, 100, 2)]
    reader = Reader(page, kept_back=archived)
    reader.open_all(shuffled(page))

    assert reader.prefetched
    assert not {*reader.prefetched} & {*archived}


def test_large_and_empty_files_and_directories_are_left_out() -> None:
    sizes = [1, 0, SMALL + 1, -1] * 100
    rows = [Entry(b"%03d" % number, size, 0, "e") for number, size in enumerate(sizes)]
    page = EntryPage("bucket", "d/", rows, 0.0)
    files = [file for file in shuffled(page) if page.sizes[file.at] >= 0]
    reader = Reader(page)
    reader.open_all(files)

    assert reader.prefetched
    assert {page.sizes[at] for page, at in reader.prefetched} == {1}


def test_more_than_half_the_memory_has_none_prefetched_until_less_is_left() -> None:
    page = page_of(1000, size=1000)
    files = shuffled(page)
    reader = Reader(page, memory=1_000_000)

    assert reader.open_all(files[:499]) == []
    assert reader.open_all(files[499:])


def test_a_directory_listed_anew_is_prefetched_by_its_new_entries() -> None:
    page, renewed = page_of(1000), page_of(1000)
    files = shuffled(page)
    reader = Reader(page)
    reader.open_all(files[:100])
    reader.directories["d/"] = [renewed]
    found = reader.open_all(EntryRef(renewed, at) for _, at in files[100:200])

    assert found
    assert all(each.page is renewed for each in found)
    assert not {at for _, at in found} & {at for _, at in files[:100]}


def test_a_file_without_room_is_returned_again() -> None:
    page = page_of(1000)
    files = shuffled(page)
    reader = Reader(page)
    for file in files[:EVIDENCE]:
        next(iter(reader.policy.on_open(*file)), None)  # there is no room for it
        reader.policy.on_read(page.inode(file.at), page.sizes[file.at])
    first = next(iter(reader.policy.on_open(*files[EVIDENCE])))

    assert next(iter(reader.policy.on_open(*files[EVIDENCE + 1]))) == first

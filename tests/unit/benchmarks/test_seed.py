"""The objects are what the rows say they are."""

from benchmarks.content import KIB, MIB, PAGE, SEARCHED, Body, body
from benchmarks.datasets import DATASETS
from benchmarks.row import GENERATED
from benchmarks.rows import ROWS


def names(dataset: str) -> list[str]:
    return [key for key, _ in DATASETS[dataset].objects()]


def directories(dataset: str) -> set[str]:
    found: set[str] = set()
    for key in names(dataset):
        parts = key.split("/")[:-1]
        found |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    return found


def test_no_name_is_used_twice() -> None:
    for dataset in DATASETS:
        assert len(set(names(dataset))) == len(names(dataset))


def test_the_tree_has_10000_objects_below_1100_directories() -> None:
    assert len(names("tree")) == 10_000
    assert len(directories("tree") - {"tree"}) == 1_100


def test_the_mixed_tree_has_files_beside_directories_on_each_level() -> None:
    parents = {key.rpartition("/")[0] for key in names("mixed")}

    assert len(names("mixed")) == 10_000
    assert len(directories("mixed") - {"mixed"}) == 1_100
    assert parents == directories("mixed")


def test_each_object_of_the_mixed_tree_has_the_bytes_that_are_searched() -> None:
    sizes = [size for _, size in DATASETS["mixed"].objects()]

    assert SEARCHED in body(0, min(sizes))
    assert not {0, ord("\n")} & set(SEARCHED)


def test_the_deep_tree_is_100_levels_deep() -> None:
    assert max(key.count("/") for key in names("deep")) == 100


def test_the_small_files_are_27_mib_of_half_a_kilobyte_to_300() -> None:
    sizes = [size for _, size in DATASETS["small"].objects()]

    assert (min(sizes), max(sizes)) == (500, 300_000)
    assert round(sum(sizes) / MIB) == 27


def test_every_page_begins_with_its_offset() -> None:
    assert body(3 * PAGE, 5 * PAGE + 100)[PAGE : PAGE + 8] == (4 * PAGE).to_bytes(8, "little")


def test_an_object_is_the_same_in_parts_as_whole() -> None:
    parts, size = Body(300 * KIB + 7), 300 * KIB + 7

    assert b"".join(iter(lambda: parts.read(64 * KIB), b"")) == body(0, size)


def test_every_row_looks_at_objects_that_are_seeded() -> None:
    assert {row.dataset for row in ROWS} == set(DATASETS) | GENERATED

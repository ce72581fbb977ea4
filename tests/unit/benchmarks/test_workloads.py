"""Workloads see on a local folder what their rows require of a mount, and find wrong bytes."""

from pathlib import Path

import pytest

from benchmarks import inputs
from benchmarks.content import body
from benchmarks.rows import ROWS
from benchmarks.workload_process import workload_report
from benchmarks.workloads import WORKLOADS

SIZES = (500, 3_000, 300_000)


def write_files(folder: Path) -> None:
    """Write a file of each size on two levels."""
    for directory in (folder, folder / "below"):
        directory.mkdir(parents=True)
        for size in SIZES:
            (directory / f"file-{size}").write_bytes(body(0, size))


@pytest.mark.parametrize("workload", ["tar_tree", "cp_tree", "rsync_tree"])
def test_a_copy_of_a_tree_is_counted_in_bytes(workload: str, tmp_path: Path) -> None:
    write_files(tmp_path / "mixed")

    assert workload_report(workload, tmp_path)["seen"] == 2 * sum(SIZES)


@pytest.mark.parametrize(
    ("workload", "folder"), [("tar_tree", "mixed"), ("cp_tree", "mixed"), ("shuffle", "small")]
)
def test_a_wrong_byte_fails(workload: str, folder: str, tmp_path: Path) -> None:
    write_files(tmp_path / folder)
    (tmp_path / folder / "wrong").write_bytes(body(0, 5_000)[:-1] + b"\0")

    with pytest.raises(RuntimeError, match="wrong bytes in"):
        workload_report(workload, tmp_path)


def test_a_search_finds_each_file(tmp_path: Path) -> None:
    write_files(tmp_path / "mixed")
    (tmp_path / "mixed" / "wrong").write_bytes(bytes(1_000))

    assert workload_report("grep_tree", tmp_path)["seen"] == 2 * len(SIZES)


def test_processes_read_each_file_once(tmp_path: Path) -> None:
    write_files(tmp_path / "small")

    assert workload_report("shuffle", tmp_path)["seen"] == 2 * sum(SIZES)


@pytest.mark.parametrize(
    ("workload", "dataset", "seen"),
    [("unzip", "zipped", inputs.MEMBERS), ("tar_list", "tarred", inputs.ARCHIVED)],
)
def test_a_program_sees_its_input(workload: str, dataset: str, seen: int, tmp_path: Path) -> None:
    folder = tmp_path / dataset
    folder.mkdir()
    inputs.INPUTS[dataset](folder)

    assert workload_report(workload, tmp_path)["seen"] == seen


def test_every_row_has_a_workload() -> None:
    named = {row.workload for row in ROWS} | {row.yardstick[1] for row in ROWS if row.yardstick}

    assert named - {"start"} <= set(WORKLOADS)

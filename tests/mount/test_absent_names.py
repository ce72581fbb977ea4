"""Names that are not there, and the kernel that remembers it for as long as it was told, and no longer."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.filesystem_access import failure_of, read_file, wait_until
from tests.mount.memory_mount import Told, memory_mount

ASKED = 1000


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with memory_mount(tmp_path / "mount", "--metadata-ttl", "3600") as made:
        made.tell("put", "d/file", "bytes")
        yield made


def ask(told: Told, name: str) -> set[str]:
    return {failure_of(lambda: os.stat(told / name)) for _ in range(ASKED)}


def test_an_absent_name_is_asked_for_once(told: Told) -> None:
    os.stat(told / "d")
    before = told.tell("lookups")

    assert ask(told, "d/absent") == {"ENOENT"}
    assert told.tell("lookups") == before + 1


@pytest.mark.parametrize("option", ["--metadata-ttl", "--negative-ttl"])
def test_without_a_lifetime_nothing_is_remembered(tmp_path: Path, option: str) -> None:
    with memory_mount(tmp_path / "mount", option, "0") as told:
        told.tell("put", "d/file", "bytes")

        assert failure_of(lambda: os.stat(told / "d/absent")) == "ENOENT"
        told.tell("put", "d/absent", "here")
        assert read_file(told / "d/absent") == b"here"


@pytest.mark.parametrize("name", ["absent", "d/absent"])
def test_a_refresh_shows_what_was_absent(told: Told, name: str) -> None:
    assert failure_of(lambda: os.stat(told / name)) == "ENOENT"
    told.tell("put", name, "here")
    assert failure_of(lambda: os.stat(told / name)) == "ENOENT"

    os.kill(told.mount.process.pid, signal.SIGHUP)

    wait_until((told / name).exists)
    assert read_file(told / name) == b"here"


def test_a_refresh_shows_what_is_new_beside_open_files(told: Told) -> None:
    assert failure_of(lambda: os.stat(told / "d/absent")) == "ENOENT"
    with open(told / "d/file", "rb"):  # which holds the directory in the kernel
        told.tell("put", "d/absent", "here")
        told.tell("put", "d/file", "changed")

        os.kill(told.mount.process.pid, signal.SIGHUP)

        wait_until((told / "d/absent").exists)
        wait_until(lambda: (told / "d/file").stat().st_size == len("changed"))


def test_a_listing_takes_back_what_was_absent(tmp_path: Path) -> None:
    options = ("--metadata-ttl", "1", "--negative-ttl", "3600")
    with memory_mount(tmp_path / "mount", *options) as told:
        told.tell("put", "d/file", "bytes")
        assert failure_of(lambda: os.stat(told / "d/absent")) == "ENOENT"
        told.tell("put", "d/absent", "here")

        wait_until(lambda: os.listdir(told / "d") == ["absent", "file"])

        assert read_file(told / "d/absent") == b"here"

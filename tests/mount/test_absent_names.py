"""Absent names, which the kernel caches for their lifetime and no longer."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.filesystem_access import failure_of, read_file
from tests.mount.memory_mount import ControlledMount, memory_mount
from tests.waiting import wait_until

ASKED = 1000


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[ControlledMount]:
    with memory_mount(tmp_path / "mount", "--metadata-ttl", "3600") as made:
        made.command("put", "d/file", "bytes")
        yield made


def ask(mount: ControlledMount, name: str) -> set[str]:
    return {failure_of(lambda: os.stat(mount / name)) for _ in range(ASKED)}


def test_an_absent_name_is_looked_up_once(mount: ControlledMount) -> None:
    os.stat(mount / "d")
    before = mount.command("lookups")

    assert ask(mount, "d/absent") == {"ENOENT"}
    assert mount.command("lookups") == before + 1


@pytest.mark.parametrize("option", ["--metadata-ttl", "--negative-ttl"])
def test_without_a_negative_lifetime_no_absence_is_cached(tmp_path: Path, option: str) -> None:
    with memory_mount(tmp_path / "mount", option, "0") as mount:
        mount.command("put", "d/file", "bytes")

        assert failure_of(lambda: os.stat(mount / "d/absent")) == "ENOENT"
        mount.command("put", "d/absent", "here")
        assert read_file(mount / "d/absent") == b"here"


@pytest.mark.parametrize("name", ["absent", "d/absent"])
def test_a_refresh_shows_what_was_absent(mount: ControlledMount, name: str) -> None:
    assert failure_of(lambda: os.stat(mount / name)) == "ENOENT"
    mount.command("put", name, "here")
    assert failure_of(lambda: os.stat(mount / name)) == "ENOENT"

    os.kill(mount.mount.process.pid, signal.SIGHUP)

    wait_until((mount / name).exists)
    assert read_file(mount / name) == b"here"


def test_a_refresh_shows_what_is_new_beside_open_files(mount: ControlledMount) -> None:
    assert failure_of(lambda: os.stat(mount / "d/absent")) == "ENOENT"
    with open(mount / "d/file", "rb"):  # an open file keeps the directory in the kernel
        mount.command("put", "d/absent", "here")
        mount.command("put", "d/file", "changed")

        os.kill(mount.mount.process.pid, signal.SIGHUP)

        wait_until((mount / "d/absent").exists)
        wait_until(lambda: (mount / "d/file").stat().st_size == len("changed"))


def test_a_listing_ends_cached_absences(tmp_path: Path) -> None:
    options = ("--metadata-ttl", "1", "--negative-ttl", "3600")
    with memory_mount(tmp_path / "mount", *options) as mount:
        mount.command("put", "d/file", "bytes")
        assert failure_of(lambda: os.stat(mount / "d/absent")) == "ENOENT"
        mount.command("put", "d/absent", "here")

        wait_until(lambda: os.listdir(mount / "d") == ["absent", "file"])

        assert read_file(mount / "d/absent") == b"here"

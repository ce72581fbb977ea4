"""Programs that read whole trees of small files, with files beside directories on each level.

While a program waits for one file, in the middle, the files that it opens next are requested: those
of the next directories, too.
"""

import subprocess
from pathlib import Path

import pytest

from tests.mount.memory_mount import ControlledMount, memory_mount
from tests.waiting import wait_until

DIRECTORIES = [f"{a}-above/" for a in range(6)]
DIRECTORIES += [f"{above}{b}-below/" for above in DIRECTORIES for b in range(5)]
# files stand before, between and behind the directories in listings
KEYS = [f"{prefix}{n}-file" for prefix in ["", *DIRECTORIES] for n in range(6)]
HELD = "3-above/2-below/3-file"
AHEAD = 60  # files

PROGRAMS = {
    "tar": "tar -cf- -C {mount} . | wc -c",
    "grep -r": "grep -rl file {mount}",
    "cp -a": "cp -a {mount} {copy}",
    "rsync -a": "rsync -a {mount}/ {copy}",
    "cat by find": "find {mount} -type f -print0 | xargs -0 cat",
}


def requested(mount: ControlledMount) -> list[str]:
    """Return the keys of the files that were requested since the last time."""
    return [key for kind, key, *_ in mount.command("requests") if kind == "GET"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_files_of_the_next_directories_are_requested_ahead(
    tmp_path: Path, program: str
) -> None:
    with memory_mount(tmp_path / "mnt") as mount:
        for key in KEYS:
            mount.command("put", key, key)
        mount.command("requests")
        mount.command("hold", HELD)
        command = PROGRAMS[program].format(mount=mount.path, copy=tmp_path / "copy")
        with subprocess.Popen(["sh", "-c", command], stdout=subprocess.DEVNULL) as process:
            gets: list[str] = []

            def has_come_to_the_held_file() -> bool:
                gets.extend(requested(mount))
                at = gets.index(HELD) if HELD in gets else len(KEYS)
                return len(gets) > min(at + AHEAD, len(KEYS) - 1)

            wait_until(has_come_to_the_held_file)
            mount.command("release")
            assert process.wait() == 0
        gets += requested(mount)

    assert sorted(gets) == sorted(KEYS)  # each once

"""The kernel's mount table, parsed as bytes: a path may contain anything."""

import os
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.daemon.mounting.mount_table import (
    MountEntry,
    mount_at,
    mount_entries,
    mount_id,
    mount_of,
)

TABLE: Final = rb"""
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
51 22 0:54 / /mnt/with\040space ro,nosuid,nodev - fuse.s3mount s3://b\040c ro,user_id=0,group_id=0
52 51 0:55 / /mnt/with\040space rw master:2 propagate_from:3 - tmpfs tmpfs rw
""".lstrip()

ESCAPED: Final = (
    b" \t\n\\"  # what the kernel writes in octal, see seq_path(9) and fs/proc_namespace.c
)

# all that splitlines and split() take for an end of a line or of a word, and what no UTF-8 is
STRANGE: Final = [
    b"\f",
    b"\v",
    b"\x1c",
    b"\x1d",
    b"\x1e",
    b"\x85",
    "\u0085".encode(),
    "\u2028".encode(),
    b"\xff\xfe",
    b"-",
]
NAMES: Final = st.one_of(
    st.binary(min_size=1, max_size=20),
    st.lists(
        st.sampled_from([*STRANGE, b" ", b"\n", b"\t", b"\\", b"\\040", b"a"]), min_size=1
    ).map(b"".join),
).filter(lambda name: not {0, ord("/")} & {*name})


def escaped(text: bytes) -> bytes:
    return b"".join(b"\\%03o" % byte if byte in ESCAPED else bytes((byte,)) for byte in text)


def test_lines_of_the_mount_table_are_parsed_as_in_proc_5() -> None:
    assert [*mount_entries(TABLE)] == [
        MountEntry(22, "254:1", "/", "ext4", "/dev/vda1"),
        MountEntry(51, "0:54", "/mnt/with space", "fuse.s3mount", "s3://b c", 0),
        MountEntry(52, "0:55", "/mnt/with space", "tmpfs", "tmpfs"),
    ]


@given(st.lists(st.tuples(NAMES, NAMES, NAMES)))
def test_each_mount_is_one_entry_with_its_path_for_any_names(
    names: list[tuple[bytes, bytes, bytes]],
) -> None:
    lines = [
        b"%d 1 0:%d /%s /mnt/%s rw shared:1 - fuse.%s %s rw\n"
        % (number, number, escaped(path), escaped(path), escaped(subtype), escaped(source))
        for number, (path, subtype, source) in enumerate(names)
    ]

    entries = [*mount_entries(b"".join(lines))]

    assert entries == [
        MountEntry(
            number,
            f"0:{number}",
            "/mnt/" + os.fsdecode(path),
            "fuse." + os.fsdecode(subtype),
            os.fsdecode(source),
            root="/" + os.fsdecode(path),
        )
        for number, (path, subtype, source) in enumerate(names)
    ]
    assert [os.fsencode(entry.path) for entry in entries] == [
        b"/mnt/" + path for path, _, _ in names
    ]


def test_the_topmost_mount_is_found_and_a_plain_directory_is_none(tmp_path: Path) -> None:
    found = mount_at("/proc")

    assert found is not None
    assert found.fstype == "proc"
    assert mount_at(str(tmp_path)) is None


def test_the_mount_of_a_descriptor_is_found() -> None:
    descriptor = os.open("/proc", os.O_PATH)

    found = mount_of(mount_id(descriptor))
    os.close(descriptor)

    assert found == mount_at("/proc")


def test_a_mount_that_is_gone_is_none() -> None:
    assert mount_of(2**31) is None


@pytest.mark.parametrize("path", ["/proc", "/"])
def test_a_path_is_found_exactly(path: str) -> None:
    assert mount_at(path) is not None
    assert mount_at(path + "x") is None

"""Names of any bytes: shown unchanged, or hidden as the reference model says, or escaped.

Every hostile key is tried on every server. A table lists the keys that a server cannot hold, and
the test fails if it is wrong in either direction.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3mount.s3.views.key_escape import key_of
from tests.mount.buckets import fill_as_far_as_it_can
from tests.mount.filesystem_access import read_file, read_tree
from tests.mount.mount_process import Mount, mount_of
from tests.reference import Directory, directories_of, files_of, tree_of
from tests.servers import S3Server

CONTROLS = ["tab\there", "line\nfeed", "return\rhere", "one\x01", "escape\x1b[31m", "delete\x7f"]
SIGNS = [
    *(
        "a space",
        " leading",
        "trailing ",
        "plus+plus",
        "per%41cent",
        "percent%",
        "%2F",
        "%zz",
        "qu'ote",
        'double"quote',
    ),
    *(
        "back\\slash",
        "<tag>&amp;",
        "&",
        "a:b",
        "semi;colon",
        "e=mc2&x=y",
        "#hash",
        "who?",
        "*?[x]",
        "~tilde",
        "-dash",
    ),
    *("$(true)", "`true`", "{brace}", "|pipe", "^", "!", "@", ",", "(round)", "^caret^", "a;b"),
]
UNICODE = [
    *(
        "caf\u00e9",
        "cafe\u0301",
        "\u00dcn\u00efcode/p\u00e4th/f\u00efle",
        "\u65e5\u672c\u8a9e",
        "\u0440\u0443\u0441\u0441\u043a\u0438\u0439",
    ),
    *(
        "\U0001f389",
        "\u2028separator",
        "\ufeffmark",
        "\u202eright-to-left",
        "\ud7ff",
        "\ue000private",
        "\U0010ffff",
        "\u00a0",
    ),
]
CASES = ["Case", "case", "CASE", "dIr/x", "DiR/x"]
DOTS = [".hidden", "..two", "...", "....", "a..", "a.", ".git/config", "..a/b", "deep/.../x"]
LENGTHS = [
    "x" * 255,
    "\u00e9" * 127,
    "d/" + "y" * 255,
    "/".join(["p" * 100] * 9),
    "/".join("0123456789" * 9),
]
TOO_LONG = ["x" * 256, "\u00e9" * 128, "long/" + "z" * 256 + "/f", "long/" + "w" * 256, "long/fits"]
HIDDEN = [
    "e//b",
    "f/./b",
    "g/../b",
    "h//",
    "/x",
    "//y",
    "i/j//k",
    "nul\0",
    "l/nul\0/b",
    "../up",
    "./here",
    ".",
    "..",
    "m/.",
    "n/..",
]
MARKERS = ["marker/", "nested/marker/", "with-marker/", "with-marker/file"]
SHADOWS = [
    "s",
    "s/t",
    "u/v",
    "u/v/w",
    "u/v/w/x",
    "dir/x",
    "dir-1/x",
    "dir.txt",
    "dir0",
    "k",
    "k/",
    "k-1",
    "k.1/x",
]

ESCAPES = [
    *("%file=", "%file=a", "%file=%file=a", "%dir=/x", "%long=a/b", "esc/%file=s", "esc/s"),
    *("v" * 250 + "/" + "w" * 251, "v" * 249, "%00%25"),
]

ALL = [
    *(*CONTROLS, *SIGNS, *UNICODE, *CASES, *DOTS, *LENGTHS, *TOO_LONG, *HIDDEN, *MARKERS, *SHADOWS),
    *ESCAPES,
]

_NO_PATHS = {"f/./b", "g/../b", "../up", "./here", ".", "..", "m/.", "n/.."}
_NO_LEAVES = {"x" * 256, "\u00e9" * 128, "long/" + "w" * 256}
REFUSED: Mapping[str, AbstractSet[str]] = {
    "seaweedfs": {*_NO_PATHS, *_NO_LEAVES, "nul\0", "l/nul\0/b", "k/"},
    "moto": {"line\nfeed"},
    "rclone": {
        *_NO_PATHS,
        "e//b",
        "/x",
        "//y",
        "i/j//k",
        "long/" + "z" * 256 + "/f",
        "s/t",
        "u/v/w",
        "u/v/w/x",
    },
    "versitygw": {
        *_NO_LEAVES,
        *("long/" + "z" * 256 + "/f", "nul\0", "l/nul\0/b", "../up", ".", "..", "n/.."),
        *("s/t", "u/v/w", "u/v/w/x", "k/"),
    },
    "gofakes3": set(),
}
HELD_AS: Mapping[str, Mapping[str, str]] = {  # another key than the one that was put
    "seaweedfs": {
        "e//b": "e/b",
        "h//": "h/",
        "/x": "x",
        "//y": "y",
        "i/j//k": "i/j/k",
        "back\\slash": "back/slash",
    },
    "moto": {},
    "rclone": {
        "marker/": "marker",
        "nested/marker/": "nested/marker",
        "with-marker/": "with-marker",
        "h//": "h",
        "k/": "k",
    },
    "versitygw": {
        "e//b": "e/b",
        "f/./b": "f/b",
        "g/../b": "b",
        "h//": "h/",
        "/x": "x",
        "//y": "y",
        "i/j//k": "i/j/k",
        "./here": "here",
        "m/.": "m",
    },
    "gofakes3": {},
}
_NOT_IN_XML = {"one\x01", "escape\x1b[31m"}
NOT_TRIED: Mapping[str, AbstractSet[str]] = {  # listed under names that GET then does not find
    "seaweedfs": set(),
    "moto": set(),
    "rclone": {*_NO_LEAVES, "nul\0", "l/nul\0/b", "with-marker/file"},
    "versitygw": _NOT_IN_XML,
    # keys that begin with a slash are listed without it, as a common prefix
    "gofakes3": {*_NOT_IN_XML, "nul\0", "l/nul\0/b", "/x", "//y"},
}


@dataclass(frozen=True)
class ShownKeys:
    """Mount of all keys that a server could hold, and the reference model's tree of them."""

    mount: Mount
    bucket: str
    bodies: Mapping[str, bytes]
    tree: Directory[bytes]

    @property
    def files(self) -> dict[str, bytes]:
        """All objects but empty markers, which are directories."""
        return {key: body for key, body in self.bodies.items() if body or key[-1] != "/"}


@pytest.fixture(scope="module")
def shown(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShownKeys]:
    bucket, held = fill_as_far_as_it_can(
        server, [key for key in ALL if key not in NOT_TRIED[server.name]]
    )
    with mount_of(server, bucket, tmp_path_factory.mktemp("names") / "mnt") as mount:
        yield ShownKeys(mount, bucket, held, tree_of(held))


def test_the_server_holds_every_key_but_those_that_it_is_known_to_refuse_or_change(
    server: S3Server, shown: ShownKeys
) -> None:
    changed = HELD_AS[server.name]
    expected = {
        changed.get(key, key)
        for key in ALL
        if key not in REFUSED[server.name] | NOT_TRIED[server.name]
    }

    assert shown.bodies.keys() == expected


def test_walking_shows_exactly_the_tree_of_the_reference_model(shown: ShownKeys) -> None:
    assert read_tree(shown.mount.path) == shown.tree


def test_each_name_is_found_before_any_listing(
    server: S3Server, tmp_path: Path, shown: ShownKeys
) -> None:
    with mount_of(server, shown.bucket, tmp_path / "mnt") as mount:
        for path, body in files_of(shown.tree):
            assert os.stat(os.path.join(os.fsencode(mount.path), path)).st_size == len(body), path
        for path in directories_of(shown.tree):
            assert stat.S_ISDIR(os.stat(os.path.join(os.fsencode(mount.path), path)).st_mode), path


def test_with_show_hidden_the_files_of_a_walk_are_the_objects_of_the_bucket(
    server: S3Server, tmp_path: Path, shown: ShownKeys
) -> None:
    with mount_of(server, shown.bucket, tmp_path / "mnt", "--show-hidden") as mount:
        found = [(_key_of(path), body) for path, body in files_of(read_tree(mount.path))]

    assert sorted(found) == sorted(shown.files.items())


def test_with_show_hidden_each_object_is_read_before_any_listing(
    server: S3Server, tmp_path: Path, shown: ShownKeys
) -> None:
    with mount_of(server, shown.bucket, tmp_path / "first", "--show-hidden") as mount:
        paths = [path for path, _ in files_of(read_tree(mount.path))]
    with mount_of(server, shown.bucket, tmp_path / "mnt", "--show-hidden") as mount:
        for path in reversed(paths):
            body = read_file(os.path.join(os.fsencode(mount.path), path))
            assert body == shown.bodies[_key_of(path)], path


def _key_of(path: bytes) -> str:
    found = key_of(path.decode("utf-8", "surrogateescape"))
    assert found is not None, path
    return found.key

"""docs/semantics.md, line by line: each line has a test that quotes and executes it.

Those of the past and of versions are in test_versions.py.
"""

import ast
import itertools
import os
import re
import signal
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyfuse3
import pytest
import trio

from s3mount.daemon.fuse_wiring import QUEUE_MAX
from s3mount.fuse.error_mapping import maps_errors
from s3mount.s3.archive import INTELLIGENT_TIERING, TIERED_MIN
from tests.faults.bucket import Kind
from tests.faults.hostile_store import HostileStore
from tests.field import kinds
from tests.field.case import (
    Case,
    Run,
    check,
    fails,
    has_mtime,
    has_size,
    in_time,
    lists,
    logs,
    reads,
    reads_all,
    sends_at_most,
)
from tests.field.cases import environ, gateways, settings
from tests.field.cases.versions import replaced_between
from tests.mount.buckets import fill
from tests.mount.cold_mount import (
    BODIES as COLD_BODIES,
)
from tests.mount.cold_mount import (
    COLD,
    KEYS,
    cold_mount,
    requests_for,
    run,
    warm,
)
from tests.mount.file_handles import handle_of, read_handle, shrink_dentries
from tests.mount.filesystem_access import failure_of, output_of, read_file, read_tree
from tests.mount.memory_mount import memory_mount
from tests.mount.mount_process import REPOSITORY, Mount, mount_of, mounted
from tests.mount.relay import relay
from tests.mount.untagged_bucket import UntaggedBucket
from tests.reference import files_of, tree_of
from tests.servers import S3Server
from tests.waiting import outlast, wait_until

NATIVE = "native"
DOCUMENT = REPOSITORY / "docs/semantics.md"
QUOTING = (
    Path(__file__),
    Path(__file__).with_name("test_versions.py"),
    Path(__file__).with_name("test_buckets.py"),
    Path(__file__).with_name("test_buckets_views.py"),
    Path(__file__).with_name("test_posix_metadata.py"),
    Path(__file__).with_name("test_symlinks.py"),
    Path(__file__).with_name("test_kept_metadata.py"),
    Path(__file__).with_name("test_cache_care.py"),
)

LONG = "n" * 199 + "\u00e9" * 30  # bytes: 259
IN_LONG = "%long=" + "n" * 199  # the directory of its first part
ESCAPED = {  # paths of keys that have bytes
    "d/": "d/%file=",
    "s/a": "s/%file=a",
    "s/a/b": "s/a/b",
    "e/a//b": "e/a/%dir=/b",
    "f/a/./b": "f/a/%dir=./b",
    "g/a/..": "g/a/%file=..",
    "/x": "%dir=/x",
    "nul\0/%25": "%dir=nul%00/%25",
    "\0%25%": "%file=%00%2525%",
    "%file=x": "%file=%file=x",
    "%dir=/%long=": "%dir=%dir=/%file=%long=",
    "50%25": "50%25",
    "m" * 249: "m" * 249,
    "m" * 250: "%long=" + "m" * 200 + "/" + "m" * 50,
    LONG: IN_LONG + "/%file=" + "\u00e9" * 30,
    LONG + "/b": IN_LONG + "/" + "\u00e9" * 30 + "/b",
    LONG + "\0": IN_LONG + "/%file=" + "\u00e9" * 30 + "%00",
}

BODIES = {
    "top": b"top",
    "plain/a": b"0123456789" * 100,
    "plain/b/c": b"c",
    "both/dir/x": b"1",
    "both/dir-1/x": b"2",
    "case/Case": b"upper",
    "case/case": b"lower",
    "bytes/a space + 100% caf\u00e9 cafe\u0301 \U0001f389": b"odd",
}
HOSTILE = {
    "m/d/": b"",
    "s/a": b"file",
    "s/a/b": b"b",
    "e/a//b": b"",
    "f/a/./b": b"",
    "g/a/../b": b"",
    "/x": b"",
    "h/a/\0": b"",
    "i/a/" + "x" * 256: b"",
    "bytes/\x01\t\\": b"odd",
}


@pytest.fixture(scope="module")
def bucket(server: S3Server) -> str:
    return fill(server, BODIES)


@pytest.fixture(scope="module")
def mount(
    server: S3Server, bucket: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mount]:
    with mount_of(server, bucket, tmp_path_factory.mktemp("semantics") / "mnt") as mount:
        yield mount


@pytest.fixture(scope="module")
def hostile(moto: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """Mount of keys that, of the test servers, only moto holds."""
    with mount_of(moto, fill(moto, HOSTILE), tmp_path_factory.mktemp("hostile") / "mnt") as mount:
        yield mount


def test_every_line_of_the_document_is_quoted_by_a_test() -> None:
    functions = [
        node
        for module in QUOTING
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    quoted = {" ".join((ast.get_docstring(function) or "").split()) for function in functions}
    text = re.sub(r"\n +", " ", DOCUMENT.read_text())  # a wrapped list item is one line
    lines = [line for line in text.splitlines() if re.match(r"- |\| [^|]", line)]
    headings = {"keys", "what happens"}

    stated = [line.removeprefix("- ").strip("| ") for line in lines]
    assert len(stated) > len(headings)
    assert [
        line for line in stated if line.split(" |")[0] not in headings and line not in quoted
    ] == []


# ---- names


def test_keys_are_split_at_slashes(mount: Mount) -> None:
    """A key is split at `/`; its components are the names."""
    assert read_tree(mount.path) == tree_of(BODIES)


def test_impossible_names_hide_their_keys(hostile: Mount) -> None:
    """A component that no Linux file name can be (empty, `.`, `..`, with a NUL, or over 255 bytes)
    hides the key from the tree, unless [`--show-hidden`](#hidden-keys) is given; the valid
    directories above it are shown.
    """
    assert read_tree(hostile.path) == tree_of(HOSTILE)
    for above in ("e", "f", "g", "h", "i"):
        assert os.listdir(hostile / above) == ["a"]
        assert os.listdir(hostile / above / "a") == []


@pytest.fixture(scope="module")
def escaped(moto: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    bodies = {key: key.encode() for key in ESCAPED} | {"empty/": b""}
    bucket, at = fill(moto, bodies), tmp_path_factory.mktemp("escaped") / "mnt"
    with mount_of(moto, bucket, at, "--show-hidden") as mount:
        yield mount


def test_with_show_hidden_each_object_has_one_path(escaped: Mount) -> None:
    """With `--show-hidden` each object has one path: no key is hidden, no two share a path, and
    ordinary keys keep theirs.
    """
    found = dict(files_of(read_tree(escaped.path)))

    assert found == {path.encode(): key.encode() for key, path in ESCAPED.items()}
    assert not any("are hidden" in record["message"] for record in escaped.records())


def _check_paths(mount: Mount, *keys: str) -> None:
    """Check that each of *keys* is read at its path."""
    for key in keys:
        assert (mount / ESCAPED[key]).read_bytes() == key.encode()


def test_what_is_no_name_is_escaped(escaped: Mount) -> None:
    """`%file=` before the last component of a key, and `%dir=` before another one, escape what is
    no name: an empty component, `.`, `..`, one with a NUL, and one that begins with `%file=`,
    `%dir=` or `%long=`.
    """
    _check_paths(escaped, "e/a//b", "f/a/./b", "g/a/..", "nul\0/%25", "%dir=/%long=")


def test_a_nul_is_escaped(escaped: Mount) -> None:
    """After them and after `%long=`, a NUL is written `%00`, and a `%` before `00` or `25` is
    written `%25`.
    """
    _check_paths(escaped, "nul\0/%25", "\0%25%")


def test_a_shadowed_file_is_beside_its_directory(escaped: Mount) -> None:
    """A file of which a directory has the name is `%file=` and its name, beside the directory."""
    _check_paths(escaped, "s/a", "s/a/b", LONG, LONG + "/b")


def test_a_marker_with_bytes_is_a_file(escaped: Mount) -> None:
    """A marker with bytes is the file `%file=` in its directory; an empty marker is the
    directory, and no file.
    """
    _check_paths(escaped, "d/")
    assert failure_of(lambda: os.stat(escaped / "empty/%file=")) == "ENOENT"
    assert os.listdir(escaped / "empty") == []


def test_an_over_long_component_is_a_path(escaped: Mount) -> None:
    """A component of more than 249 bytes is a directory of `%long=` and its first 200 bytes, or
    up to 3 less to cut no character; in it, the rest is a component of its own.
    """
    _check_paths(escaped, "m" * 249, "m" * 250, LONG, LONG + "/b", LONG + "\0")


def test_an_escape_without_need_is_no_file(escaped: Mount) -> None:
    """What is escaped without need, or cut elsewhere, is no such file."""
    for path in ("%file=50%25", "%file=50%2525", "%dir=s/a/b", "m" * 250, "%long=m/" + "m" * 249):
        assert failure_of(lambda path=path: os.stat(escaped / path)) == "ENOENT"  # type: ignore[misc]
    assert failure_of(lambda: os.stat(escaped / "%file=s")) == "ENOENT"


def test_the_prefix_of_a_mount_is_not_escaped(moto: S3Server, tmp_path: Path) -> None:
    """The bucket and the prefix of the mount are written as they are."""
    bucket = fill(moto, {"%dir=/%dir=": b"marks"})
    with mount_of(moto, f"{bucket}/%dir=", tmp_path / "mnt", "--show-hidden") as mount:
        assert read_tree(mount.path) == {b"%file=%dir=": b"marks"}


def test_a_long_path_is_reached_from_a_directory(moto: S3Server, tmp_path: Path) -> None:
    """A path may become longer than one call takes (4,095 bytes); it is reached from a directory
    on the way, as `find -execdir` does.
    """
    bucket = fill(moto, {"/" * 690 + "x": b"deep"})
    with mount_of(moto, bucket, tmp_path / "mnt", "--show-hidden") as mount:
        found = output_of("find", mount.path, "-type", "f", "-execdir", "cat", "{}", ";")
    assert found == "deep"


def test_escapes_cost_little(moto: S3Server, tmp_path: Path) -> None:
    """The cost: a shadowed file is looked up by two requests one after another, and a listing
    shows the directories of over-long components with its last page. Other names cost nothing.
    """
    bucket = fill(moto, {"d/a": b"1", "d/a/b": b"2", "d/c": b"3", "many/" + "0" * 250: b""})
    fill(moto, {f"many/{number}": b"" for number in range(1000)}, bucket)
    with (
        relay(moto) as traffic,
        mount_of(
            *(traffic.server, bucket, tmp_path / "mnt"), "--show-hidden", "--metadata-ttl", "0"
        ) as mount,
    ):
        directory = os.open(mount / "d", os.O_PATH)
        traffic.take()
        os.stat("c", dir_fd=directory)
        assert sorted(each.kind for each in traffic.take()) == ["HEAD", "LIST"]
        os.stat("%file=a", dir_fd=directory)
        assert [each.kind for each in traffic.take()] == ["LIST", "HEAD"]
        os.close(directory)
        names = os.listdir(mount / "many")
        assert names.index("%long=" + "0" * 200) > 990


def test_an_escaped_marker(escaped: Mount) -> None:
    """`d/` with bytes | `d/%file=`"""
    _check_paths(escaped, "d/")


def test_an_escaped_shadow(escaped: Mount) -> None:
    """`a`, `a/b` | `%file=a`, `a/b`"""
    assert sorted(os.listdir(escaped / "s")) == ["%file=a", "a"]


def test_escaped_components(escaped: Mount) -> None:
    """`a//b`, `a/./b`, `a/..` | `a/%dir=/b`, `a/%dir=./b`, `a/%file=..`"""
    for directory, name in {"e": "%dir=", "f": "%dir=.", "g": "%file=.."}.items():
        assert os.listdir(escaped / directory / "a") == [name]


def test_an_escaped_leading_slash(escaped: Mount) -> None:
    """`/x` | `%dir=/x`"""
    assert os.listdir(escaped / "%dir=") == ["x"]


def test_escaped_marks(escaped: Mount) -> None:
    """`%file=x`, `50%25` | `%file=%file=x`, `50%25`"""
    _check_paths(escaped, "%file=x", "50%25")


def test_hidden_keys_are_counted(hostile: Mount) -> None:
    """The statistics (SIGUSR1) have the number of hidden keys; the log names each directory of
    such keys once.
    """
    for _ in range(2):
        read_tree(hostile.path)

    hostile.process.send_signal(signal.SIGUSR1)

    wait_until(lambda: any("hidden_keys" in str(record) for record in hostile.records()))
    [record] = [str(record) for record in hostile.records() if "hidden_keys" in str(record)]
    assert re.search(r"hidden_keys\D+6\b", record), record
    named = [record["message"] for record in hostile.records() if "are hidden" in record["message"]]
    assert sorted(named) == sorted(set(named))
    assert len(named) == 6  # the root, and `a` in e, f, g, h and i


def test_odd_rows_cost_no_other_row(tmp_path: Path) -> None:
    """One odd row of a listing costs no other row: it is skipped, read generously or shown
    plainly, counted (`odd_rows` in the statistics), and logged once for each directory and kind.
    """
    odd = kinds.add_rows(kinds.row("") + kinds.row("elsewhere"), kinds.of(kinds.LIST, "photos/"))
    case = Case(
        "odd rows",
        "A listing with a row without a key, and one of another prefix.",
        oddities=(odd,),
        options=("--no-prefetch", "all"),
        steps=(reads_all(), reads_all(), _logs_odd_rows),
        log=("without a key", "outside of the prefix"),
    )

    check(case, "native", tmp_path)


def _logs_odd_rows(run: Run) -> None:
    run.mount.process.send_signal(signal.SIGUSR1)
    counted = re.compile(r"odd_rows\W+[1-9]")
    wait_until(lambda: any(counted.search(str(record)) for record in run.mount.records()))
    messages = [record["message"] for record in run.mount.records()]
    lines = [line for line in messages if "odd rows in the listing of 'photos/'" in line]
    assert len(lines) == len({*lines}) == 2


def test_directories_are_shown_however_they_are_listed(tmp_path: Path) -> None:
    """A directory is shown however it is listed: as a common prefix with or without its slash, as
    an object, or by what is below it.
    """
    ignored = kinds.ask(kinds.LIST, lambda request: request.with_query({"delimiter": None}))
    without_slash = kinds.swap("(<CommonPrefixes><Prefix>[^<]*)/</Prefix>", r"\1</Prefix>")
    for name, oddity in {
        "slash": without_slash,
        "object": kinds.directories_as_objects,
        "below": ignored,
    }.items():
        check(Case(name, "Odd directories.", oddities=(oddity,)), "native", tmp_path / name)


def test_incomplete_rows_are_requested_by_themselves(tmp_path: Path) -> None:
    """A listed object without a valid size, or with neither ETag nor time, is requested by itself;
    if that fails, it is not shown, and its name is still looked up.
    """
    no_size = kinds.swap("(<Key>a.txt</Key>.*?)<Size>.*?</Size>", r"\1")
    is_refused = threading.Event()
    is_refused.set()
    no_object = kinds.refuses(
        lambda request: is_refused.is_set() and request.key == "a.txt", 403, ""
    )
    check(Case("sizes", "A row has no size.", oddities=(no_size,)), "native", tmp_path / "right")
    refused = Case(
        "refused",
        "A row has no size, and its HEADs and GETs are refused for a while.",
        oddities=(no_size, no_object),
        steps=(
            lists("", "empty", "photos", "z"),
            lambda _run: is_refused.clear(),
            reads("a.txt"),
        ),
        may_log=("a.txt", "not found out"),
        options=("--no-prefetch", "all"),
    )

    check(refused, "native", tmp_path / "refused")


def test_an_unbelievable_listing_fails(tmp_path: Path) -> None:
    """A listing fails as a whole only if it is unbelievable: no XML, another bucket or prefix, a
    count above its rows, tokens or markers that lead back.
    """
    changes = {
        "<ListBucketResult": "<Oops><ListBucketResult",
        "<Name>[^<]*": "<Name>another",
        "photos/": "zoo/",
        "<KeyCount>.*?<": "<KeyCount>900<",
        "<IsTruncated>false": "<IsTruncated>true",
    }
    photos = kinds.of(kinds.LIST, "photos/")
    for number, (pattern, text) in enumerate(changes.items()):
        oddity = kinds.swap(pattern, text, match=photos)
        ask = kinds.ask(photos, lambda query: query.with_query({"start-after": "", "marker": ""}))
        case = Case(
            f"unbelievable {number}",
            "A listing that is none.",
            oddities=(ask, oddity),
            options=("--no-prefetch", "all", "--timeout", "4"),
            steps=(
                lists("", "a.txt", "empty", "photos", "z"),
                fails("EIO|ETIMEDOUT", "photos", os.listdir),
            ),
            may_log=("photos/",),
        )
        check(case, "native", tmp_path / str(number))


def test_a_marker_is_an_empty_directory(hostile: Mount) -> None:
    """`d/` | directory `d`, empty; the marker object itself is not shown"""
    assert os.listdir(hostile / "m") == ["d"]
    assert os.listdir(hostile / "m/d") == []


def test_a_directory_shadows_a_file(moto: S3Server, hostile: Mount, tmp_path: Path) -> None:
    """`a`, `a/b` | directory `a` with `b`: a directory shadows a file of its name; when `a/b`
    goes, the file `a` appears
    """
    assert os.listdir(hostile / "s/a") == ["b"]

    bucket = fill(moto, {"a": b"file", "a/b": b"b"})
    with mount_of(moto, bucket, tmp_path / "mnt", "--metadata-ttl", "0") as mount:
        assert read_file(mount / "a/b") == b"b"
        moto.client().delete_object(Bucket=bucket, Key="a/b")
        assert read_file(mount / "a") == b"file"


def test_empty_and_dot_components_leave_the_directory_above(hostile: Mount) -> None:
    """`a//b`, `a/./b`, `a/../b` | directory `a`"""
    for above in ("e", "f", "g"):
        assert read_tree(hostile / above) == tree_of({"a/": b""})


def test_a_key_that_begins_with_a_slash_is_nothing(hostile: Mount) -> None:
    """`/x` | nothing"""
    assert "x" not in os.listdir(hostile.path)
    assert failure_of((hostile / "x").stat) == "ENOENT"


def test_names_that_sort_around_the_slash_are_both_there(mount: Mount) -> None:
    r"""`dir/x`, `dir-1/x` | both, although `dir-1/` sorts before `dir/`"""
    assert read_tree(mount / "both") == tree_of({"dir/x": b"1", "dir-1/x": b"2"})


def test_odd_characters_are_the_same_bytes(mount: Mount, hostile: Mount) -> None:
    r"""Control characters, spaces, `+`, `%`, `\`, any Unicode, composed or not | the same bytes"""
    assert read_tree(mount / "bytes") == tree_of(BODIES, "bytes/")
    assert read_tree(hostile / "bytes") == tree_of(HOSTILE, "bytes/")


def test_case_matters(mount: Mount) -> None:
    """`Case`, `case` | both: names are case sensitive"""
    assert read_file(mount / "case/Case") == b"upper"
    assert read_file(mount / "case/case") == b"lower"
    assert failure_of((mount / "case/CASE").stat) == "ENOENT"


# ---- attributes


def test_attributes_of_files(server: S3Server, bucket: str, mount: Mount) -> None:
    """Files: the object's size; mtime, ctime, atime = LastModified; nlink 1; blocks =
    ceil(size/512); mode 0444 by default.
    """
    client = server.client()
    headed = client.head_object(Bucket=bucket, Key="plain/a")["LastModified"]
    (listed,) = client.list_objects_v2(Bucket=bucket, Prefix="plain/a", MaxKeys=1)["Contents"]
    attributes = os.stat(mount / "plain/a")

    assert (attributes.st_size, attributes.st_nlink, attributes.st_blocks, attributes.st_mode) == (
        1000,
        1,
        2,
        stat.S_IFREG | 0o444,
    )
    assert attributes.st_mtime == attributes.st_ctime == attributes.st_atime
    # HEAD and LIST may differ: a listing has fractions, which may round to the next second
    assert int(attributes.st_mtime) in {
        int(headed.timestamp()),
        int(listed["LastModified"].timestamp()),
    }


def test_attributes_of_directories(mount: Mount) -> None:
    """Directories: mode 0555, nlink 1, size 0; times = the time of the mount, as S3 has none of
    them. They never change while it is mounted.
    """
    for path in (mount.path, mount / "plain", mount / "plain/b"):
        before = os.stat(path)
        os.listdir(path)
        attributes = os.stat(path)
        assert (attributes.st_mode, attributes.st_nlink, attributes.st_size) == (
            stat.S_IFDIR | 0o555,
            1,
            0,
        )
        assert abs(attributes.st_mtime - time.time()) < 3600
        assert before.st_mtime_ns == attributes.st_mtime_ns == os.stat(mount.path).st_mtime_ns


def test_times_that_are_none(tmp_path: Path) -> None:
    """A time that is none (missing, malformed, the year 1) is shown as 1970-01-01."""
    for number, text in enumerate(("", "once", "0001-01-01T00:00:00Z")):
        oddity = kinds.swap("(?<=<LastModified>)[^<]*", text)
        steps = (reads_all(), has_mtime("a.txt", 0))
        case = Case(str(number), "No time.", oddities=(oddity,), steps=steps)
        check(case, "native", tmp_path / str(number))


def test_sizes_of_nothing(tmp_path: Path) -> None:
    """A listed size of 0 whose ETag is not the MD5 of nothing is checked by a GET at the first
    stat or open, until one such file has proved to be empty on a store that also lists other
    sizes. If eight cannot be checked, stat shows 0 as listed.
    """
    no_sizes = kinds.list_sizes(lambda _: 0)
    sized = Case("sized", "", oddities=(no_sizes,), steps=(has_size("a.txt", 6), reads_all()))
    empty = {f"{number:02}": b"" for number in range(12)}
    salted = kinds.list_etags('"0123"'), kinds.header(kinds.OBJECT, "ETag", '"0123"')
    steps = tuple(has_size(name, 0) for name in empty)

    def looks_at_all(run: Run) -> None:
        for step in steps:
            step(run)

    proved = Case(
        "proved",
        "",
        oddities=salted,
        objects={**empty, "sized": b"x"},
        steps=tuple(sends_at_most(at == 0, Kind.GET, step) for at, step in enumerate(steps)),
    )
    denied = Case(
        "denied",
        "",
        oddities=(*salted, kinds.refuses(kinds.GET, 403, "AccessDenied")),
        objects=empty,
        steps=(sends_at_most(8, Kind.GET, looks_at_all),),
        may_log=("denied|AccessDenied",),
    )

    check(sized, "native", tmp_path / "sized")
    check(proved, "native", tmp_path / "proved")
    check(denied, "native", tmp_path / "denied")


def test_owners(server: S3Server, bucket: str, mount: Mount, tmp_path: Path) -> None:
    """Owner: the user who mounted, or as configured (0 allowed)."""
    assert (os.stat(mount / "top").st_uid, os.stat(mount / "top").st_gid) == (
        os.geteuid(),
        os.getegid(),
    )

    options = ("--uid", "1234", "--gid", "0", "--file-mode", "0440", "--dir-mode", "0750")
    with mount_of(server, bucket, tmp_path / "mnt", *options) as other:
        for name, mode in (("top", 0o440), ("plain", 0o750)):
            attributes = os.stat(other / name)
            assert (attributes.st_uid, attributes.st_gid, stat.S_IMODE(attributes.st_mode)) == (
                1234,
                0,
                mode,
            )


def test_inode_numbers(server: S3Server, tmp_path: Path) -> None:
    """Inode numbers: stable over remounts, new with each version."""
    bucket = fill(server, {"a": b"old", "d/b": b"b"})
    numbers = []
    for at in ("one", "two"):
        with mount_of(server, bucket, tmp_path / at, "--metadata-ttl", "0") as mount:
            numbers.append([os.stat(mount / name).st_ino for name in ("a", "d", "d/b")])
            fill(server, {"a": b"new!"}, bucket)
            assert os.stat(mount / "a").st_ino != numbers[0][0]
            fill(server, {"a": b"old"}, bucket)

    assert numbers[0] == numbers[1]


def test_attributes_of_the_object(server: S3Server, bucket: str, tmp_path: Path) -> None:
    """With `--xattrs`, files have what S3 knows of them as attributes `user.s3.*`, and directories
    what is known of their listing; see [attributes.md](attributes.md). They are of the version that
    the file is, or ESTALE.
    """
    with mount_of(server, bucket, tmp_path / "m", "--xattrs") as mount:
        listed = server.client().head_object(Bucket=bucket, Key="plain/a")
        etag = os.getxattr(mount / "plain/a", "user.s3.etag").decode()
        assert etag == listed["ETag"].strip('"')
        assert "user.s3.etag" in os.listxattr(mount / "plain/a")
        assert os.getxattr(mount / "plain", "user.s3.prefix") == b"plain/"


def test_what_attributes_cost(server: S3Server, bucket: str, tmp_path: Path) -> None:
    """What a listing knows takes no request; the rest takes one HEAD of a file for
    `--metadata-ttl`. `ls -l` sends none.
    """
    with (
        relay(server) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "m", "--xattrs") as mount,
    ):
        output_of("ls", "-l", mount / "plain")
        os.getxattr(mount / "plain/a", "user.s3.etag")
        assert all(request.kind == "LIST" for request in traffic.take())
        for _ in range(3):
            for name in os.listxattr(mount / "plain/a"):
                os.getxattr(mount / "plain/a", name)
        assert [request.kind for request in traffic.take()] == ["HEAD"]


def test_statfs(mount: Mount) -> None:
    """statfs: a large, constant, read-only file system with a name limit of 255."""
    filesystem = os.statvfs(mount.path)

    assert filesystem == os.statvfs(mount / "plain/a")
    assert filesystem.f_blocks * filesystem.f_frsize >= 1 << 50
    assert filesystem.f_namemax == 255
    assert filesystem.f_flag & os.ST_RDONLY


# ---- consistency


def test_an_open_file_is_one_version(server: S3Server, tmp_path: Path) -> None:
    """An open file is one version: reads return bytes of the version that was opened, or ESTALE
    once the store no longer has them. Never a mixture, also through the page cache and `mmap`.
    """
    old, new = b"old!" * (5 << 18), b"newer" * (4 << 18)
    bucket = fill(server, {"a": old})
    with (
        mount_of(server, bucket, tmp_path / "mnt", "--metadata-ttl", "0") as mount,
        open(mount / "a", "rb", buffering=0) as file,
    ):
        mount.allow("ESTALE")
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), 4096, 0) == old[:4096]
        fill(server, {"a": new}, bucket)

        assert os.pread(file.fileno(), 4096, 0) == old[:4096]
        assert failure_of(lambda: os.pread(file.fileno(), 4096, 4 << 20)) == "ESTALE"
        assert read_file(mount / "a") == new


def test_the_bytes_decide(tmp_path: Path) -> None:
    """The bytes decide: where a store lists another size or ETag than GET brings, or refuses a
    condition that holds, a file is read as GET brings it, and shown so from then on. A reader who
    has had bytes of one version gets ESTALE instead.
    """
    told = (kinds.list_sizes(lambda size: size + 16), kinds.list_etags('"another"'))
    names = {"a": b"first", "b": b"second" * 9000}
    oddities = (*told, kinds.refuses_if_match)
    right = Case("gateway", "", oddities=oddities, objects=names, steps=(reads_all(), reads("b")))
    options = ("--metadata-ttl", "0", "--no-prefetch", "readahead", "--part-size", "1MiB")
    big = Case(
        "gateway",
        "",
        oddities=oddities,
        objects={"big": bytes(9 << 20)},
        options=options,
        steps=(replaced_between("big", 100),),
        may_log=("ESTALE",),
    )

    check(right, "native", tmp_path / "right")
    check(big, "native", tmp_path / "big")


@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_times_in_the_place_of_etags(transport: str, tmp_path: Path) -> None:
    """Without ETags a version is its size and the second of its Last-Modified. Two versions of one
    second and one size are told apart by no store that sends no more; what a 304 to such a time is
    worth says [a record](decisions/modification-times.md).
    """
    bucket, now = UntaggedBucket("untagged"), int(time.time())
    bucket.put_at(1_700_000_000, "old", b"old")
    bucket.put_at(now, "new", b"first")
    with (
        HostileStore(bucket) as store,
        mounted(
            "untagged",
            tmp_path / "mnt",
            *("--endpoint-url", store.url, "--region", "us-east-1", "--path-style"),
            *("--metadata-ttl", "0", "--transport", transport),
            env={"AWS_ACCESS_KEY_ID": "AKIDUNTAGGED", "AWS_SECRET_ACCESS_KEY": "secret"},
        ) as mount,
    ):
        assert [read_file(mount / name) for name in ("old", "old", "new")] == [
            *(b"old", b"old", b"first")
        ]
        assert any("if-modified-since" in each.headers for each in store.requests)
        bucket.put_at(now, "new", b"second")  # in the second of the first
        assert read_file(mount / "new") == b"second"
        bucket.put_at(1_600_000_000, "old", b"older")  # a time that goes back
        assert read_file(mount / "old") == b"older"
        bucket.put_at(now, "old", b"newer")
        assert read_file(mount / "old") == b"newer"
        assert any("if-unmodified-since" in each.headers for each in store.requests)


def test_opening_sees_what_is_current_within_the_lifetime(server: S3Server, tmp_path: Path) -> None:
    """An open sees what is current within the metadata lifetime (`--metadata-ttl`, 60 s by
    default; `0`: every open revalidates, and sees what was current when it was called;
    `indefinite`: no request is repeated).
    """
    bucket = fill(server, {"a": b"old"})
    with (
        mount_of(server, bucket, tmp_path / "default") as default,
        mount_of(server, bucket, tmp_path / "zero", "--metadata-ttl", "0") as zero,
        mount_of(server, bucket, tmp_path / "second", "--metadata-ttl", "1") as second,
        mount_of(
            server, bucket, tmp_path / "indefinite", "--metadata-ttl", "indefinite"
        ) as indefinite,
    ):
        mounts = (default, zero, second, indefinite)
        assert [read_file(mount / "a") for mount in mounts] == [b"old"] * 4
        fill(server, {"a": b"newer"}, bucket)

        assert read_file(zero / "a") == b"newer"
        wait_until(lambda: read_file(second / "a") == b"newer")
        assert [read_file(mount / "a") for mount in (default, indefinite)] == [b"old"] * 2


def test_a_listing_is_what_s3_said_within_the_lifetime(server: S3Server, tmp_path: Path) -> None:
    """A listing shows what S3 returned within the metadata lifetime. A file that others create or
    delete appears or disappears within it; a refresh on request (SIGHUP, or `refresh` of one path
    or of all at the [control socket](control.md)) is immediate.
    """
    bucket = fill(server, {"d/stays": b"", "d/goes": b""})
    with (
        mount_of(server, bucket, tmp_path / "default") as default,
        mount_of(server, bucket, tmp_path / "second", "--metadata-ttl", "1") as second,
    ):
        assert [sorted(os.listdir(mount / "d")) for mount in (default, second)] == [
            ["goes", "stays"]
        ] * 2
        fill(server, {"d/comes": b""}, bucket)
        server.client().delete_object(Bucket=bucket, Key="d/goes")

        wait_until(lambda: sorted(os.listdir(second / "d")) == ["comes", "stays"])
        assert sorted(os.listdir(default / "d")) == ["goes", "stays"]
        default.process.send_signal(signal.SIGHUP)
        wait_until(lambda: sorted(os.listdir(default / "d")) == ["comes", "stays"])


def test_a_file_handle_works_while_its_name_is_known(server: S3Server, tmp_path: Path) -> None:
    """A file handle (of NFS, or of `name_to_handle_at`) works while the metadata cache knows its
    name, expired or not. Beyond that (evicted, refreshed, mounted anew and not listed yet), and
    once its file was replaced or deleted, it is ESTALE.
    """
    bucket = fill(server, {"d/a": b"old", "d/b": b"b"})
    with mount_of(server, bucket, tmp_path / "mnt", "--metadata-ttl", "1") as mount:
        a, b = [handle_of(mount / f"d/{name}") for name in sorted(os.listdir(mount / "d"))]
        shrink_dentries(mount.path)
        outlast(1.0)
        assert [read_handle(mount.path, handle) for handle in (a, b)] == [b"old", b"b"]

        shrink_dentries(mount.path)
        fill(server, {"d/a": b"newer"}, bucket)
        server.client().delete_object(Bucket=bucket, Key="d/b")
        outlast(1.0)
        for handle in (a, b):
            assert failure_of(partial(read_handle, mount.path, handle)) == "ESTALE"
        current = handle_of(mount / "d/a")
    with mount_of(server, bucket, tmp_path / "anew") as mount:
        assert failure_of(partial(read_handle, mount.path, current)) == "ESTALE"
        assert os.listdir(mount / "d") == ["a"]
        shrink_dentries(mount.path)
        assert read_handle(mount.path, current) == b"newer"


def test_a_failure_is_never_an_absence(server: S3Server, bucket: str, tmp_path: Path) -> None:
    """A failure is never an absence: a 5xx, a timeout or a 403 is never shown, nor remembered, as
    "no such file".
    """
    with (
        relay(server) as traffic,
        mount_of(
            traffic.server,
            bucket,
            tmp_path / "mnt",
            "--timeout",
            "2",
            "--metadata-ttl",
            "indefinite",
        ) as mount,
    ):
        mount.expect("EIO|ETIMEDOUT|no answer")
        traffic.is_down = True
        assert failure_of((mount / "plain/a").stat) in ("EIO", "ETIMEDOUT")
        assert failure_of(lambda: os.listdir(mount.path)) in ("EIO", "ETIMEDOUT")
        traffic.is_down = False

        assert read_file(mount / "plain/a") == BODIES["plain/a"]
        assert read_tree(mount.path) == tree_of(BODIES)


def test_a_name_that_its_own_listing_does_not_have_is_absent(tmp_path: Path) -> None:
    """A name that an allowed listing of its own does not have is absent, even if its HEAD is
    refused.
    """
    check(reported("a HEAD of what is not there is refused", gateways.CASES), NATIVE, tmp_path)


# ---- starting and time


@pytest.mark.parametrize("transport", [NATIVE, "boto3"])
def test_starting_is_serving(transport: str, tmp_path: Path) -> None:
    """Starting is serving: a mount starts when the first page of its directory is answered, and
    sends that request as all later ones: the same transport, parameters, parser and `--timeout`.
    """

    def sends_one_query(run: Run) -> None:
        os.listdir(run.mount.path)
        targets = {each.target for each in run.requests(Kind.LIST) if "photos" not in each.target}
        assert len(targets) == 1

    slow = kinds.slow(kinds.LIST, 3.0)
    options = ("--timeout", "8", "--no-prefetch", "all")
    check(
        Case("", "", oddities=(slow,), options=options, steps=(sends_one_query,)),
        transport,
        tmp_path,
    )


def test_a_start_outlasts_what_may_pass(tmp_path: Path) -> None:
    """A start outlasts failures that may pass (no connection, no name, silence, 429, 5xx, a wrong
    clock) for `--start-timeout`, 15 s by default; the log says once what is waited for. What does
    not pass (403, no bucket, an untrusted certificate, no S3) ends it at once.
    """
    waits = "not mounted yet"
    busy = Case("", "", oddities=(kinds.busy(4),), log=(waits,), steps=(logs(waits),))
    denied = kinds.refuses(kinds.LIST, 403, "AccessDenied")

    check(busy, "native", tmp_path / "busy")
    check(
        Case("", "", oddities=(denied,), refused="is denied", starts_within=8),
        "native",
        tmp_path / "denied",
    )


def test_a_request_ends_within_the_timeout(tmp_path: Path) -> None:
    """A request of the kernel ends within `--timeout`, and with it the kernel's repeats of a failed
    read. A path of several names that are not cached is one request for each name, an open one for
    its name and one for the file.
    """
    times_out = "EIO|ETIMEDOUT"
    stalled = Case(
        "",
        "",
        oddities=(kinds.slow(kinds.GET, 60),),
        options=("--timeout", "3"),
        may_log=(times_out,),
        steps=(in_time(5, fails(times_out, "a.txt")),),
    )
    slow = Case(
        "",
        "",
        oddities=(kinds.after(1, kinds.LIST, kinds.slow(kinds.LIST, 1.5)),),
        options=("--timeout", "4", "--no-prefetch", "all"),
        steps=(has_size("photos/2024/one.jpg", 10240),),
    )

    check(stalled, "native", tmp_path / "stalled")
    check(slow, "native", tmp_path / "slow")


@pytest.mark.parametrize(("idle", "outcome"), [(None, "fails"), ("4", "is right")])
def test_an_attempt_has_half_of_the_timeout(idle: str | None, outcome: str, tmp_path: Path) -> None:
    """`--timeout` is what a request may take; an attempt without a connection ends after
    `--connect-timeout`, one without a header or a byte after `--idle-timeout`: half of
    `--timeout`, unless told otherwise.
    """
    options = ("--timeout", "4") if idle is None else ("--timeout", "4", "--idle-timeout", idle)
    step = fails("EIO|ETIMEDOUT", "a.txt") if outcome == "fails" else reads("a.txt")
    check(
        Case(
            "",
            "",
            oddities=(kinds.slow(kinds.GET, 2.8),),
            options=options,
            may_log=("EIO|ETIMEDOUT",),
            steps=(step,),
        ),
        "native",
        tmp_path,
    )


def test_malformed_for_good_is_an_error_soon(tmp_path: Path) -> None:
    """A response that is malformed for good (no XML, cut in the middle, no token) is an error after
    three attempts, within a few seconds.
    """
    half = kinds.edit(kinds.LIST, lambda page: page.with_body(page.body[:100]))
    malformed = Case(
        "",
        "",
        oddities=(kinds.after(1, kinds.LIST, half),),
        may_log=("EIO",),
        steps=(in_time(6, fails("EIO", "", os.listdir)),),
    )
    check(malformed, "native", tmp_path)


# ---- archived objects


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived_objects_are_shown_and_not_opened(
    moto: S3Server, tmp_path: Path, storage_class: str
) -> None:
    """Objects of every storage class are listed and have attributes. One that is archived (GLACIER,
    DEEP_ARCHIVE) and not restored cannot be opened: the log names its key, its class and
    `s3mountctl restore`.
    """
    bucket, client = moto.make_bucket(), moto.client()
    client.put_object(Bucket=bucket, Key="cold", Body=b"cold", StorageClass=storage_class)
    client.put_object(Bucket=bucket, Key="cool", Body=b"cool", StorageClass="GLACIER_IR")
    with mount_of(moto, bucket, tmp_path / "mnt") as mount:
        mount.expect(f"open: EACCES.*{storage_class}.*s3mountctl restore.*'cold'")
        assert sorted(os.listdir(mount.path)) == ["cold", "cool"]
        assert os.stat(mount / "cold").st_size == 4
        assert failure_of(lambda: os.open(mount / "cold", os.O_RDONLY)) == "EACCES"
        assert read_file(mount / "cool") == b"cool"


def test_restored_objects_are_read(tmp_path: Path) -> None:
    """An object of these classes is read if the store sends its bytes: after a restore by the next
    open, without a refresh. After the restored copy has expired, bytes that are not cached are
    EACCES.
    """
    body = "0123456789abcdef" * (256 << 10)
    with memory_mount(tmp_path / "mnt", "--metadata-ttl", "indefinite") as controlled:
        controlled.mount.expect("open: EACCES.*key='cold'", "read: EACCES.*key='cold'")
        controlled.command("put", "cold", body)
        controlled.command("archive", "cold", "GLACIER")
        assert failure_of(lambda: read_file(controlled / "cold")) == "EACCES"
        controlled.command("restore", "cold")
        descriptor = os.open(controlled / "cold", os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(descriptor, 4096, 0) == body[:4096].encode()
        controlled.command("archive", "cold", "GLACIER")
        assert os.pread(descriptor, 4096, 0) == body[:4096].encode()
        assert failure_of(lambda: os.pread(descriptor, 4096, len(body) - 4096)) == "EACCES"
        os.close(descriptor)
        controlled.command("restore", "cold")
        assert read_file(controlled / "cold") == body.encode()


def test_archived_objects_of_intelligent_tiering(tmp_path: Path) -> None:
    """An archived object of INTELLIGENT_TIERING is EACCES at its first read, since no listing tells
    it; from then on such files of 128 KiB or more are refused by their open.
    """
    with memory_mount(tmp_path / "mnt") as controlled:
        controlled.mount.expect("read: EACCES", "open: EACCES.*INTELLIGENT_TIERING")
        for name in "abc":
            controlled.command("put", name, "x" * TIERED_MIN)
            controlled.command("archive", name, INTELLIGENT_TIERING)
        controlled.command("restore", "c")
        descriptor = os.open(controlled / "a", os.O_RDONLY)
        assert failure_of(lambda: os.read(descriptor, 1)) == "EACCES"
        os.close(descriptor)
        for name in "ab":
            path = controlled / name
            assert failure_of(partial(os.open, path, os.O_RDONLY)) == "EACCES"
        assert read_file(controlled / "c") == b"x" * TIERED_MIN


def test_archived_objects_are_not_prefetched(moto: S3Server, tmp_path: Path) -> None:
    """Files that may be archived are never prefetched. `s3mountctl warm` asks for each by a HEAD,
    and counts those that are not restored.
    """
    with cold_mount(moto, tmp_path / "mnt") as (mount, traffic):
        for key in KEYS:
            if key not in COLD:
                assert read_file(mount / key) == COLD_BODIES[key]
        assert requests_for(traffic, *COLD) == {}
        assert warm(mount)["archived_files"] == len(COLD)
        assert requests_for(traffic, *COLD) == {"HEAD": len(COLD)}


def test_only_restores_are_no_reads(moto: S3Server, tmp_path: Path) -> None:
    """The mount sends one request that is not a read: RestoreObject, for `s3mountctl restore`
    only.
    """
    with cold_mount(moto, tmp_path / "mnt") as (mount, traffic):
        output_of("find", mount.path, "-type", "f")
        assert warm(mount)["failed_count"] == 0
        assert {each.method for each in traffic.take()} <= {"GET", "HEAD"}
        assert run("restore", "--yes", mount / COLD[0]).returncode == 0
        sent = [each for each in traffic.take() if each.method not in ("GET", "HEAD")]
        assert [(each.method, [*each.query]) for each in sent] == [("POST", ["restore"])]


# ---- errors


def test_enoent(mount: Mount) -> None:
    """No such key or prefix | ENOENT"""
    assert failure_of((mount / "nothing").stat) == "ENOENT"
    assert failure_of((mount / "plain/nothing/below").stat) == "ENOENT"


def test_eacces(moto: S3Server, tmp_path: Path) -> None:
    """Access denied (403 on GET, HEAD or LIST), KMS refused, archived and not restored | EACCES"""
    bucket = moto.make_bucket()
    moto.client().put_object(Bucket=bucket, Key="archived", Body=b"x", StorageClass="DEEP_ARCHIVE")
    moto.client().put_object(Bucket=bucket, Key="private", Body=b"x")
    with mount_of(moto, bucket, tmp_path / "signed") as mount:
        mount.expect("EACCES")
        assert failure_of(lambda: read_file(mount / "archived")) == "EACCES"
    with mount_of(moto, bucket, tmp_path / "anonymous", "--no-sign-request") as mount:
        mount.expect("EACCES")
        assert failure_of(lambda: read_file(mount / "private")) == "EACCES"


def test_eacces_of_a_customer_key(tmp_path: Path) -> None:
    """Encrypted with a customer key (SSE-C) that no `--sse-c-key-file` has | EACCES"""
    check(reported("an object is encrypted with a customer key, AWS and MinIO"), NATIVE, tmp_path)


def test_estale(server: S3Server, tmp_path: Path) -> None:
    """The version being read was replaced (412) or deleted (404 on GET of an open file) | ESTALE"""
    bucket = fill(server, {"replaced": bytes(9 << 20), "deleted": bytes(9 << 20)})
    with mount_of(server, bucket, tmp_path / "mnt") as mount:
        mount.expect("ESTALE")
        files = [os.open(mount / name, os.O_RDONLY) for name in ("replaced", "deleted")]
        fill(server, {"replaced": b"other"}, bucket)
        server.client().delete_object(Bucket=bucket, Key="deleted")

        failures = [failure_of(partial(os.pread, file, 1, 8 << 20)) for file in files]
        assert failures == ["ESTALE"] * 2
        for file in files:
            os.close(file)


def test_erofs(mount: Mount) -> None:
    """Any attempt to write, create, delete, rename, change attributes | EROFS"""
    assert failure_of(lambda: os.open(mount / "plain/a", os.O_WRONLY)) == "EROFS"
    assert failure_of(lambda: os.open(mount / "new", os.O_WRONLY | os.O_CREAT)) == "EROFS"
    assert failure_of(lambda: os.unlink(mount / "plain/a")) == "EROFS"
    assert failure_of(lambda: os.rename(mount / "plain/a", mount / "b")) == "EROFS"
    assert failure_of(lambda: os.chmod(mount / "plain/a", 0)) == "EROFS"
    assert "Read-only file system" in output_of("touch", mount / "plain/a", status=1)


def test_enametoolong(mount: Mount) -> None:
    """Name too long in a lookup | ENAMETOOLONG"""
    assert failure_of((mount / ("x" * 256)).stat) == "ENAMETOOLONG"


def test_eio_of_a_bucket_that_is_gone(tmp_path: Path) -> None:
    """The bucket is gone, or a 404 does not say that it is about a key | EIO"""
    check(reported("404 of a bucket that was deleted is no absence"), NATIVE, tmp_path)
    check(reported("404 of a tenant is no absence"), NATIVE, tmp_path / "tenant")


def test_eio(server: S3Server, bucket: str, tmp_path: Path) -> None:
    """Throttled, 5xx, network down, truncated or corrupt body, after retries and within the
    deadline | EIO
    """
    options = ("--timeout", "4", "--metadata-ttl", "indefinite")
    with (
        relay(server) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "mnt", *options) as mount,
    ):
        mount.expect("EIO")
        os.listdir(mount / "plain")
        traffic.is_down = True

        assert failure_of(lambda: read_file(mount / "plain/a")) == "EIO"


def test_etimedout(server: S3Server, bucket: str, tmp_path: Path) -> None:
    """No response within the deadline (`--timeout`) | ETIMEDOUT"""
    with (
        relay(server) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "mnt", "--timeout", "2") as mount,
    ):
        mount.expect("ETIMEDOUT|no answer")
        traffic.is_silent = True

        assert failure_of((mount / "plain/a").stat) == "ETIMEDOUT"


def test_eagain(tmp_path: Path) -> None:
    """Too many requests of one user wait for the store (with `--allow-other`: 1,024) | EAGAIN"""
    failures: list[str] = []

    def look_up(path: Path) -> None:
        failures.append(failure_of(path.stat))

    with memory_mount(tmp_path / "mnt", "--allow-other") as controlled:
        controlled.mount.expect("EAGAIN")
        controlled.command("pages", "2")  # so that the first page does not prove absences
        for key in ("here", "slow/a", "slow/b", "slow/c"):
            controlled.command("put", key, key)
        os.stat(controlled / "slow")
        controlled.command("hold", "slow/")

        with ThreadPoolExecutor(QUEUE_MAX + 6) as users:
            try:
                for number in range(QUEUE_MAX + 6):
                    users.submit(look_up, controlled / f"slow/absent{number}")
                wait_until(lambda: len(failures) == 6)
            finally:
                controlled.command("release")
        assert failures == ["EAGAIN"] * 6 + ["ENOENT"] * QUEUE_MAX
        assert read_file(controlled / "here") == b"here"


def test_a_bug(caplog: pytest.LogCaptureFixture, expected_warnings: list[str]) -> None:
    """A bug | EIO, one traceback in the log, and the mount lives on"""

    class Buggy:
        timeout = 1.0

        @maps_errors
        async def handler(self) -> None:
            raise ZeroDivisionError

    expected_warnings.append("this is a bug")
    with pytest.raises(pyfuse3.FUSEError) as failure:
        trio.run(Buggy().handler)

    assert os.strerror(failure.value.errno) == "Input/output error"
    assert [record.exc_info is not None for record in caplog.records] == [True]


# ---- the environment


def test_the_environment_is_heeded(tmp_path: Path) -> None:
    """What the environment says to AWS tools (variables, `~/.aws`) is heeded. `AWS_REGION` wins
    over `AWS_DEFAULT_REGION`, and an empty variable is an unset one.
    """
    case = reported("the region is in AWS_REGION")
    others = {"AWS_DEFAULT_REGION": "us-west-2", "AWS_PROFILE": "", "AWS_CA_BUNDLE": ""}
    check(replace(case, environ={**case.environ, **others}), NATIVE, tmp_path)


def test_what_is_wrong_with_the_environment_is_named(tmp_path: Path) -> None:
    """What is wrong with it is named in one line before the mount: the variable, file or profile,
    and what must be there instead. No such mistake is an internal error.
    """
    mistakes = (case for case in settings.CASES if case.refused)
    for number, case in enumerate(itertools.islice(mistakes, 3)):
        check(case, NATIVE, tmp_path / str(number))


def test_replaced_keys_are_used(tmp_path: Path) -> None:
    """When the store refuses the keys, their source is looked at again, at most every few seconds.
    Other keys are used from then on; the refusal of the same keys is EACCES.
    """
    check(reported("keys are replaced in their file, after 403 AccessDenied"), NATIVE, tmp_path)
    same = reported("a refusal of unchanged keys in a file sends nothing more")
    check(same, NATIVE, tmp_path / "same")


def reported(name: str, cases: Iterable[Case] = environ.CASES) -> Case:
    """Return the report of that *name*."""
    return next(case for case in cases if case.name == name)

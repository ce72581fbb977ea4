"""Programs of users: their output on the mount equals that on a local read-only disk."""

import os
import shutil
import sqlite3
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.buckets import fill_from
from tests.mount.filesystem_access import output_of, read_file, read_mapped
from tests.mount.mount_process import Mount, mount_of
from tests.servers import S3Server

ROWS = 20_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files for the programs: text, a repository, a database, archives, and a file with holes."""
    source = tmp_path_factory.mktemp("tools") / "source"
    library = Path(os.__file__).parent
    shutil.copytree(
        library / "json", source / "text/json", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(
        library / "email", source / "text/email", ignore=shutil.ignore_patterns("__pycache__")
    )
    _make_repository(source / "repository.git", source / "text")
    output_of("find", source, "-type", "d", "-empty", "-delete")  # S3 has none
    _make_database(source / "rows.sqlite")
    with zipfile.ZipFile(source / "text.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((source / "text").rglob("*.py")):
            archive.write(path, path.relative_to(source))
    with tarfile.open(source / "text.tar", "w") as archive:
        archive.add(source / "text", "text")
    (source / "holes").write_bytes(bytes(3 << 20) + os.urandom(1 << 20) + bytes(3 << 20) + b"end\n")
    (source / "lines").write_text("".join(f"line {number}\n" for number in range(200_000)))
    return source


@pytest.fixture(scope="module")
def mount(
    server: S3Server, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mount]:
    bucket = fill_from(server, source)
    with mount_of(server, bucket, tmp_path_factory.mktemp("tools") / "mnt") as mount:
        yield mount


def same(source: Path, mount: Mount, *words: str) -> None:
    """Check that a program prints the same in both directories."""
    assert output_of(*words, cwd=mount.path) == output_of(*words, cwd=source)


def test_df_shows_a_large_empty_read_only_file_system(mount: Mount) -> None:
    [_, line] = output_of("df", "--output=fstype,used,target", mount.path).splitlines()
    filesystem = os.statvfs(mount.path)

    assert line.split() == ["fuse.s3mount", "0", str(mount.path)]
    assert filesystem.f_namemax == 255
    assert filesystem.f_flag & os.ST_RDONLY
    assert filesystem.f_blocks * filesystem.f_frsize >= 1 << 50
    assert filesystem.f_bfree == filesystem.f_blocks


def test_stat_shows_sizes_kinds_and_times(source: Path, mount: Mount) -> None:
    same(source, mount, "stat", "--format", "%s %F %n", "text/json/decoder.py", "holes")


def test_du_adds_up_the_sizes(source: Path, mount: Mount) -> None:
    sizes = sum(path.stat().st_size for path in (source / "text").rglob("*") if path.is_file())

    assert (
        int(output_of("du", "--apparent-size", "--bytes", "-s", mount / "text").split()[0]) == sizes
    )


def test_find_finds_the_same(source: Path, mount: Mount) -> None:
    for question in (
        "find . -name '*.py' -size +2k | sort",
        "find . -type d | sort",
        "find text -empty",
    ):
        same(source, mount, "bash", "-c", question)


def test_grep_finds_the_same_lines(source: Path, mount: Mount) -> None:
    same(source, mount, "bash", "-c", "grep -rn 'def [a-m]' text | sort")


def test_sha256sum_has_the_same_sums(source: Path, mount: Mount) -> None:
    same(source, mount, "bash", "-c", "sha256sum holes lines rows.sqlite text/*/*.py")


def test_tail_and_head_show_the_same_lines(source: Path, mount: Mount) -> None:
    for words in (
        ("tail", "-n", "100", "lines"),
        ("tail", "-c", "5", "holes"),
        ("head", "-n", "10", "lines"),
    ):
        same(source, mount, *words)
    same(source, mount, "wc", "lines")


def test_dd_reads_any_blocks(source: Path, mount: Mount) -> None:
    same(
        source, mount, "bash", "-c", "dd if=holes bs=777 skip=4000 count=2000 status=none | md5sum"
    )
    same(source, mount, "bash", "-c", "dd if=holes bs=1M iflag=direct status=none | md5sum")


def test_tar_packs_the_same_files(mount: Mount, source: Path, tmp_path: Path) -> None:
    output_of("tar", "-cf", tmp_path / "packed.tar", "-C", mount.path, "text")
    output_of("tar", "-xf", tmp_path / "packed.tar", "-C", tmp_path)

    output_of("diff", "-r", source / "text", tmp_path / "text")


def test_rsync_copies_and_then_finds_nothing_to_do(
    mount: Mount, source: Path, tmp_path: Path
) -> None:
    output_of("rsync", "-a", f"{mount.path}/", tmp_path / "copy")

    output_of("diff", "-r", source, tmp_path / "copy")
    assert output_of("rsync", "-a", "--itemize-changes", f"{mount.path}/", tmp_path / "copy") == ""


def test_cp_copies_trees_and_holes(mount: Mount, source: Path, tmp_path: Path) -> None:
    output_of("cp", "-r", mount / "text", tmp_path / "text")
    output_of("cp", "--sparse=always", mount / "holes", tmp_path / "holes")

    output_of("diff", "-r", source / "text", tmp_path / "text")
    assert read_file(tmp_path / "holes") == read_file(source / "holes")
    assert (tmp_path / "holes").stat().st_blocks * 512 < 2 << 20


def test_git_reads_a_bare_repository(mount: Mount, source: Path, tmp_path: Path) -> None:
    git = ("git", "-c", "safe.directory=*")
    repository = mount / "repository.git"
    output_of(*git, "-C", repository, "fsck", "--full", "--strict")
    logged = output_of(*git, "-C", repository, "log", "--stat")
    output_of(*git, "clone", "-q", repository, tmp_path / "clone")

    assert logged == output_of(*git, "-C", source / "repository.git", "log", "--stat")
    output_of("diff", "-r", "--exclude=.git", source / "text", tmp_path / "clone")


def test_sqlite_reads_a_database(mount: Mount) -> None:
    connection = sqlite3.connect(f"file:{mount / 'rows.sqlite'}?mode=ro", uri=True)
    try:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        assert connection.execute("select count(*), sum(number) from rows").fetchone() == (
            ROWS,
            ROWS * (ROWS - 1) // 2,
        )
        assert connection.execute("select text from rows where number = 12345").fetchone() == (
            "row 12345",
        )
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("delete from rows")
    finally:
        connection.close()


def test_archives_are_read_at_random(mount: Mount, source: Path) -> None:
    same(source, mount, "unzip", "-t", "text.zip")
    with zipfile.ZipFile(mount / "text.zip") as archive:
        assert archive.testzip() is None
        assert archive.read("text/json/decoder.py") == read_file(source / "text/json/decoder.py")
    with tarfile.open(mount / "text.tar") as archive:
        member = archive.extractfile("text/json/scanner.py")
        assert member is not None
        assert member.read() == read_file(source / "text/json/scanner.py")


def test_a_player_seeks_from_the_head_to_the_index_at_the_end_and_back(
    mount: Mount, source: Path
) -> None:
    """As ffprobe does with a film whose index is at its end."""
    expected = read_file(source / "holes")
    with open(mount / "holes", "rb") as file:
        assert file.read(32) == expected[:32]
        file.seek(-65_536, os.SEEK_END)
        assert file.read() == expected[-65_536:]
        for place in range(0, len(expected), 1 << 20):
            file.seek(place)
            assert file.read(4096) == expected[place : place + 4096]


def test_holes_and_ends_are_found_by_seeking(mount: Mount, source: Path) -> None:
    descriptor = os.open(mount / "holes", os.O_RDONLY)
    size = (source / "holes").stat().st_size
    assert os.lseek(descriptor, 0, os.SEEK_DATA) == 0
    assert os.lseek(descriptor, 0, os.SEEK_HOLE) == size
    os.close(descriptor)


def test_python_imports_from_the_mount(mount: Mount) -> None:
    program = "import json; print(json.__file__, json.loads('[1]'))"

    assert (
        output_of("python3", "-c", program, cwd=mount / "text")
        == f"{mount / 'text/json/__init__.py'} [1]\n"
    )


def test_a_file_is_locked_for_reading_as_on_a_disk(mount: Mount) -> None:
    output_of("flock", "--shared", "--nonblock", mount / "lines", "true")


def test_a_mapping_shows_the_file(mount: Mount, source: Path) -> None:
    assert read_mapped(mount / "lines") == read_file(source / "lines")


def _make_repository(at: Path, files: Path) -> None:
    work = at.with_name("work")
    shutil.copytree(files, work)
    git = (
        "git",
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.org",
        "-c",
        "init.defaultBranch=main",
        "-C",
        work,
    )
    output_of(*git, "init", "-q")
    for directory in ("json", "email"):
        output_of(*git, "add", directory)
        output_of(*git, "commit", "-q", "-m", f"Add {directory}")
    output_of("git", "clone", "-q", "--bare", work, at)
    output_of("git", "-C", at, "repack", "-q", "-a", "-d")
    output_of("git", "-C", at, "pack-refs", "--all")
    (at / "refs/heads/keep").write_text(
        output_of("git", "-C", at, "rev-parse", "main")
    )  # git requires the directory
    shutil.rmtree(work)


def _make_database(at: Path) -> None:
    connection = sqlite3.connect(at)
    connection.execute("create table rows (number integer primary key, text text)")
    connection.executemany(
        "insert into rows values (?, ?)", ((number, f"row {number}") for number in range(ROWS))
    )
    connection.commit()
    connection.close()

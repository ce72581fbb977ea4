"""Workloads that go through a whole tree of small files: archives, searches, copies."""

import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.content import SEARCHED
from benchmarks.workload import PLAIN, Stopwatch, checked_length, lines

_MEMORY = Path("/dev/shm")


def tar_tree(root: Path, watch: Stopwatch) -> int:
    """Archive the tree into a pipe: tar reads no file for /dev/null; count the files' bytes."""
    ended = subprocess.run(["tar", "-cf-", "-C", root, "mixed"], stdout=subprocess.PIPE, check=True)
    watch.stop()
    with tarfile.open(fileobj=io.BytesIO(ended.stdout)) as archive:
        return sum(_member_length(archive, member) for member in archive if member.isfile())


def grep_tree(root: Path, _: Stopwatch) -> int:
    """Count the files that have bytes which all of them have."""
    return lines(["grep", "-rlF", SEARCHED, root / "mixed"])


def cp_tree(root: Path, watch: Stopwatch) -> int:
    return _copy(root, watch, ["cp", "-a"])


def rsync_tree(root: Path, watch: Stopwatch) -> int:
    return _copy(root, watch, ["rsync", "-a"])


def _copy(root: Path, watch: Stopwatch, command: list[str]) -> int:
    """Copy the tree into memory, and count the bytes of the copy."""
    with _folder() as folder:
        watch.start()
        subprocess.run([*command, root / "mixed", folder], env=PLAIN, check=True)
        watch.stop()
        return sum(
            checked_length(path.read_bytes(), path.name)
            for path in folder.rglob("*")
            if path.is_file()
        )


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    where = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="s3mount-bench-copy-", dir=where) as made:
        yield Path(made)


def _member_length(archive: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    content = archive.extractfile(member)
    assert content is not None  # it is a file
    return checked_length(content.read(), member.name)

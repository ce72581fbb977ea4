"""5,000 real files, uploaded and mounted, equal their source."""

import itertools
import shutil
import sysconfig
from pathlib import Path

import pytest

from tests.mount.buckets import fill_from
from tests.mount.filesystem_access import output_of
from tests.mount.mount_process import mount_of
from tests.servers import S3Server

FILES = 5000
SMALL = 256 << 10  # bytes
LARGE = 3  # files of some megabytes each
CHECKSUMS = "find . -type f -print0 | sort -z | xargs -0 sha256sum"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python's own library and some large binaries, without empty directories, which S3 has not."""
    source = tmp_path_factory.mktemp("tree")
    roots = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    found = (
        path
        for root in roots
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    )
    small = (
        path for path in found if path.stat().st_size < SMALL and "__pycache__" not in path.parts
    )
    for path in itertools.islice(small, FILES):
        copy = source / path.relative_to(path.anchor)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    libraries = sorted(Path(roots[0]).parent.rglob("*.so*"), key=lambda path: path.stat().st_size)
    for path in libraries[-LARGE:]:
        shutil.copyfile(path, source / path.name)
    assert len([path for path in source.rglob("*") if path.is_file()]) >= FILES
    return source


def test_a_tree_of_5000_files_equals_its_source_in_names_sizes_and_bytes(
    server: S3Server, source: Path, tmp_path: Path
) -> None:
    bucket = fill_from(server, source)
    with mount_of(server, bucket, tmp_path / "mnt") as mount:
        for question in ("find . | sort", "find . -type f -printf '%s %p\\n' | sort", CHECKSUMS):
            expected = output_of("bash", "-o", "pipefail", "-c", question, cwd=source)
            assert output_of("bash", "-o", "pipefail", "-c", question, cwd=mount.path) == expected

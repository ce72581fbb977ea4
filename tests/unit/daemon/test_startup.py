"""What may be imported after privileges were dropped."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from s3mount.daemon import startup

OTHER = 65534  # not the user of the tests


@pytest.fixture
def library() -> Iterator[Path]:
    """A directory that every user may enter, and read a module in: pytest's own is private."""
    with TemporaryDirectory() as made:
        path = Path(made)
        path.chmod(0o755)
        (path / "library").mkdir()
        (path / "library").chmod(0o755)
        (path / "library/module.py").touch()
        (path / "library/module.py").chmod(0o644)
        (path / "private").mkdir(mode=0o700)
        (path / "private/library").symlink_to("../library")
        yield path


def test_a_module_that_all_may_read_can_be_imported_late(library: Path) -> None:
    module = library / "library/module.py"

    assert startup._may_read(module, OTHER)
    module.chmod(0o600)
    assert not startup._may_read(module, OTHER)
    assert startup._may_read(library / "private/library/module.py", os.getuid())


def test_a_link_in_a_private_directory_cannot_be_followed_late(library: Path) -> None:
    assert not startup._may_read(library / "private/library/module.py", OTHER)

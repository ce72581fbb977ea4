"""The packages and two Debian roots, clean and with the version before: made once for the suite."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.packages.build import (
    Packages,
    build,
    commit_time,
    copy_tree,
    install_in_chroot,
    lower_version,
    make_root,
)
from tests.servers import S3Server
from tests.systemd.fixtures import bucket, server
from tests.systemd.sandbox import Sandbox, booted
from tests.systemd.service import Service

__all__ = ["bucket", "server"]  # fixtures of two suites


@pytest.fixture(scope="session")
def top() -> Iterator[Path]:
    """A directory for all that is made; it is deleted at once, since roots are large."""
    with TemporaryDirectory(prefix="packages-") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def _made(top: Path) -> Iterator[dict[str, Future[Path]]]:
    """Make side by side what takes half a minute each."""
    again = {"CFLAGS": "-O0", "PYTHONPATH": "/nonexistent", "TZ": "Asia/Tokyo"}
    with ThreadPoolExecutor() as pool:
        yield {
            "root": pool.submit(make_root, top / "root"),
            "packages": pool.submit(lambda: build(top / "packages").directory),
            "again": pool.submit(
                lambda: (
                    build(
                        top / "again",
                        copy_tree(top / "tree"),
                        SOURCE_DATE_EPOCH=commit_time(),
                        **again,
                    ).directory
                )
            ),
        }


@pytest.fixture(scope="session")
def packages(_made: dict[str, Future[Path]]) -> Packages:
    return Packages(_made["packages"].result())


@pytest.fixture(scope="session")
def packages_again(_made: dict[str, Future[Path]]) -> Packages:
    """The packages of a copy of the tree elsewhere, without git, in another environment."""
    return Packages(_made["again"].result())


@pytest.fixture(scope="session")
def clean_root(_made: dict[str, Future[Path]]) -> Path:
    return _made["root"].result()


@pytest.fixture(scope="session")
def old_root(clean_root: Path, packages: Packages, top: Path) -> Path:
    """A root in which the version before is installed."""
    old = lower_version(packages.deb, top / "old")
    subprocess.run(["cp", "-a", clean_root, top / "old-root"], check=True)
    install_in_chroot(top / "old-root", old)
    return top / "old-root"


@pytest.fixture
def clean_machine(clean_root: Path, packages: Packages) -> Iterator[Sandbox]:
    """A Debian that has just been booted; the packages are seen at their path."""
    with booted(clean_root, [packages.directory]) as machine:
        yield machine


@pytest.fixture
def machine(old_root: Path, packages: Packages) -> Iterator[Sandbox]:
    """A Debian with the version before; the packages are seen at their path."""
    with booted(old_root, [packages.directory]) as machine:
        yield machine


@pytest.fixture
def service(machine: Sandbox, server: S3Server, bucket: str) -> Service:
    """A configured instance of the unit, on `machine`."""
    service = Service(machine, "photos")
    service.configure(server, bucket)
    return service

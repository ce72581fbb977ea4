"""The wheel and the sdist, as pip and the index take them."""

import sys
import tarfile
from pathlib import Path

import pytest

from tests.mount.mount_process import served
from tests.packages.build import Packages, run
from tests.servers import S3Server
from tests.systemd.sandbox import CHECKOUT
from tests.systemd.service import BODY, KEY


@pytest.fixture(scope="module")
def environment(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and what it requires from the index."""
    path = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-I", "-m", "venv", path)
    constraints = Path(sys.prefix, "constraints")
    run(path / "bin/pip", "install", "-q", "-c", constraints, packages.wheel)
    return path


def test_the_index_would_take_them(packages: Packages) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", packages.wheel, packages.sdist)


def test_the_sdist_has_the_files_that_git_tracks(packages: Packages) -> None:
    with tarfile.open(packages.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    tracked = run("git", "-C", CHECKOUT, "ls-files").splitlines()
    assert {name for name in tracked if (CHECKOUT / name).exists()} | {"PKG-INFO"} == names


def test_two_builds_are_the_same_bytes(packages: Packages, packages_again: Packages) -> None:
    for one, other in (
        (packages.wheel, packages_again.wheel),
        (packages.sdist, packages_again.sdist),
        (packages.deb, packages_again.deb),
    ):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes(), f"{one.name} differs"


def test_the_commands_of_the_wheel_say_what_they_are(environment: Path) -> None:
    assert run(environment / "bin/s3mount", "--version").startswith("s3mount ")
    for command in ("s3mount", "s3mount-clear"):
        assert "Usage: " in run(environment / "bin" / command, "--help")


def test_the_wheel_mounts(environment: Path, tmp_path: Path, server: S3Server, bucket: str) -> None:
    options = ("--foreground", "--log-format", "json", "--endpoint-url", server.endpoint_url)
    words = [str(environment / "bin/s3mount"), bucket, str(tmp_path / "mount"), *options]

    with served(words, tmp_path / "mount", env={**server.environment(), "PYTHONPATH": ""}) as mount:
        assert (mount / KEY).read_bytes() == BODY

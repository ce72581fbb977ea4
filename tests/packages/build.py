"""Packages of this checkout, built by scripts/package, and the clean systems that they go to.

Knows Debian's tools, nothing of mounts. Needs root.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.systemd.sandbox import CHECKOUT

CONTROL = CHECKOUT / "scripts/lib/debian/control"
OLD_VERSION = "0.0.1"


@dataclass(frozen=True, slots=True)
class Packages:
    """The files that one run of scripts/package made."""

    directory: Path

    @property
    def wheel(self) -> Path:
        return self._only("*.whl")

    @property
    def sdist(self) -> Path:
        return self._only("*.tar.gz")

    @property
    def deb(self) -> Path:
        return self._only("*.deb")

    def _only(self, pattern: str) -> Path:
        (found,) = self.directory.glob(pattern)
        return found


def build(output: Path, tree: Path = CHECKOUT, **environment: str) -> Packages:
    """Run scripts/package of *tree*, with *environment* beside that of the tests."""
    run(tree / "scripts/package", "--output", output, env=os.environ | environment)
    return Packages(output)


def copy_tree(directory: Path) -> Path:
    """Copy the files that git tracks to the new *directory*, without git's own."""
    directory.mkdir()
    listed = run("git", "-C", CHECKOUT, "ls-files").splitlines()
    for name in filter(lambda each: (CHECKOUT / each).exists(), listed):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, directory / name)
    return directory


def commit_time() -> str:
    return run("git", "-C", CHECKOUT, "log", "-1", "--format=%ct").strip()


def make_root(root: Path) -> Path:
    """Make a Debian root of this machine's release, with what s3mount depends on and no more."""
    codename = _os_release()["VERSION_CODENAME"]
    run(
        "mmdebstrap",
        "--mode=root",
        "--variant=essential",
        "--format=directory",
        "--dpkgopt=force-unsafe-io",
        f"--include={','.join(dependencies())}",
        codename,
        root,
    )
    return root


def dependencies() -> list[str]:
    """Return the packages of Depends: the first of alternatives, without versions and libraries."""
    line = re.search(r"^Depends: (.*)$", CONTROL.read_text(), re.MULTILINE)
    assert line is not None
    names = {re.split(r"[ |]", each)[0] for each in line[1].split(", ")}
    return sorted(name for name in names if not name.startswith("@"))


def lower_version(deb: Path, directory: Path) -> Path:
    """Return *deb* with the version `OLD_VERSION`, for upgrades; *directory* is new."""
    run("dpkg-deb", "-R", deb, directory)
    control = directory / "DEBIAN/control"
    control.write_text(
        re.sub(r"(?m)^(Version: )[^-]+", rf"\g<1>{OLD_VERSION}", control.read_text())
    )
    (module,) = directory.glob("usr/lib/s3mount/lib/python3*/site-packages/s3mount/__init__.py")
    module.write_text(
        re.sub(r'__version__ = ".*"', f'__version__ = "{OLD_VERSION}"', module.read_text())
    )
    old = directory.with_suffix(".deb")
    run("dpkg-deb", "-Znone", "--build", directory, old)
    return old


def install_in_chroot(root: Path, deb: Path) -> str:
    """Install *deb* by dpkg in *root*, which runs no service manager."""
    shutil.copy(deb, root / "package.deb")
    try:
        return run("chroot", root, "dpkg", "--install", "/package.deb")
    finally:
        (root / "package.deb").unlink()


def run(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Run *command*, and return its output; AssertionError with all of it if it fails."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def _os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line)
    return {name: value.strip('"') for name, _, value in pairs}

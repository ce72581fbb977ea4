"""Comparison of the lock files with pyproject.toml, offline: `python check_lock.py ROOT`.

It runs in an environment made from the lock files. Differences are lines on stdout, and exit
status 1. Each requirement must be locked, at a version that fits, with hashes; and so must its own
requirements, on each Python and architecture that s3mount runs on. Nothing else may be locked.
"""

import itertools
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")
ENVIRONMENTS = tuple(
    {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
        "sys_platform": "linux",
    }
    | {"platform_system": "Linux", "os_name": "posix", "implementation_name": "cpython"}
    | {"platform_python_implementation": "CPython"}
    for python, machine in itertools.product(PYTHONS, MACHINES)
)
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)"
)
# the build requirements of pyfuse3, which only scripts/lock reads; it is built without isolation
_BUILDS_PYFUSE3 = ("setuptools", "setuptools-scm", "cython")

Lock = Mapping[str, str]  # name → version


class LockError(Exception):
    """A lock file that cannot be parsed."""


def main() -> int:
    root = Path(sys.argv[1])
    try:
        differences = [*check(root)]
    except LockError as exc:
        differences = [str(exc)]
    for difference in differences:
        print(difference)
    if differences:
        print("renew the lock files: scripts/lock")
    return bool(differences)


def check(root: Path) -> Iterator[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    oldest = project["project"]["requires-python"].removeprefix(">=")
    tables = {
        "requirements.lock": project["project"]["dependencies"],
        "requirements-build.lock": [*project["build-system"]["requires"], *_BUILDS_PYFUSE3],
    }
    for name, requirements in tables.items():
        lock = read_lock(root / name)
        yield from (f"{name}: {difference}" for difference in compare(lock, requirements, oldest))


def read_lock(path: Path) -> Lock:
    """Parse a lock file. Raises LockError for a line without version and hashes, such as a URL."""
    lock: dict[str, str] = {}
    text = re.sub(r"\\\n\s*", "", path.read_text())
    for line in filter(None, (line.partition("#")[0].rstrip() for line in text.splitlines())):
        pin = _PIN.fullmatch(line)
        if pin is None:
            raise LockError(f"{path.name}: this is not a version with hashes: {line[:60]}")
        lock[canonicalize_name(pin["name"])] = pin["version"]
    return lock


def compare(lock: Lock, requirements: Iterable[str], oldest: str) -> Iterator[str]:
    """Yield differences; *oldest* is the oldest Python that all of *lock* must run on."""
    seen: set[str] = set()
    remaining = [("pyproject.toml", Requirement(each)) for each in requirements]
    while remaining:
        dependent, requirement = remaining.pop()
        name = canonicalize_name(requirement.name)
        if name not in lock:
            yield f"{dependent} requires {requirement}, which is not locked"
        elif not requirement.specifier.contains(lock[name], prereleases=True):
            yield f"{dependent} requires {requirement}, but {lock[name]} is locked"
        elif name not in seen:
            seen.add(name)
            remaining += [(name, each) for each in _required_by(name, requirement.extras)]
            yield from _installation_errors(name, lock[name], oldest)
    yield from (f"{name} is locked, but nothing requires it" for name in sorted(set(lock) - seen))


def _installation_errors(name: str, version: str, oldest: str) -> Iterator[str]:
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        yield f"{name} is not installed, so its requirements are not known"
        return
    if installed.version != version:
        yield f"{name}: {installed.version} is installed, so what {version} requires is not known"
    elif not SpecifierSet(installed.metadata.get("Requires-Python") or "").contains(oldest):
        yield f"{name} {version} does not run on Python {oldest}"


def _required_by(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    """Yield the requirements of a package in any of `ENVIRONMENTS`."""
    try:
        required = distribution(name).requires or []
    except PackageNotFoundError:
        return
    for requirement in map(Requirement, required):
        marker = requirement.marker
        if marker is None or any(
            marker.evaluate({**environment, "extra": extra})
            for environment in ENVIRONMENTS
            for extra in ("", *extras)
        ):
            yield requirement


if __name__ == "__main__":
    sys.exit(main())

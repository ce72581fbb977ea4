"""Check if root may run a virtual environment: `python -I trusted.py VENV COMMAND...`, as root.

For scripts/install, which links root's mount helper to it. Checked are each file and directory in
it, the targets of its links, the interpreter and its library, what `sys.path` adds (an editable
checkout), and every directory above them. Nothing of it runs before it was checked. The first path
that another user could change is named in one line on stderr, with exit status 1.

The walk of `check_path` is that of s3mount/daemon/log_file.py, rule 4, but stricter: there a group
may write, and the file may be its user's own. It is written twice, because this script must not
import the package before it has judged it.
"""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath

LINKS_MAX = 40  # as the kernel follows, see path_resolution(7)
ACL = "system.posix_acl_access"
ROOT = 0


class UntrustedError(Exception):
    """One line: the path, and who could change it."""


def main() -> int:
    environment, commands = Path(sys.argv[1]), sys.argv[2:]
    try:
        check_environment(environment, commands)
    except UntrustedError as exc:
        print(
            f"{environment} is not for root to run: {exc}; install it as root: scripts/install",
            file=sys.stderr,
        )
        return 1
    except OSError as exc:
        print(
            f"{environment} is not for root to run: {exc.filename}: {exc.strerror}", file=sys.stderr
        )
        return 1
    return 0


def check_environment(environment: Path, commands: list[str]) -> None:
    """Raise UntrustedError; OSError if something is missing."""
    check_tree(environment)
    interpreters = {interpreter_of(environment / "bin" / command) for command in commands}
    for interpreter in interpreters:
        if interpreter.parent.resolve() != (environment / "bin").resolve():
            raise UntrustedError(f"its commands are run by {interpreter}")
        for library in libraries(check_path(interpreter)):
            check_tree(library)
    for path in added_paths(environment):
        check_tree(path)
    for interpreter in interpreters:  # it is root's code: it may run
        for path in import_path(interpreter):
            check_tree(path)


def check_tree(top: Path) -> None:
    """Raise UntrustedError if others than root could change *top*, its content, or its links."""
    real = check_path(top)
    for path, found in below(real):
        check_owner(path, found)
        if stat.S_ISLNK(found.st_mode):
            check_link(path)
        else:
            check_mode(path, found)


def below(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield all paths below *top*, with the result of lstat."""
    if not top.is_dir():
        return
    for directory, names, files in os.walk(top, onerror=_raise):
        for name in (*names, *files):
            path = Path(directory, name)
            yield path, path.lstat()


def check_link(link: Path) -> None:
    """Check the target of a link. A missing target is allowed: its directory is checked."""
    try:
        check_path(link)
    except FileNotFoundError:
        return


def check_path(path: Path) -> Path:
    """Resolve *path*. Raises UntrustedError if others than root could change a component of it.

    From the root down: a user who could replace the next component is found before it is read.
    """
    here = Path("/")
    remaining = [*reversed(path.absolute().parts)]
    links = 0
    while remaining:
        step = here / remaining.pop()
        found = step.lstat()
        check_owner(step, found)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > LINKS_MAX:
                raise UntrustedError(f"{path} has a cycle of links")
            remaining += reversed(PurePath(step.readlink()).parts)
            continue
        # in a sticky directory, such as /tmp, others may add files, but not replace root's
        is_sticky = bool(found.st_mode & stat.S_ISVTX)
        check_mode(step, found, may_be_shared=bool(remaining) and is_sticky)
        here = step.parent.parent if step.name == ".." else step
    return here


def check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != ROOT:
        raise UntrustedError(f"{path} belongs to another user ({found.st_uid})")


def check_mode(path: Path, found: os.stat_result, *, may_be_shared: bool = False) -> None:
    is_for_group = found.st_mode & stat.S_IWGRP and (found.st_gid != ROOT or _has_acl(path))
    if (found.st_mode & stat.S_IWOTH or is_for_group) and not may_be_shared:
        raise UntrustedError(
            f"{path} can be written by {'a group' if is_for_group else 'every user'}"
        )


def interpreter_of(command: Path) -> Path:
    """Return the interpreter that the script *command* names."""
    with command.open("rb") as file:
        # pip writes a line of sh before a long path
        head = b"".join(file.readline(4096) for _ in range(2))
    named = re.search(rb"(/[^\n'\"]*/bin/python[0-9.]*)", head)
    if named is None:
        raise UntrustedError(f"{command} is not a script of a Python")
    return Path(os.fsdecode(named[1]))


def added_paths(environment: Path) -> Iterator[Path]:
    """Yield what *.pth files add to `sys.path`, see the module site."""
    for packages in environment.glob("lib*/python3*/site-packages"):
        for file in sorted(packages.glob("*.pth")):
            for line in os.fsdecode(file.read_bytes()).splitlines():
                path = packages / line.strip()
                if (
                    line.strip()
                    and not line.startswith(("#", "import ", "import\t"))
                    and path.exists()
                ):
                    yield path


def libraries(interpreter: Path) -> Iterator[Path]:
    """Yield the standard library of *interpreter*, and its shared library."""
    prefix = interpreter.parents[1]
    for name in ("lib", "lib64"):
        yield from sorted((prefix / name).glob("python3*"))
        yield from sorted((prefix / name).glob("libpython3*"))


def import_path(interpreter: Path) -> list[Path]:
    """Return the `sys.path` of the commands of an environment."""
    program = "import sys; print(*sys.path[1:], sep='\\0', end='')"
    done = subprocess.run(
        [interpreter, "-c", program], check=True, capture_output=True, cwd="/", env={}
    )
    return [
        path
        for text in done.stdout.decode(errors="surrogateescape").split("\0")
        if (path := Path(text)).exists()
    ]


def _has_acl(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, ACL, follow_symlinks=False))
    except OSError:
        return False


def _raise(exc: OSError) -> None:
    raise exc


if __name__ == "__main__":
    sys.exit(main())

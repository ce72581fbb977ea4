"""Whether root may run what is installed in a virtual environment: `python -I trusted.py VENV COMMAND...`, as root.

For scripts/install, which links root's mount helper to it. Nothing of the environment is run before it is found to be root's: each
file and directory in it, what its links name, the interpreter and its library, what `sys.path` adds (an editable checkout), and
every directory above them. The first that another user could change is named in one line on stderr, with exit status 1.
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
    """One line: what it is, and who could change it."""


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
    """Raises UntrustedError; OSError where something is missing."""
    check_tree(environment)
    interpreters = {interpreter_of(environment / "bin" / command) for command in commands}
    for interpreter in interpreters:
        if interpreter.parent.resolve() != (environment / "bin").resolve():
            raise UntrustedError(f"its commands are run by {interpreter}")
        for library in libraries(check_way(interpreter)):
            check_tree(library)
    for path in added_paths(environment):
        check_tree(path)
    for interpreter in interpreters:  # only root's code is run by now
        for path in import_path(interpreter):
            check_tree(path)


def check_tree(top: Path) -> None:
    """Raise UntrustedError where anybody but root could change *top*, what is in it, or what its links name."""
    real = check_way(top)
    for path, found in below(real):
        check_owner(path, found)
        if stat.S_ISLNK(found.st_mode):
            check_link(path)
        else:
            check_mode(path, found)


def below(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All that is in *top*, a directory or a file, as lstat sees it."""
    if not top.is_dir():
        return
    for directory, names, files in os.walk(top, onerror=_raise):
        for name in (*names, *files):
            path = Path(directory, name)
            yield path, path.lstat()


def check_link(link: Path) -> None:
    """A link to nowhere is nobody's: what comes to stand there later was put there by whoever may write there, who is checked."""
    try:
        check_way(link)
    except FileNotFoundError:
        return


def check_way(path: Path) -> Path:
    """*path* without links; raises UntrustedError where anybody but root could change it, or a directory or link on the way."""
    here = Path("/")
    ahead = [*reversed(path.absolute().parts)]
    links = 0
    while ahead:
        step = here / ahead.pop()
        found = step.lstat()
        check_owner(step, found)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > LINKS_MAX:
                raise UntrustedError(f"{path} goes in a circle")
            ahead += reversed(PurePath(step.readlink()).parts)
            continue
        # a directory like /tmp lets others add to it, but not replace what is root's
        check_mode(step, found, may_be_shared=bool(ahead) and bool(found.st_mode & stat.S_ISVTX))
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
    """The Python that the script *command* names."""
    with command.open("rb") as file:
        head = b"".join(
            file.readline(4096) for _ in range(2)
        )  # pip writes a line of sh before a long path
    named = re.search(rb"(/[^\n'\"]*/bin/python[0-9.]*)", head)
    if named is None:
        raise UntrustedError(f"{command} is no script of a Python")
    return Path(os.fsdecode(named[1]))


def added_paths(environment: Path) -> Iterator[Path]:
    """What *.pth files add to `sys.path`, see the module site: their other lines are code, which may come from there."""
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
    """The standard library of *interpreter*, and the shared one that it may be linked to."""
    prefix = interpreter.parents[1]
    for name in ("lib", "lib64"):
        yield from sorted((prefix / name).glob("python3*"))
        yield from sorted((prefix / name).glob("libpython3*"))


def import_path(interpreter: Path) -> list[Path]:
    """What `sys.path` has for the commands of an environment."""
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

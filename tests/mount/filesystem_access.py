"""Accesses to a mount: its whole tree, the error of a call, the output of a program."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.reference import Directory


def read_tree(path: Path | bytes) -> Directory[bytes]:
    """Read everything below *path* as a tree of the reference model; fails on a repeated name."""
    tree: Directory[bytes] = Directory()
    with os.scandir(os.fsencode(path)) as entries:
        for entry in entries:
            assert entry.name not in tree, f"{entry.name!r} comes twice"
            tree[entry.name] = read_tree(entry.path) if entry.is_dir() else read_file(entry.path)
    return tree


def read_file(path: Path | bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def read_mapped(path: Path) -> bytes:
    """Read by `mmap` in another process.

    Python waits for a page with the GIL held, and a page that cannot be read kills the process.
    """
    program = (
        "import mmap, sys; f = open(sys.argv[1], 'rb'); "
        "sys.stdout.buffer.write(mmap.mmap(f.fileno(), 0, prot=1)[:])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, path],
        capture_output=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise OSError(errno.ESTALE, f"killed by {-done.returncode}: {done.stderr!r}")
    return done.stdout


def failure_of(call: Callable[[], object]) -> str:
    """Return the name of the errno that *call* fails with; empty if it succeeds."""
    try:
        call()
    except OSError as exc:
        return errno.errorcode[exc.errno or 0]
    return ""


def output_of(*words: str | Path, cwd: Path | None = None, status: int = 0) -> str:
    """Return the output of a program, its messages included; it must end with *status*."""
    done = subprocess.run(
        words,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    said = done.stdout.decode("utf-8", "surrogateescape")
    assert done.returncode == status, f"{words} ended with {done.returncode}:\n{said}"
    return said

"""Demo: SeaweedFS on loopback, a bucket with files of this machine, and a mount of it.

However it ends, it removes what it made: mount, mount point, server, temporary directory.
"""

import argparse
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import FrameType

from tests.servers import S3Server, seaweedfs

BUCKET = "demo"
LARGE = 200 << 20  # bytes
FILES_PER_TREE = 2000
WORKERS = 8
SIGNALS = (signal.SIGINT, signal.SIGTERM)
CHECKOUT = Path(__file__).resolve().parents[2]

Sources = Mapping[str, Path]  # key → the file it was uploaded from


class DemoError(Exception):
    """An error for the user, in one line."""


def main() -> int:
    arguments = _arguments()
    for number in SIGNALS:  # a shell's background jobs ignore SIGINT
        signal.signal(number, interrupt)
    try:
        with ExitStack() as stack:
            return _demonstrate(stack, arguments.path.absolute(), check=arguments.check)
    except KeyboardInterrupt:
        return 130
    except DemoError as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; a further signal does not interrupt the removal of what was made."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo", description="An S3 server, a bucket with real files, and a mount of it."
    )
    parser.add_argument(
        "--check", action="store_true", help="compare every file with its source, unmount and end"
    )
    parser.add_argument(
        "path", nargs="?", type=Path, default=Path("/mnt/s3"), help="where to mount (/mnt/s3)"
    )
    return parser.parse_args()


def _demonstrate(stack: ExitStack, mountpoint: Path, *, check: bool) -> int:
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3mount-demo-")))
    stack.enter_context(_directory(mountpoint))
    _say("starting SeaweedFS on loopback")
    server, _ = stack.enter_context(seaweedfs())
    os.environ |= {**server.environment(), "AWS_REGION": server.region}
    sources = _gather(scratch)
    _upload(server, sources)
    stack.enter_context(_mounted(server.endpoint_url, mountpoint, scratch / "s3mount.log"))
    if check:
        return _compare(mountpoint, sources)
    _tour(mountpoint)
    _say(f"the bucket stays mounted at {mountpoint} until Ctrl-C")
    with suppress(KeyboardInterrupt):
        signal.pause()
    return 0


# The bucket


def _gather(scratch: Path) -> Sources:
    """Return files of this machine by their key; a file that is missing is left out."""
    trees = {
        "python": Path(sysconfig.get_path("stdlib")),
        "packages": Path(sysconfig.get_path("purelib")),
        "zoneinfo": Path("/usr/share/zoneinfo"),
        "doc": Path("/usr/share/doc"),
    }
    sources = {"notes.txt": CHECKOUT / "README.md"}
    sources |= {
        f"bin/{path.name}": path for name in ("bash", "git", "python3") for path in _program(name)
    }
    for name, top in trees.items():
        sources |= {
            f"{name}/{path.relative_to(top)}": path for path in islice(_files(top), FILES_PER_TREE)
        }
    sources["large.bin"] = _concatenate(sources.values(), scratch / "large.bin")
    return sources


def _program(name: str) -> Iterator[Path]:
    found = shutil.which(name)
    if found:
        yield Path(found)


def _files(top: Path) -> Iterator[Path]:
    """Yield regular files below *top*, but not those of __pycache__ and site-packages."""
    for directory, names, files in os.walk(top):
        names[:] = sorted(name for name in names if name not in {"__pycache__", "site-packages"})
        yield from (
            path for path in map(Path(directory).joinpath, sorted(files)) if _is_plain(path)
        )


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and os.access(path, os.R_OK)


def _concatenate(sources: Iterable[Path], target: Path) -> Path:
    """Fill *target* with `LARGE` bytes or a little more, of *sources* repeated."""
    contents = [path.read_bytes() for path in sources]
    with target.open("wb") as file:
        while file.tell() < LARGE:
            file.writelines(contents)
    return target


def _upload(server: S3Server, sources: Sources) -> None:
    client = server.client()
    client.create_bucket(Bucket=BUCKET)
    began = time.monotonic()

    def put(key: str) -> None:
        with sources[key].open("rb") as body:
            client.put_object(Bucket=BUCKET, Key=key, Body=body)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(put, sources))
    total = sum(path.stat().st_size for path in sources.values())
    _say(
        f"uploaded {len(sources):,} files, {total >> 20:,} MiB, in {time.monotonic() - began:.0f} s"
    )


# The mount


@contextmanager
def _directory(path: Path) -> Iterator[None]:
    """Make the directory *path*; remove it afterwards. Raises DemoError if it is a mount."""
    if os.path.ismount(path):
        raise DemoError(
            f"something is mounted at {path} already: name another path, as in: demo ~/s3"
        )
    made = [parent for parent in (path, *path.parents) if not parent.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise DemoError(
            f"cannot create {path} ({exc.strerror}): name a path of your own, as in: demo ~/s3"
        ) from exc
    try:
        yield
    finally:
        for directory in made:
            directory.rmdir()


@contextmanager
def _mounted(endpoint: str, mountpoint: Path, log: Path) -> Iterator[None]:
    options = ["--endpoint-url", endpoint, "--path-style", "--log-file", str(log)]
    command = ["s3mount", BUCKET, str(mountpoint), *options]
    _show(command)
    try:
        if subprocess.run(command, check=False).returncode != 0:
            raise DemoError("s3mount did not mount")
        yield
    finally:
        _unmount(mountpoint)


def _unmount(mountpoint: Path) -> None:
    """Unmount; lazily if a process still uses the mount."""
    if os.path.ismount(mountpoint):
        plain = subprocess.run(["fusermount3", "-u", mountpoint], check=False, capture_output=True)
        if plain.returncode != 0:
            subprocess.run(["fusermount3", "-uz", mountpoint], check=False)


def _tour(mountpoint: Path) -> None:
    commands = (
        "ls -l .",
        "head -n 5 notes.txt",
        "find . -type f | wc -l",
        "du -sh --apparent-size *",
        "grep -rl 'import asyncio' python | head -n 5",
        "sha256sum large.bin",
        "tail -c 32 large.bin | od -c | head -n 2",
        "tar -c zoneinfo | tar -t | wc -l",
        "touch notes.txt",
    )
    for command in commands:
        _show([command], cwd=mountpoint)
        began = time.monotonic()
        subprocess.run(command, shell=True, cwd=mountpoint, check=False)
        print(f"  ({time.monotonic() - began:.2f} s)")


def _compare(mountpoint: Path, sources: Sources) -> int:
    began = time.monotonic()
    names = {str(path.relative_to(mountpoint)) for path in _walk(mountpoint)}
    with ThreadPoolExecutor(WORKERS) as pool:
        same = dict(
            zip(
                sources,
                pool.map(lambda key: _is_same(mountpoint / key, sources[key]), sources),
                strict=True,
            )
        )
    wrong = [f"differs: {key}" for key, equal in same.items() if not equal]
    wrong += [f"not in its source: {name}" for name in sorted(names - sources.keys())]
    wrong += [f"not listed: {key}" for key in sorted(sources.keys() - names)]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    _say(
        f"{len(sources):,} files compared by sha256 in {time.monotonic() - began:.0f} s, "
        f"{len(wrong)} differences"
    )
    return 1 if wrong else 0


def _walk(top: Path) -> Iterator[Path]:
    for directory, _, files in os.walk(top, onerror=_raise):
        yield from map(Path(directory).joinpath, files)


def _raise(error: OSError) -> None:
    raise error


def _is_same(seen: Path, source: Path) -> bool:
    try:
        return _sha256(seen) == _sha256(source)
    except OSError as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _say(line: str) -> None:
    print(f"== {line}", flush=True)


def _show(command: list[str], cwd: Path | None = None) -> None:
    line = command[0] if len(command) == 1 else shlex.join(command)
    print(f"\n{cwd or ''}$ {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

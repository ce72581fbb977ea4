"""Memory of the machine while a file of a mount is read that its disk cache has.

python -m benchmarks.page_cache FILE CACHE_DIRECTORY

Prints a line for each eighth of FILE: the machine's free memory, its page cache, and how much of
that is of the files in CACHE_DIRECTORY, in MiB. Drop the page cache before, or those of FILE count.
"""

import ctypes
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.content import MIB

_PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


def resident_pages(file: Path) -> int:
    """Return the bytes of *file* that are in the page cache: see mincore(2)."""
    size = file.stat().st_size
    if not size:
        return 0
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), size) as mapped:
        flags = (ctypes.c_ubyte * -(-size // _PAGE))()
        first = ctypes.c_char.from_buffer(mapped)
        _libc.mincore(ctypes.byref(first), ctypes.c_size_t(size), flags)
        del first
        return sum(flag & 1 for flag in flags) * _PAGE


def memory(cache: Path) -> Iterator[tuple[str, int]]:
    """Yield the columns of a line, in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    fields = {name: int(rest.split()[0]) << 10 for name, rest in (x.split(":") for x in lines)}
    yield "free", fields["MemFree"]
    yield "page cache", fields["Cached"]
    files = (each for each in cache.rglob("*") if each.parent.name != cache.name)
    data = (each for each in files if each.is_file() and "index" not in each.name)
    yield "of the disk cache", sum(resident_pages(each) for each in data)


def main() -> None:
    """Read, and print a line at each eighth."""
    file, cache = map(Path, sys.argv[1:])
    step = file.stat().st_size // 8
    print("read", *(name for name, _ in memory(cache)), sep="\t")
    with file.open("rb", buffering=0) as opened:
        for eighth in range(9):
            columns = (f"{value // MIB}" for _, value in memory(cache))
            print(opened.tell() // MIB, *columns, sep="\t", flush=True)
            stop = opened.tell() + step * (eighth < 8)
            while opened.tell() < stop and opened.read(min(MIB, stop - opened.tell())):
                pass


if __name__ == "__main__":
    main()

"""The commands `s3mountctl cache`: care of the disk cache of a mount, or of a directory alone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import click

from s3mount.cli.completion import CompletedText
from s3mount.cli.quantities import parse_size
from s3mount.ctl import units
from s3mount.ctl.client import Reply
from s3mount.ctl.mounts import Machine
from s3mount.ctl.output import (
    console,
    escaped,
    is_terminal,
    json_option,
    show_rows,
    write_json,
    write_line,
)
from s3mount.errors import UsageError

DAMAGED: Final = 1  # exit status of verify
NOTHING: Final = 1  # of pin
_HEAD: Final = ("PRESENT", "SIZE", "LAST-USE", "STATE", "OBJECT")
_ORDERS: Final = {
    "name": lambda item: (item.get("bucket"), item.get("key")),
    "size": lambda item: -(item.get("present") or 0),
    "use": lambda item: -(item.get("accessed") or 0),
}

Show = Callable[[Reply], None]


class DiskCache(Protocol):
    """The disk cache, through a mount or in its directory. Path None is all of the directory."""

    def objects(self, path: str | None) -> Iterator[Reply]: ...
    def verify(self, path: str | None, show: Show) -> Reply: ...
    def clear(self, path: str | None) -> Reply: ...
    def pin(self, path: str, *, is_pinned: bool) -> Reply: ...


command: Final = click.Group(
    "cache",
    short_help="List, verify, clear and pin the disk cache.",
    help="List, verify, clear and pin the disk cache of a mount, or of a directory alone.\n\n"
    "PATH is a file or a directory in a mount with --cache-dir. With --dir it is BUCKET or "
    "BUCKET/KEY in that cache directory, which mounts may use meanwhile.",
    no_args_is_help=False,
)

_optional_path: Final = click.argument("path", required=False, type=CompletedText(kind="file"))
_path: Final = click.argument("path", type=CompletedText(kind="file"))
_dir: Final = click.option(
    "--dir",
    "folder",
    metavar="DIR",
    type=CompletedText(kind="dir"),
    help="The cache directory, without a mount.",
)
_size: Final = click.option(
    "--cache-size", metavar="SIZE", help="With --dir: the --cache-size of the mounts (10GiB)."
)


@command.command("ls", short_help="List the objects that are on disk.")
@_optional_path
@_dir
@click.option("--sort", type=click.Choice([*_ORDERS]), default="name", help="Order (name).")
@json_option
@click.pass_obj
def list_objects(
    machine: Machine, path: str | None, folder: str | None, sort: str, *, is_json: bool
) -> int:
    """List the objects at PATH that are on disk, or all in the directory.

    Each has the bytes that are present, its size, the time of its last use, and whether it is
    pinned, or replaced by another version.
    """
    with _cache(machine, folder, path) as (cache, inner):
        if is_json:
            for item in cache.objects(inner):
                write_json(item)
            return 0
        found = sorted(cache.objects(inner), key=_ORDERS[sort])
    if found:
        show_rows(_HEAD, [_cells(item, is_exact=not is_terminal()) for item in found])
    return 0


@command.command("verify", short_help="Read all that is on disk, and drop what is damaged.")
@_optional_path
@_dir
@json_option
@click.pass_obj
def verify(machine: Machine, path: str | None, folder: str | None, *, is_json: bool) -> int:
    """Read what the cache has of PATH, or all of it, and compare it with its checksums.

    Damaged extents are dropped, and fetched again when they are read. Exit status 1 if there were
    any.
    """
    with _cache(machine, folder, path) as (cache, inner), _progress(path, is_json) as show:
        result = cache.verify(inner, show)
    bad = result.get("bad_extents", 0)
    told = f"{_objects(result)}, {units.size(result.get('bytes', 0))} verified"
    _tell(f"{told}; {units.counted(bad, 'extent', 'extents')} damaged", result, is_json=is_json)
    return DAMAGED if bad else 0


@command.command("clear", short_help="Drop what is on disk.")
@_optional_path
@_dir
@json_option
@click.pass_obj
def clear(machine: Machine, path: str | None, folder: str | None, *, is_json: bool) -> int:
    """Drop what the cache has of PATH; without PATH, all of the directory, pinned or not.

    Mounts that use the directory go on, and fetch what they need again.
    """
    with _cache(machine, folder, path) as (cache, inner):
        result = cache.clear(inner)
    segments = units.counted(result.get("segments", 0), "segment", "segments")
    _tell(f"{segments} dropped", result, is_json=is_json)
    return 0


@command.command("pin", short_help="Never evict what is on disk of a path.")
@_path
@_dir
@_size
@json_option
@click.pass_obj
def pin(
    machine: Machine, path: str, folder: str | None, cache_size: str | None, *, is_json: bool
) -> int:
    """Never evict what the cache has of PATH now, until it is unpinned, cleared or damaged.

    Fetch it first: s3mountctl warm PATH. Objects that come later are not pinned. At most three
    quarters of the size can be. Exit status 1 if there is nothing to pin.
    """
    return _pin(machine, path, folder, cache_size, is_pinned=True, is_json=is_json)


@command.command("unpin", short_help="Let what is pinned be evicted again.")
@_path
@_dir
@json_option
@click.pass_obj
def unpin(machine: Machine, path: str, folder: str | None, *, is_json: bool) -> int:
    """Let what the cache has of PATH be evicted again."""
    return _pin(machine, path, folder, None, is_pinned=False, is_json=is_json)


def _pin(
    machine: Machine,
    path: str,
    folder: str | None,
    size: str | None,
    *,
    is_pinned: bool,
    is_json: bool,
) -> int:
    with _cache(machine, folder, path, size) as (cache, inner):
        result = cache.pin(inner or "", is_pinned=is_pinned)
    text = f"{_objects(result)} {'pinned' if is_pinned else 'unpinned'}"
    is_nothing = is_pinned and not result.get("objects")
    if is_nothing:
        text += ": nothing of that path is on disk, so warm it first"
    _tell(text, result, is_json=is_json)
    return NOTHING if is_nothing else 0


@contextmanager
def _cache(
    machine: Machine, folder: str | None, path: str | None, size: str | None = None
) -> Iterator[tuple[DiskCache, str | None]]:
    """Yield the cache that the arguments mean, and the path within it."""
    if folder is None:
        from s3mount.ctl.mounted_cache import mounted_cache  # noqa: PLC0415 - either is imported

        if size is not None:
            raise UsageError("--cache-size is for --dir: a mount knows its own")
        found = None if path is None else machine.find_path(path)
        mount = machine.find(None) if found is None else found.mount
        with mounted_cache(mount) as cache:
            yield cache, None if found is None else found.relative
        return
    from s3mount.ctl.cache_folder import opened_cache  # noqa: PLC0415

    if path is not None and path.startswith(("/", ".")):  # no bucket has such a name
        raise UsageError(f"with --dir, PATH is BUCKET or BUCKET/KEY, and not a file: {path}")
    with opened_cache(Path(folder).absolute(), _parsed_size(size)) as opened:
        yield opened, path


def _parsed_size(text: str | None) -> int | None:
    try:
        return None if text is None else parse_size(text)
    except ValueError as exc:
        raise UsageError(f"--cache-size: {exc}") from exc


def _progress(path: str | None, is_json: bool) -> AbstractContextManager[Show]:  # noqa: FBT001
    return _silence() if is_json or not is_terminal() else _bar(path or "the disk cache")


@contextmanager
def _silence() -> Iterator[Show]:
    yield lambda _item: None


@contextmanager
def _bar(name: str) -> Iterator[Show]:
    from s3mount.ctl.verify_view import BarDisplay  # noqa: PLC0415 - not for pipes

    with BarDisplay(console()) as bar:
        bar.begin(name)
        yield bar.show


def _cells(item: Reply, *, is_exact: bool) -> tuple[str, ...]:
    states = [name for name in ("pinned", "replaced") if item.get(name)]
    sizes = (item.get("present") or 0, item.get("size") or 0)
    return (
        *(str(size) if is_exact else units.size(size) for size in sizes),
        units.moment(float(item.get("accessed") or 0)),
        ",".join(states),
        escaped(f"{item.get('bucket', '')}/{item.get('key', '')}"),
    )


def _objects(result: Reply) -> str:
    return units.counted(result.get("objects", 0), "object", "objects")


def _tell(text: str, result: Any, *, is_json: bool) -> None:
    if is_json:
        write_json(result)
    else:
        write_line(text)

"""The command `s3mountctl verify`: has mounts compare the bytes of files with their checksums."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Final, Protocol

import click

from s3mount.cli.completion import CompletedText
from s3mount.ctl import units
from s3mount.ctl.client import Client, Reply, connected
from s3mount.ctl.mounts import Machine, Mount, MountedPath
from s3mount.ctl.output import (
    console,
    escaped,
    is_terminal,
    json_option,
    write_json,
    write_line,
)
from s3mount.errors import CommandFailed, NotServed

MATCH: Final = 0
MISMATCH: Final = 1
FAILED: Final = 4
NO_EVIDENCE: Final = 5
# seconds between items, of which a mount sends four a second once it has found the file
ITEM_LIMIT: Final = 120.0
_WORST_FIRST: Final = (MISMATCH, FAILED, NO_EVIDENCE, MATCH)
_RANGES_SHOWN: Final = 20
_FAULTS: Final = {
    "object": "the store sends the same bytes again: the object is damaged",
    "cache": "bytes in the mount's memory were wrong, and are dropped now; those that the store "
    "sends match. Mount it again: the kernel may hold the wrong ones",
    "transfer": "the bytes that arrive are not the same each time: look at the network, a proxy, "
    "the store",
}


class Display(Protocol):
    """Display of the progress, and of the lines that are to stay."""

    def begin(self, path: str) -> None: ...
    def show(self, item: Reply) -> None: ...
    def write(self, line: str, style: str) -> None: ...


@click.command("verify", short_help="Compare the bytes of files with the checksums that S3 tells.")
@click.argument(
    "paths", nargs=-1, required=True, type=CompletedText(kind="file"), metavar="PATH..."
)
@json_option
@click.pass_obj
def command(machine: Machine, paths: Sequence[str], *, is_json: bool) -> int:
    """Read the file at each PATH, and compare its bytes with what S3 tells of them.

    That is a checksum, or an ETag that is made of MD5s. Readers have priority, and what is cached
    is verified as it is. Exit status: 0: all match; 1: one does not; 4: one could not be read; 5:
    of one S3 tells nothing to verify it with. If several apply, it is the first of these.
    """
    found = [(path, machine.find_path(path)) for path in paths]
    statuses = {MATCH}
    with _display(is_json=is_json) as display:
        try:
            for mount, group in groupby(found, key=lambda each: each[1].mount):
                for path, result in _results(mount, [*group], display):
                    _write(path, result, display, is_json=is_json)
                    statuses.add(status_of(result))
        except NotServed as exc:
            if MISMATCH not in statuses:
                raise
            sys.stderr.write(f"s3mountctl: {exc}\n")
    return next(status for status in _WORST_FIRST if status in statuses)


def _results(
    mount: Mount, paths: Sequence[tuple[str, MountedPath]], display: Display
) -> Iterator[tuple[str, Reply]]:
    """Yield each of *paths* with its result; a mount that takes no command has failed them all.

    Its status 1 would say that a file does not match. Raises NotServed.
    """
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(connected(mount))
        except CommandFailed as exc:
            yield from ((path, {"matches": None, "error": str(exc)}) for path, _ in paths)
            return
        for path, mounted in paths:
            display.begin(path)
            yield path, _verify(client, mounted.relative, display)


def _verify(client: Client, path: str, display: Display) -> Reply:
    try:
        for kind, value in client.replies("verify", {"path": path}, limit=ITEM_LIMIT):
            if kind == "result":
                return value
            display.show(value)
    except CommandFailed as exc:
        return {"matches": None, "error": str(exc)}
    return {"matches": None, "error": "the mount has sent no result"}


def status_of(result: Reply) -> int:
    """Return the exit status for *result*."""
    if "error" in result:
        return FAILED
    matches = result.get("matches")
    return NO_EVIDENCE if matches is None else MATCH if matches else MISMATCH


def lines_of(path: str, result: Reply) -> Iterator[tuple[str, str]]:
    """Yield what is said of *result*, each line with a style of rich."""
    name, status = escaped(path), status_of(result)
    reason = escaped(result.get("reason") or "")
    if status == FAILED:
        yield f"{name}: FAILED: {escaped(result['error'])}", "bold red"
    elif status == NO_EVIDENCE:
        yield f"{name}: NOT VERIFIED: nothing to verify with: {reason}", "yellow"
    elif status == MATCH:
        yield f"{name}: OK: {_method(result)}", ""
    else:
        yield from _mismatch(name, result)
        if reason:
            yield f"{name}: {reason}", "bold red"
    if result.get("replaced"):
        yield f"{name}: another version has replaced it meanwhile", "yellow"


def _mismatch(name: str, result: Reply) -> Iterator[tuple[str, str]]:
    yield f"{name}: DOES NOT MATCH: {_method(result)}{_digests(result)}", "bold red"
    yield f"{name}: {_FAULTS.get(result.get('fault') or '', 'the fault is not known')}", "bold red"
    bad = result.get("bad_ranges") or ()
    for each in bad[:_RANGES_SHOWN]:
        part = f"part {escaped(each['part'])}, " if each.get("part") else ""
        where = f"bytes {escaped(each.get('start'))} to {escaped(each.get('stop', 0) - 1)}"
        yield f"{name}: wrong in {part}{where}{_digests(each)}", "bold red"
    if len(bad) > _RANGES_SHOWN:
        yield f"{name}: wrong in more ranges; --json has them", "bold red"


def _method(result: Reply) -> str:
    parts, size = result.get("parts"), result.get("part_size")
    method = escaped(result.get("method"))
    if not parts:
        return method
    return f"{method}, {units.number(parts)} parts{f' of {units.size(size)}' if size else ''}"


def _digests(value: Reply) -> str:
    expected, actual = value.get("expected"), value.get("actual")
    if not expected:
        return ""
    return f"; expected {escaped(expected)}, found {escaped(actual or 'no two reads alike')}"


def _write(path: str, result: Reply, display: Display, *, is_json: bool) -> None:
    if is_json:
        write_json({"path": path, **result})
        return
    for line, style in lines_of(path, result):
        display.write(line, style)


class _LineDisplay:
    """Display in a pipe: results only."""

    def begin(self, path: str) -> None: ...
    def show(self, item: Reply) -> None: ...
    def write(self, line: str, style: str) -> None:  # noqa: ARG002 - of a terminal
        write_line(line)


@contextmanager
def _display(*, is_json: bool) -> Iterator[Display]:
    if is_json or not is_terminal():
        yield _LineDisplay()
        return
    from s3mount.ctl.verify_view import BarDisplay  # noqa: PLC0415 - not for pipes

    with BarDisplay(console()) as bar:
        yield bar

"""The command `s3mountctl warm`: has a mount list directories, and fetch files into its caches."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import click

from s3mount.cli.completion import CompletedText
from s3mount.ctl import units
from s3mount.ctl.client import Client, Reply, connected
from s3mount.ctl.mounts import Machine
from s3mount.ctl.output import (
    console,
    escaped,
    is_terminal,
    json_option,
    write_json,
    write_line,
)
from s3mount.ctl.paths import batches, one_mount

JOBS_MAX: Final = 64
ITEM_LIMIT: Final = 60.0  # seconds between items, of which a mount that is well sends four a second
_LINE_EVERY: Final = 5.0  # seconds between lines of progress in a pipe


class ProgressDisplay(Protocol):
    """Display of the items of a warm-up."""

    def announce(self, text: str) -> None:
        """Show a line that stays."""

    def show(self, item: Reply) -> None:
        """Show the newest *item*."""


@click.command("warm", short_help="List directories, and fetch files into the caches.")
@click.argument(
    "paths", nargs=-1, required=True, type=CompletedText(kind="file"), metavar="PATH..."
)
@click.option("--listing-only", is_flag=True, help="List directories, and fetch no files.")
@click.option(
    "--jobs", type=click.IntRange(1, JOBS_MAX), default=4, metavar="N", help="Files at a time (4)."
)
@click.option("--dry-run", is_flag=True, help="List, and say what fetching would cost.")
@json_option
@click.pass_obj
def command(
    machine: Machine,
    paths: Sequence[str],
    *,
    listing_only: bool,
    jobs: int,
    dry_run: bool,
    is_json: bool,
) -> int:
    """List the directories at each PATH, and fetch the files into the caches of the mount.

    Readers have priority. Ctrl-C ends it, and it can be run again: what is cached is not fetched
    twice. Exit status 1 if a file could not be fetched.
    """
    mount, relative = one_mount(machine, paths, "warm")
    options = {"listing_only": listing_only, "jobs": jobs, "dry_run": dry_run}
    with connected(mount) as client:
        found = replies(client, relative, options)
        if is_json:
            return _status(_all_json(found))
        with _display() as display:
            result = _last(found, display)
    _write_summary(result, is_dry=dry_run)
    return _status(result)


def replies(
    client: Client, paths: Sequence[str], options: Mapping[str, object]
) -> Iterator[tuple[str, Reply]]:
    """Yield the items of as many commands as *paths* need, and one result of them all."""
    total: Reply = {}
    for batch in batches(paths):
        for kind, value in client.replies("warm", {**options, "paths": batch}, limit=ITEM_LIMIT):
            if kind == "result":
                total = merged(total, value)
            else:
                yield kind, value
    yield "result", total


def merged(one: Reply, other: Reply) -> Reply:
    """Return the sums of two results, and their lists joined."""
    return {**one, **{name: _sum(one.get(name), value) for name, value in other.items()}}


def _sum(one: Any, other: Any) -> Any:
    match one, other:
        case Mapping(), Mapping():
            return merged(one, other)
        case (list(), list()) | (int() | float(), int() | float()):
            return one + other
    return other


def _last(replies: Iterable[tuple[str, Reply]], display: ProgressDisplay) -> Reply:
    result: Reply = {}
    phase = ""
    for kind, value in replies:
        if kind == "result":
            result = value
            continue
        if value.get("phase") != phase and value.get("files") and (cost := _price(value)):
            display.announce(f"fetching will cost {cost}")
        phase = value.get("phase", "")
        display.show(value)
    return result


def _all_json(replies: Iterable[tuple[str, Reply]]) -> Reply:
    result: Reply = {}
    for _, value in replies:
        write_json(value)
        result = value
    return result


def _status(result: Reply) -> int:
    return 1 if result.get("failed_count") else 0


@contextmanager
def _display() -> Iterator[ProgressDisplay]:
    if not is_terminal():
        yield LineDisplay()
        return
    from s3mount.ctl.warm_view import BarDisplay  # noqa: PLC0415 - not for pipes

    with BarDisplay(console()) as bars:
        yield bars


class LineDisplay:
    """Progress in a pipe: a line for each phase, and one each five seconds."""

    def __init__(self) -> None:
        self._phase = ""
        self._due = 0.0

    def announce(self, text: str) -> None:
        write_line(text)

    def show(self, item: Reply) -> None:
        now = time.monotonic()
        phase = escaped(item.get("phase", ""))
        if phase == self._phase and now < self._due:
            return
        self._phase, self._due = phase, now + _LINE_EVERY
        found = (
            f"{units.directories(item.get('directories', 0))}, "
            f"{units.files(item.get('files', 0))}, {units.size(item.get('bytes', 0))}"
        )
        octets = units.size(item.get("bytes_done", 0))
        done = f"{units.files(item.get('files_done', 0))}, {octets} done"
        write_line(f"{phase}: {found}" + (f", {done}" if phase == "fetching" else ""))


def summary(result: Reply, *, is_dry: bool) -> Iterator[tuple[str, str]]:
    """Yield the lines of *result*, each with "ok", "warning" or "failure"."""
    found = (
        f"{units.directories(result.get('directories', 0))}, "
        f"{units.files(result.get('files', 0))}, {units.size(result.get('bytes', 0))}"
    )
    yield "ok", f"listed: {found}"
    if is_dry:
        wanted = units.files(result.get("fetched_files", 0))
        octets = units.size(result.get("fetched_bytes", 0))
        yield "ok", f"would fetch: {wanted}, {octets}"
    else:
        fetched = units.files(result.get("fetched_files", 0))
        octets = units.size(result.get("fetched_bytes", 0))
        cached = units.number(result.get("already", 0))
        yield "ok", f"fetched: {fetched}, {octets}; {cached} were cached"
    yield "ok", f"{'it would take' if is_dry else 'it took'}: {_cost(result)}"
    if result.get("did_not_fit_files"):
        verb = "would not fit" if is_dry else "did not fit"
        files = units.files(result["did_not_fit_files"])
        octets = units.size(result.get("did_not_fit_bytes", 0))
        yield (
            "warning",
            f"{verb}: {files}, {octets}; mount with a larger --memory-limit, or --cache-dir",
        )
    if result.get("did_not_fit_directories"):
        unlisted = units.directories(result["did_not_fit_directories"])
        what = f"not listed: {unlisted}, or parts of them"
        yield "warning", f"{what}; mount with a larger --metadata-limit"
    if result.get("archived_files"):
        files = units.number(result["archived_files"])
        octets = units.size(result.get("archived_bytes", 0))
        verb = "may be archived" if is_dry else "archived"
        yield "warning", f"{verb}: {files} files, {octets}; have them restored: s3mountctl restore"
    for failure in result.get("failed") or ():
        message = escaped(failure.get("message", ""))
        yield "failure", f"failed: {escaped(failure.get('path', ''))}: {message}"
    left_out = result.get("failed_count", 0) - len(result.get("failed") or ())
    if left_out > 0:
        yield "failure", f"failed: {left_out} more; the log of the mount names them"


def _cost(result: Reply) -> str:
    requests = result.get("requests") or {}
    told = ", ".join(f"{units.number(count)} {escaped(kind)}" for kind, count in requests.items())
    cost = _price(result)
    return (told or "no requests") + (f"; cost {cost}" if cost else "")


def _price(reply: Reply) -> str:
    """Return the total of the cost in *reply*; nothing if there is none."""
    match reply.get("cost"):
        case Mapping() as cost:
            return units.money(cost.get("total", 0), escaped(cost.get("currency") or ""))
        case int() | float() as total:
            return units.money(total, "USD")
    return ""


def _write_summary(result: Reply, *, is_dry: bool) -> None:
    lines = summary(result, is_dry=is_dry)
    if not is_terminal():
        for _, line in lines:
            write_line(line)
        return
    from rich.text import Text  # noqa: PLC0415 - not for pipes

    out = console()
    styles = {"ok": "", "warning": "yellow", "failure": "bold red"}
    for kind, line in lines:
        out.print(Text(line, styles[kind]), soft_wrap=True)

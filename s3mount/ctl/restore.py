"""The command `s3mountctl restore`: the state of archived objects, and restores of them."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import click

from s3mount.cli.completion import CompletedText
from s3mount.ctl import units
from s3mount.ctl.client import MOMENT_MAX, Reply, connected
from s3mount.ctl.mounts import Machine, Mount
from s3mount.ctl.output import escaped, json_option, write_json, write_line
from s3mount.ctl.paths import batches, one_mount
from s3mount.errors import UsageError

TIERS: Final = ("Expedited", "Standard", "Bulk")
_RESTORABLE: Final = ("archived", "restored")


@click.command("restore", short_help="Restore archived objects, or show whether they are.")
@click.argument(
    "paths", nargs=-1, required=True, type=CompletedText(kind="file"), metavar="PATH..."
)
@click.option("--status", "is_status", is_flag=True, help="Only show the state; restore nothing.")
@click.option(
    "--days",
    type=click.IntRange(1),
    metavar="N",
    help="Days that the restored copy is kept (1); not for Intelligent-Tiering.",
)
@click.option(
    "--tier",
    type=click.Choice(TIERS, case_sensitive=False),
    default="Standard",
    help="How fast, and at what price (Standard).",
)
@click.option("--yes", "-y", "is_confirmed", is_flag=True, help="Do not ask for a confirmation.")
@json_option
@click.pass_obj
def command(
    machine: Machine,
    paths: Sequence[str],
    *,
    is_status: bool,
    days: int | None,
    tier: str,
    is_confirmed: bool,
    is_json: bool,
) -> int:
    """Have the store restore the archived object at each PATH, so that it can be read.

    The store charges for it, and takes minutes to days. Nothing else of s3mount sends a request
    that is not a read. A restored file is read at once, without a refresh. Exit status 1 if a PATH
    failed.
    """
    mount, relative = one_mount(machine, paths, "restore")
    arguments: dict[str, object] = {"tier": tier, "days": days, "status": is_status}
    if not (is_status or is_confirmed):
        if not sys.stdin.isatty():
            raise UsageError("a restore is charged: confirm it with --yes, or see --status first")
        relative = _confirmed(mount, relative, arguments)
        if not relative:
            return 1
    failed = 0
    for kind, value in _replies(mount, relative, arguments):
        if is_json:
            write_json(value)
        elif kind == "item":
            write_line(f"{_name(mount, value)}: {described(value)}")
        failed += kind == "item" and bool(value.get("error"))
    return 1 if failed else 0


def _replies(
    mount: Mount, paths: Iterable[str], arguments: Mapping[str, object]
) -> Iterator[tuple[str, Reply]]:
    with connected(mount) as client:
        for batch in batches(paths):
            yield from client.replies("restore", {**arguments, "paths": batch})


def _confirmed(mount: Mount, paths: Sequence[str], arguments: Mapping[str, object]) -> list[str]:
    """Return the paths to restore after the user has agreed; none if not, or if none is archived.

    All goes to stderr: stdout is for what is done.
    """
    found: list[Reply] = []
    for kind, value in _replies(mount, paths, {**arguments, "status": True}):
        if kind == "item":
            click.echo(f"{_name(mount, value)}: {described(value)}", err=True)
            found.append(value)
    wanted = [item for item in found if item.get("state") in _RESTORABLE]
    if not wanted:
        click.echo("nothing to restore", err=True)
        return []
    octets = units.size(sum(item.get("size") or 0 for item in wanted))
    question = f"Restore {len(wanted)} of them, {octets}, tier {arguments['tier']}? It is charged."
    click.echo(f"{question} [y/N] ", nl=False, err=True)
    is_agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
    return [str(item["path"]) for item in wanted] if is_agreed else []


def _name(mount: Mount, item: Reply) -> str:
    return escaped(f"{mount.mountpoint}/{item.get('path', '')}".rstrip("/"))


def described(item: Reply) -> str:
    """Return what *item* says, in a line."""
    if item.get("error"):
        return f"failed: {escaped(item['error'])}"
    return f"{_state(item)} ({escaped(item.get('storage_class'))})"


def _state(item: Reply) -> str:
    days = item.get("days")
    kept = "" if days is None else f", kept for {escaped(days)} day{'s' if days != 1 else ''}"
    texts = {
        "requested": f"restore requested, tier {escaped(item.get('tier'))}{kept}",
        "extended": f"restored{kept} from now on",
        "restoring": "a restore is under way",
        "restored": f"restored{_until(item.get('until'))}",
        "archived": "archived",
        "readable": "not archived",
    }
    state = escaped(item.get("state"))
    return texts.get(str(item.get("outcome"))) or texts.get(state) or state


def _until(moment: object) -> str:
    if not isinstance(moment, int | float) or not 0 <= moment < MOMENT_MAX:
        return ""
    return time.strftime(" until %Y-%m-%d %H:%M UTC", time.gmtime(moment))

"""The command `s3mountctl versions`: the history of one object, also of a deleted one."""

from typing import Final

import click

from s3mount.cli.completion import CompletedText
from s3mount.ctl import units
from s3mount.ctl.client import Reply, connected
from s3mount.ctl.mounts import Machine
from s3mount.ctl.output import escaped, json_option, show_rows, write_json

HEAD: Final = ("TIME", "SIZE", "STATE", "CLASS", "ETAG", "VERSION")


@click.command("versions", short_help="List the versions of an object.")
@click.argument("path", type=CompletedText(kind="file"))
@json_option
@click.pass_obj
def command(machine: Machine, path: str, *, is_json: bool) -> int:
    """List the versions and delete markers of the object at PATH, which may be deleted by now.

    Each line has the time, the size in bytes, the state (latest, old, or deleted for a delete
    marker), storage class, ETag and version id. The version id is what NAME@ID has in .versions of
    a mount with --versions.
    """
    found = machine.find_path(path)
    items: list[Reply] = []
    with connected(found.mount) as client:
        for kind, item in client.replies("versions", {"path": found.relative}):
            if kind != "item":
                continue
            if is_json:
                write_json(item)
            else:
                items.append(item)
    if items:
        show_rows(HEAD, [_cells(item) for item in items])
    return 0


def _cells(item: Reply) -> tuple[str, ...]:
    is_marker = bool(item.get("delete_marker"))
    state = "deleted" if is_marker else "latest" if item.get("latest") else "old"
    values = (
        units.moment(float(item.get("time") or 0)),
        *("" if is_marker else item.get("size"), state),
        *(item.get(name) or "" for name in ("storage_class", "etag", "version_id")),
    )
    return tuple(escaped("" if value is None else value) for value in values)

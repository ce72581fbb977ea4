"""The command `s3mountctl attributes`: all that a mount and its store know of one path."""

import click

from s3mount.cli.completion import CompletedText
from s3mount.ctl.client import Client, Reply, connected
from s3mount.ctl.mounts import Machine
from s3mount.ctl.output import aligned, flattened, json_option, write_json, write_line
from s3mount.errors import CommandFailed


@click.command("attributes", short_help="Show what S3 knows of a file or directory.")
@click.argument("path", type=CompletedText(kind="file"))
@click.option("--parts", is_flag=True, help="Ask for the parts of an upload too: one more HEAD.")
@json_option
@click.pass_obj
def command(machine: Machine, path: str, *, parts: bool, is_json: bool) -> int:
    """Show the metadata, checksums and state of the object at PATH, or the listing of a directory.

    The mount asks for them, unless it has done so within --metadata-ttl. Each line has a name and a
    value, as S3 calls them.
    """
    found = machine.find_path(path)
    with connected(found.mount) as client:
        result = _result(client, found.relative, parts=parts)
    if is_json:
        write_json(result)
    else:
        for line in aligned([*flattened(_known(result))]):
            write_line(line)
    return 0


def _result(client: Client, path: str, *, parts: bool) -> Reply:
    """Return the result, however long the store takes: the mount has a deadline for it."""
    for kind, value in client.replies("attributes", {"path": path, "parts": parts}):
        if kind == "result":
            return value
    raise CommandFailed("the mount has told no attributes")


def _known(result: Reply) -> Reply:
    """Return *result* without what is null, which is not known."""
    return {name: value for name, value in result.items() if value is not None}

"""Commands of one mount: the registry that the server looks them up in, and the short ones.

To add a command: its row in `protocol.COMMANDS`, its function here, its section in docs/control.md.
"""

import logging
from typing import Final, get_args

from s3mount.config import LogLevel
from s3mount.control.activity import activity_command
from s3mount.control.commands import Command, Commands, Send
from s3mount.control.disk_cache import disk_commands
from s3mount.control.protocol import Arguments, Greeting, Object, ProtocolError, names_in, shown
from s3mount.control.restore import restore_command
from s3mount.control.sources import Attributes, Refreshable, SetLogLevel, Sources, WaitDropped
from s3mount.control.status import status_command
from s3mount.control.trace import trace_command
from s3mount.control.versions import versions_command

KERNEL_TIMEOUT: Final = 8.0  # seconds, of the 10 that s3mountctl waits

log = logging.getLogger(__name__)


def build_commands(sources: Sources, greeting: Greeting, more: Commands) -> Commands:
    """Return the commands of the mount that *greeting* names, and *more* of them."""
    return {
        "status": status_command(sources, greeting),
        "activity": activity_command(sources),
        "trace": trace_command(sources.requests),
        "refresh": refresh_command(sources.tree, sources.wait_dropped),
        "log-level": log_level_command(sources.set_log_level),
        "versions": versions_command(sources),
        "attributes": attributes_command(sources.attributes),
        "restore": restore_command(sources.paths, sources.metadata, sources.restorer, sources.keys),
        **disk_commands(sources.disk),
        **more,
    }


def refresh_command(tree: Refreshable, wait_dropped: WaitDropped) -> Command:
    """Return the command `refresh`: it makes no request, and the next look is at the store.

    *wait_dropped* waits for the kernel, which may have to wait for a lookup in a directory.
    """

    async def refresh(arguments: Arguments, _send: Send) -> Object:
        names = names_in(arguments["path"])
        forgotten = tree.refresh(names)
        shown_path = "all of it" if not names else repr(b"/".join(names))[1:]
        log.info("refreshed by the control socket: %s, %d names", shown_path, forgotten)
        if not await wait_dropped(KERNEL_TIMEOUT):
            raise ProtocolError(
                "failed",
                f"{forgotten} names are forgotten, but not yet all in the kernel: a request for "
                "names waits for the store; the kernel drops them when that ends",
            )
        return {"forgotten": forgotten}

    return refresh


def log_level_command(set_level: SetLogLevel) -> Command:
    """Return the command `log-level`, which holds until the mount ends."""
    levels: dict[str, LogLevel] = {level: level for level in get_args(LogLevel)}

    async def log_level(arguments: Arguments, _send: Send) -> Object:
        level = levels.get(arguments["level"])
        if level is None:
            wanted = shown(arguments["level"])
            raise ProtocolError("bad-request", f"level: {wanted} is none of {', '.join(levels)}")
        before = set_level(level)
        log.info("the level of the log is %s; it was %s", level, before)
        return {"level": level, "before": before}

    return log_level


def attributes_command(attributes: Attributes) -> Command:
    """Return the command `attributes`, which may take a lookup and a HEAD or two."""

    async def describe(arguments: Arguments, _send: Send) -> Object:
        path = names_in(arguments["path"])
        return await attributes.describe(path, has_parts=arguments["parts"])

    return describe

"""Commands that change a running mount: `refresh` and `log-level`."""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, get_args

from s3mount.config import LogLevel
from s3mount.control.commands import Command, Send
from s3mount.control.protocol import Arguments, Object, ProtocolError, names_in, shown

SetLogLevel = Callable[[LogLevel], LogLevel]
"""Log from a level on; return the level before."""

log = logging.getLogger(__name__)


class Refreshable(Protocol):
    """Tree whose cached metadata can be dropped."""

    def refresh(self, names: Sequence[bytes]) -> int:
        """Drop what is cached of a path and below, in the kernel too; return how many names."""
        ...


def refresh_command(tree: Refreshable) -> Command:
    """Return the command `refresh`: it makes no request, and the next look is at the store."""

    async def refresh(arguments: Arguments, _send: Send) -> Object:
        names = names_in(arguments["path"])
        forgotten = tree.refresh(names)
        shown_path = "all of it" if not names else repr(b"/".join(names))[1:]
        log.info("refreshed by the control socket: %s, %d names", shown_path, forgotten)
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

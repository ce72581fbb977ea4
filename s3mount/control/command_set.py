"""Commands of one mount: the registry that the server looks them up in.

To add a command: its row in `protocol.COMMANDS`, its function here, its section in docs/control.md.
"""

from s3mount.control.activity import activity_command
from s3mount.control.commands import Commands
from s3mount.control.maintenance import log_level_command, refresh_command
from s3mount.control.protocol import Greeting
from s3mount.control.sources import Sources
from s3mount.control.status import status_command
from s3mount.control.trace import trace_command


def build_commands(sources: Sources, greeting: Greeting, more: Commands) -> Commands:
    """Return the commands of the mount that *greeting* names, and *more* of them."""
    return {
        "status": status_command(sources, greeting),
        "activity": activity_command(sources),
        "trace": trace_command(sources.requests),
        "refresh": refresh_command(sources.tree),
        "log-level": log_level_command(sources.set_log_level),
        **more,
    }

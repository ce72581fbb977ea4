"""Registry of the commands of s3mountctl, each imported when it is run.

To add one, add its row: the module's attribute is a click.Command, which gets a `Machine` as
click's object and returns an exit status. So a command costs the others no time to start.
"""

from importlib import import_module
from typing import Final

import click

from s3mount import __version__
from s3mount.errors import UsageError

COMMANDS: Final = {
    "list": "s3mount.ctl.list_mounts:command",
    "status": "s3mount.ctl.status:command",
    "top": "s3mount.ctl.top:command",
    "warm": "s3mount.ctl.warm:command",
    "attributes": "s3mount.ctl.attributes:command",
    "restore": "s3mount.ctl.restore:command",
    "verify": "s3mount.ctl.verify:command",
    "versions": "s3mount.ctl.versions:command",
    "cache": "s3mount.ctl.cache:command",
    "refresh": "s3mount.ctl.actions:refresh",
    "trace": "s3mount.ctl.trace:command",
    "log-level": "s3mount.ctl.actions:log_level",
    "doctor": "s3mount.ctl.doctor:command",
}

_ABOUT: Final = """\
Watch and direct the running mounts of this machine.

MOUNT is a mount point, a path below it, or a source as the mount table has it. It may be left out
if there is only one mount, or only one whose control socket this user sees.
"""
_EPILOG: Final = """\
Exit status: 0: done; 1: the mount or the store failed, or a mount is not healthy; 2: wrong usage;
3: there is no such mount, or it does not respond.
"""


class CommandGroup(click.Group):
    """Group whose commands are imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found = getattr(import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return click's result. Raises UsageError, with the closest name."""
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing:
            from s3mount.cli.words import suggestion  # noqa: PLC0415 - slow to import

            hint = suggestion(name, COMMANDS) or "; see s3mountctl --help"
            raise UsageError(f"{name}: there is no such command{hint}")
        return super().resolve_command(ctx, args)


GROUP: Final = CommandGroup(
    "s3mountctl",
    help=_ABOUT,
    epilog=_EPILOG,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda ctx, _param, is_set: _show_version(ctx) if is_set else None,
            help="Show the version and exit.",
        )
    ],
)


def _show_version(context: click.Context) -> None:
    click.echo(f"s3mountctl {__version__}")
    context.exit()

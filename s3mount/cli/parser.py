"""Parser of the command line: click, with flags from the table of options, and help in groups."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import click

from s3mount import __version__
from s3mount.cli.build_config import MountArguments
from s3mount.cli.completion import CompletedText
from s3mount.cli.flag_values import mount_arguments
from s3mount.cli.option_types import FILES, FOLDER, REPEATABLE
from s3mount.cli.option_value import refuse_secret
from s3mount.cli.options import BY_NAME, OPTION_TABLE, Option
from s3mount.cli.words import suggestion
from s3mount.errors import UsageError

_ABOUT: Final = """\
Mount an S3 bucket, or one prefix of it, read-only at MOUNTPOINT. s3:// is every bucket.

Returns once the mount answers; it is served in the background. Unmount it with
fusermount3 -u MOUNTPOINT.
"""
EPILOG: Final = """\
Sizes take KiB, MiB, GiB and TiB; durations are in seconds, or take s, m and h. Credentials come
from boto3's chain: the environment, ~/.aws, SSO, or the machine's role; there is no option for
them.
"""
_CONFIG_HELP: Final = (
    "Read options from a TOML file, by the same names, and bucket and mountpoint. Flags win."
)
_COLUMN: Final = 34  # the same for all groups, so that the help texts are aligned
_SWITCHES: Final = ("config", "version", "help")


def parse_arguments(arguments: Sequence[str]) -> MountArguments | str:
    """Parse *arguments*; return the text to print for --help and --version. Raises UsageError."""
    command = mount_command()
    try:
        context = command.make_context("s3mount", list(arguments), max_content_width=110)
    except click.NoSuchOption as exc:
        raise UsageError(_unknown_flag(exc.option_name)) from exc
    except click.BadOptionUsage as exc:
        raise UsageError(_misused_flag(exc.option_name)) from exc
    except click.UsageError as exc:
        raise UsageError(_lowered(exc.format_message())) from exc
    return _parsed(command, context)


def mount_command() -> click.Command:
    """Return the command s3mount, with all its options, as click's."""
    return OptionCommand(
        "s3mount",
        params=_parameters(),
        help=_ABOUT,
        epilog=EPILOG,
        add_help_option=False,
    )


def _parsed(command: click.Command, context: click.Context) -> MountArguments | str:
    given = context.params
    if given["help"]:
        return command.get_help(context)
    if given["version"]:
        return f"s3mount {__version__}"
    return mount_arguments(given)


def _parameters() -> list[click.Parameter]:
    return [
        click.Argument(["bucket"], required=False, metavar="BUCKET[/PREFIX]"),
        click.Argument(
            ["mountpoint"], required=False, metavar="MOUNTPOINT", type=CompletedText(kind="dir")
        ),
        *option_flags(),
        click.Option(["version", "--version"], is_flag=True, help="Show the version and exit."),
        click.Option(["help", "-h", "--help"], is_flag=True, help="Show this help and exit."),
    ]


def option_flags() -> list[click.Option]:
    """Return the flags of all options of a mount, and --config."""
    config = click.Option(
        ["config", "--config"], metavar="FILE", help=_CONFIG_HELP, type=CompletedText(kind="file")
    )
    return [*(_flag(option) for option in OPTION_TABLE), config]


def _flag(option: Option) -> click.Option:
    names = [option.key, *([f"-{option.short}"] if option.short else []), option.flag]
    default = option.default_shown()
    text = option.help + (f"  [{default}]" if default else "")
    if option.is_flag:
        return click.Option(names, is_flag=True, help=text)
    kind = "file" if option.type in FILES else "dir" if option.type is FOLDER else "plain"
    return click.Option(
        names,
        metavar=option.type.metavar,
        help=text,
        multiple=option.type in REPEATABLE,
        type=CompletedText(option.type.words, kind),
    )


class OptionCommand(click.Command):
    """Command with the options of a mount: help in groups, in the order of the table."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [
            *(piece for piece in super().collect_usage_pieces(ctx) if "OPTION" not in piece),
            "[OPTIONS]",
        ]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        flags = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        rows = {flag.name: flag.get_help_record(ctx) for flag in flags}
        for group, options in groupby(OPTION_TABLE, key=lambda option: option.group):
            names = [option.key for option in options]
            self._write_group(formatter, group, [row for name in names if (row := rows[name])])
        names_of_table = {option.key for option in OPTION_TABLE}
        others = [row for name, row in rows.items() if row and name not in names_of_table]
        self._write_group(formatter, "Other", others)

    @staticmethod
    def _write_group(
        formatter: click.HelpFormatter, title: str, rows: list[tuple[str, str]]
    ) -> None:
        with formatter.section(title):
            formatter.write_dl(
                [(term.ljust(_COLUMN), text) for term, text in rows], col_max=_COLUMN
            )


def _unknown_flag(name: str) -> str:
    refuse_secret("the command line", name)
    flags = [
        *(option.flag for option in BY_NAME.values()),
        *(f"--{switch}" for switch in _SWITCHES),
    ]
    return f"{name}: there is no such option{suggestion(name, flags) or '; see s3mount --help'}"


def _misused_flag(name: str) -> str:
    """Return the error of a flag that lacks its value, or has one and takes none."""
    option = next((each for each in OPTION_TABLE if name in (each.flag, f"-{each.short}")), None)
    takes_value = name == "--config" or (option is not None and not option.is_flag)
    return f"{name}: {'it needs a value' if takes_value else 'it takes no value'}"


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")

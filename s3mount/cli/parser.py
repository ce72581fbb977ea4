"""The command line, read: click's parser with flags from the table of settings, and its help in groups.

Knows words and where they stand; what they mean is known by the table.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import click

from s3mount import __version__
from s3mount.cli.build_config import MountArguments
from s3mount.cli.config_file import ConfigFile, read_config_file
from s3mount.cli.mount_options import parse_mount_options
from s3mount.cli.option_value import OptionValue, refuse_secret, spelled
from s3mount.cli.options import BY_NAME, OPTION_TABLE, OPTIONS, REPEATABLE, Option
from s3mount.cli.values import suggestion
from s3mount.errors import UsageError

_ABOUT: Final = """\
Mount an S3 bucket, or one prefix of it, read-only at MOUNTPOINT.

Returns once the mount answers, and goes on in the background. Unmount with fusermount3 -u MOUNTPOINT.
"""
_EPILOG: Final = """\
Sizes take KiB, MiB and GiB; durations are in seconds, or take s, m and h. Credentials come from boto3's chain:
the environment, ~/.aws, SSO, or the machine's role; there is no option for them.
"""
_CONFIG_HELP: Final = (
    "Read settings from a TOML file: the same names, and bucket and mountpoint. Flags win."
)
_COLUMN: Final = 34  # one for all groups: the eye goes down a straight line
_SWITCHES: Final = ("config", "version", "help")


def parse_arguments(arguments: Sequence[str]) -> MountArguments | str:
    """What *arguments* ask for; or the text that --help or --version prints. Raises UsageError."""
    command = _Command("s3mount", params=_parameters())
    try:
        context = command.make_context("s3mount", list(arguments), max_content_width=110)
    except click.NoSuchOption as exc:
        raise UsageError(_unknown_flag(exc.option_name)) from exc
    except click.BadOptionUsage as exc:
        raise UsageError(_misused_flag(exc.option_name)) from exc
    except click.UsageError as exc:
        raise UsageError(_lowered(exc.format_message())) from exc
    return _answer(command, context)


def _answer(command: "_Command", context: click.Context) -> MountArguments | str:
    given = context.params
    if given["help"]:
        return command.get_help(context)
    if given["version"]:
        return f"s3mount {__version__}"
    file = read_config_file(given["config"]) if given["config"] else ConfigFile("")
    location, mountpoint = _places(given["bucket"], given["mountpoint"], file)
    return MountArguments(location, mountpoint, (*file.settings, *_flags(given)))


def _places(
    bucket: str | None, mountpoint: str | None, file: ConfigFile
) -> tuple[str | None, str | None]:
    """A lone argument is the mount point where the file names a bucket and none, and a bucket otherwise."""
    if bucket and not mountpoint and file.bucket and not file.mountpoint:
        return file.bucket, bucket
    return bucket or file.bucket, mountpoint or file.mountpoint


def _flags(given: dict[str, Any]) -> list[OptionValue]:
    """Any is click's: a flag's value is a bool, a str, or a tuple of them where it may repeat."""
    settings: list[OptionValue] = []
    for setting in OPTION_TABLE:
        value = given[setting.key]
        if setting.kind is OPTIONS:
            settings += [each for text in value for each in parse_mount_options(text, "-o")]
        elif setting.kind in REPEATABLE:
            settings += [spelled(setting.flag, setting, text) for text in value]
        elif value is not None and value is not False:
            settings.append(spelled(setting.flag, setting, value))
    return settings


def _parameters() -> list[click.Parameter]:
    return [
        click.Argument(["bucket"], required=False, metavar="BUCKET[/PREFIX]"),
        click.Argument(["mountpoint"], required=False, metavar="MOUNTPOINT"),
        *(_flag(setting) for setting in OPTION_TABLE),
        click.Option(["config", "--config"], metavar="FILE", help=_CONFIG_HELP),
        click.Option(["version", "--version"], is_flag=True, help="Show the version and exit."),
        click.Option(["help", "-h", "--help"], is_flag=True, help="Show this and exit."),
    ]


def _flag(setting: Option) -> click.Option:
    names = [setting.key, *([f"-{setting.short}"] if setting.short else []), setting.flag]
    default = setting.default_shown()
    text = setting.help + (f"  [{default}]" if default else "")
    if setting.is_flag:
        return click.Option(names, is_flag=True, help=text)
    return click.Option(
        names, metavar=setting.kind.metavar, help=text, multiple=setting.kind in REPEATABLE
    )


class _Command(click.Command):
    """Help in groups, in the order of the table."""

    def __init__(self, name: str, params: list[click.Parameter]) -> None:
        super().__init__(name, params=params, help=_ABOUT, epilog=_EPILOG, add_help_option=False)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [
            *(piece for piece in super().collect_usage_pieces(ctx) if "OPTION" not in piece),
            "[OPTIONS]",
        ]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = {param.name: param.get_help_record(ctx) for param in self.get_params(ctx)}
        for group, settings in groupby(OPTION_TABLE, key=lambda setting: setting.group):
            names = [setting.key for setting in settings]
            self._write_group(formatter, group, [row for name in names if (row := rows[name])])
        self._write_group(formatter, "And", [row for name in _SWITCHES if (row := rows[name])])

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
        *(setting.flag for setting in BY_NAME.values()),
        *(f"--{switch}" for switch in _SWITCHES),
    ]
    return f"{name}: there is no such option{suggestion(name, flags) or '; see s3mount --help'}"


def _misused_flag(name: str) -> str:
    """All that can be wrong before a value is read: that there is none, or that there is one."""
    setting = next((each for each in OPTION_TABLE if name in (each.flag, f"-{each.short}")), None)
    takes_value = name == "--config" or (setting is not None and not setting.is_flag)
    return f"{name}: {'it needs a value' if takes_value else 'it takes no value'}"


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")

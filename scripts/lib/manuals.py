"""Manual pages of the commands and of the configuration file, from the tables of the commands."""

import re
from itertools import groupby

import click
from roff import ManualPage, escape, literal, usage

from s3mount import __version__
from s3mount.cli.clear import clear_command
from s3mount.cli.mount_helper import FLAGS, USAGE
from s3mount.cli.option_types import COUNT, FLAG, OPTIONS, REPEATABLE
from s3mount.cli.options import OPTION_TABLE, Option
from s3mount.cli.reference import EXIT_STATUS, SIGNALS
from s3mount.ctl.commands import GROUP

VERSION = f"s3mount {__version__}"
CLEAR_EXIT_STATUS = (
    ("0", "nothing dead is mounted there any more"),
    ("1", "the mount could not be removed; one line on stderr says why"),
    ("2", "an argument is wrong; the line names it"),
    ("130", "interrupted"),
)
CTL_EXIT_STATUS = (
    ("0", "done"),
    ("1", "the mount or the store failed, or a mount is not healthy"),
    ("2", "an argument is wrong; one line on stderr names it"),
    ("3", "there is no such mount, or it does not respond"),
    ("130", "interrupted"),
)


def pages() -> dict[str, str]:
    """Return the pages by their path below share/man."""
    return {
        "man1/s3mount.1": s3mount_page(),
        "man1/s3mountctl.1": s3mountctl_page(),
        "man1/s3mount-clear.1": clear_page(),
        "man5/s3mount.toml.5": file_page(),
        "man8/mount.s3mount.8": helper_page(),
        "man8/mount.fuse.s3mount.8": ".so man8/mount.s3mount.8\n",  # another name of the command
    }


def s3mount_page() -> str:
    page = ManualPage("s3mount", 1, VERSION, "User Commands")
    page.summary("s3mount", "mount an S3 bucket read-only")
    page.section("Synopsis")
    page.usage("s3mount BUCKET[/PREFIX] MOUNTPOINT [OPTIONS]")
    page.usage("s3mount --config FILE [OPTIONS]")
    page.usage("mount -t s3mount BUCKET[/PREFIX] MOUNTPOINT -o WORD[,WORD...]")
    page.section("Description")
    page.paragraph(
        "Mounts an S3 bucket, or one prefix of it, read-only at *MOUNTPOINT*; s3:// is every "
        "bucket of the account, as top directories. It returns once the mount answers, and serves "
        "it in the background. Unmount it with `fusermount3 -u` *MOUNTPOINT*."
    )
    page.paragraph(
        "*BUCKET* may be written `s3://BUCKET`. An access point is named by its ARN. Credentials "
        "come from boto3's chain: the environment, ~/.aws, SSO, or the machine's role. There is no "
        "option for them."
    )
    page.paragraph(
        "Sizes are in bytes, or have a suffix: `KiB`, `MiB` or `GiB`. Durations are in seconds, or "
        "have a suffix: `s`, `m` or `h`. After `-o` and in fstab, an option is written without its "
        "dashes, with underscores: `metadata_ttl=5m`."
    )
    page.section("Options")
    for group, options in groupby(OPTION_TABLE, key=lambda option: option.group):
        page.subsection(group)
        for option in options:
            page.definition(_flags(option), _help(option))
    page.subsection("Other")
    page.definition(
        f"{literal('--config')} {_metavar('FILE')}",
        "Read options from a TOML file, see s3mount.toml(5). Flags win.",
    )
    page.definition(literal("--version"), "Show the version and exit.")
    page.definition(f"{literal('-h')}, {literal('--help')}", "Show a summary and exit.")
    _table(page, "Exit status", EXIT_STATUS)
    _table(page, "Signals", SIGNALS)
    page.section("Files")
    page.definition(
        literal("/etc/s3mount/NAME.toml"), "Configuration of `s3mount@`*NAME*`.service`."
    )
    page.definition(literal("/etc/fstab"), "Takes the type `s3mount`.")
    page.definition(literal("/etc/fuse.conf"), "Allows `--allow-other` to users: user_allow_other.")
    page.section("Examples")
    page.example(
        "s3mount photos/2024 ~/photos --region eu-central-1\n"
        "s3mount data /mnt/data --endpoint-url http://localhost:9000 --path-style\n"
        "photos /mnt/photos s3mount _netdev,allow_other,region=eu-central-1 0 0"
    )
    _see_also(
        page,
        "s3mountctl(1)",
        "s3mount-clear(1)",
        "s3mount.toml(5)",
        "mount.s3mount(8)",
        "fusermount3(1)",
        "mount(8)",
        "fstab(5)",
    )
    return page.text


def s3mountctl_page() -> str:
    page = ManualPage("s3mountctl", 1, VERSION, "User Commands")
    page.summary("s3mountctl", "watch and direct mounts of S3 buckets")
    page.section("Synopsis")
    page.usage("s3mountctl COMMAND [OPTIONS] [ARGUMENTS]")
    page.section("Description")
    _help_text(page, GROUP.help or "")
    page.paragraph(
        "At a terminal the commands draw tables, in colours unless `NO_COLOR` is set. In a pipe "
        "they print aligned lines, and with `--json` what the mount says. A mount point is never "
        "accessed: a mount that hangs cannot stop the command."
    )
    page.section("Commands")
    context = click.Context(GROUP, info_name="s3mountctl")
    for name in GROUP.list_commands(context):
        command = GROUP.get_command(context, name)
        assert command is not None
        _command(page, context, command)
    _table(page, "Exit status", CTL_EXIT_STATUS)
    page.section("Environment")
    page.definition(literal("NO_COLOR"), "If it is set, nothing is coloured.")
    page.definition(literal("XDG_RUNTIME_DIR"), "Where a user's own mounts have their sockets.")
    page.section("Files")
    page.definition(literal("/run/s3mount"), "Control sockets of mounts that root has made.")
    page.definition(literal("$XDG_RUNTIME_DIR/s3mount"), "Control sockets of a user's own mounts.")
    page.section("Examples")
    page.example(
        "s3mountctl list\n"
        "s3mountctl status /mnt/photos --json | jq .bill.total\n"
        "s3mountctl warm /mnt/photos/2024 && ./job\n"
        "s3mountctl trace --errors --key '2024/*'"
    )
    _see_also(page, "s3mount(1)", "s3mount-clear(1)", "s3mount.toml(5)")
    return page.text


def clear_page() -> str:
    command = clear_command()
    page = ManualPage("s3mount-clear", 1, VERSION, "User Commands")
    page.summary("s3mount-clear", "remove a dead mount of an S3 bucket")
    page.section("Synopsis")
    page.usage("s3mount-clear [--living] MOUNTPOINT")
    page.usage("s3mount-clear [--living] --config FILE")
    page.section("Description")
    _help_text(page, command.help or "")
    page.paragraph(
        "A mount is dead when its process was killed before it could unmount. `s3mountctl list` "
        "names dead mounts. If there is nothing to remove, that is success. A mount that answers, "
        "or that is not of s3mount, is left alone."
    )
    page.section("Options")
    _options(page, click.Context(command, info_name=command.name))
    page.paragraph(
        "In a service of systemd, `--living` removes a mount only if the main process of the "
        "service was killed: after a refused start, what answers there belongs to another service."
    )
    _table(page, "Exit status", CLEAR_EXIT_STATUS)
    page.section("Environment")
    page.definition(
        f"{literal('SERVICE_RESULT')}, {literal('EXIT_CODE')}, {literal('EXIT_STATUS')}",
        "How the main process of the service ended, see systemd.exec(5).",
    )
    page.section("Examples")
    page.example("s3mount-clear /mnt/photos\ns3mount-clear --living /mnt/photos")
    _see_also(page, "s3mount(1)", "s3mountctl(1)", "umount(8)")
    return page.text


def helper_page() -> str:
    page = ManualPage("mount.s3mount", 8, VERSION, "System Administration")
    page.summary("mount.s3mount", "mount an S3 bucket by mount(8) or fstab(5)")
    page.section("Synopsis")
    page.usage("mount -t s3mount BUCKET[/PREFIX] MOUNTPOINT [-o OPTIONS]")
    page.usage(USAGE)
    page.section("Description")
    page.paragraph(
        "Is run by mount(8) for the type `s3mount`, and for lines of /etc/fstab with that type. It "
        "returns once the mount answers. If the same is mounted there already, it does nothing."
    )
    page.paragraph(
        "An option is written as in s3mount(1), without its dashes and with underscores: "
        "`metadata_ttl=5m`. A value with a comma is quoted. Options of mount(8) such as `_netdev`, "
        "`nofail` and `noauto` are accepted. A bucket may be written `s3://BUCKET`, which cannot "
        "be taken for a file."
    )
    page.paragraph(
        "The mount is served by the user of `run_as=`, else by the user who mounts. Credentials "
        "are those of that user, from boto3's chain; there is no option for them."
    )
    page.section("Options")
    for flag, value, text in FLAGS:
        page.definition(usage(f"{flag} {value}".rstrip()), text)
    _table(page, "Exit status", EXIT_STATUS)
    page.section("Files")
    page.definition(literal("/etc/fstab"), "Mounts of the machine.")
    page.section("Examples")
    page.example(
        "mount -t s3mount photos/2024 /mnt/photos -o region=eu-central-1\n"
        "photos /mnt/photos s3mount _netdev,nofail,allow_other,run_as=s3mount 0 0"
    )
    _see_also(page, "s3mount(1)", "s3mountctl(1)", "mount(8)", "fstab(5)", "systemd.mount(5)")
    return page.text


def file_page() -> str:
    page = ManualPage("s3mount.toml", 5, VERSION, "File Formats")
    page.summary("s3mount.toml", "configuration of a mount of an S3 bucket")
    page.section("Description")
    page.paragraph(
        "A file in TOML, without tables, for `s3mount --config` *FILE* and for the unit "
        "`s3mount@`*NAME*`.service`, which reads /etc/s3mount/*NAME*.toml. Keys are the options of "
        "s3mount(1) without their dashes; underscores may be written for dashes. A key that is not "
        "known is an error, and so is one that looks like a credential."
    )
    page.section("Keys")
    page.definition(f"{literal('bucket')} = \\fIstring\\fR", "Bucket, or bucket and prefix.")
    page.definition(f"{literal('mountpoint')} = \\fIstring\\fR", "Directory to mount at.")
    for group, options in groupby(OPTION_TABLE, key=lambda option: option.group):
        page.subsection(group)
        for option in options:
            page.definition(f"{literal(option.name)} = \\fI{_toml_type(option)}\\fR", _help(option))
    page.section("Example")
    page.example(
        'bucket = "photos/2024"\n'
        'mountpoint = "/mnt/photos"\n'
        'region = "eu-central-1"\n'
        "allow-other = true\n"
        'memory-limit = "512MiB"'
    )
    _see_also(page, "s3mount(1)", "s3mountctl(1)", "systemd.unit(5)")
    return page.text


def _command(page: ManualPage, parent: click.Context, command: click.Command) -> None:
    context = click.Context(command, info_name=command.name, parent=parent)
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _command(page, context, each)
        return
    page.subsection(context.command_path.partition(" ")[2])
    page.usage(" ".join([context.command_path, *command.collect_usage_pieces(context)]))
    _help_text(page, command.help or "")
    _options(page, context)


def _options(page: ManualPage, context: click.Context) -> None:
    """Add the options of the command of *context*, but for --help."""
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record and "--help" not in parameter.opts:
            term, text = record
            page.definition(usage(term), text)


def _help_text(page: ManualPage, text: str) -> None:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        page.paragraph(paragraph)


def _table(page: ManualPage, title: str, rows: tuple[tuple[str, str], ...]) -> None:
    page.section(title)
    for term, text in rows:
        page.definition(literal(term), f"{text[:1].upper()}{text[1:]}.")


def _see_also(page: ManualPage, *names: str) -> None:
    page.section("See also")
    page.paragraph(", ".join(f"`{name.partition('(')[0]}`({name[-2]})" for name in names))


def _flags(option: Option) -> str:
    short = f"{literal('-' + option.short)}, " if option.short else ""
    value = "" if option.is_flag else f" {_metavar(option.type.metavar)}"
    return f"{short}{literal(option.flag)}{value}"


def _metavar(text: str) -> str:
    return "|".join(f"\\fI{escape(part)}\\fR" for part in text.split("|"))


def _help(option: Option) -> str:
    default = option.default_shown()
    return option.help + (f" Default: {default}." if default else "")


def _toml_type(option: Option) -> str:
    if option.type is FLAG:
        return "true or false"
    if option.type is COUNT:
        return "number"
    return "string or list" if option.type in REPEATABLE or option.type is OPTIONS else "string"

"""The command `s3mountctl doctor`: checks of what keeps a mount from working.

Takes the options of a mount, parsed as `s3mount` parses them, and draws the report.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from s3mount.cli.build_config import MountArguments, build_config
from s3mount.cli.completion import CompletedText
from s3mount.cli.config_file import ConfigFile, read_config_file
from s3mount.cli.flag_values import flag_values
from s3mount.cli.option_value import OptionValue
from s3mount.cli.parser import EPILOG, OptionCommand, option_flags
from s3mount.ctl.output import console, is_terminal, write_json, write_line
from s3mount.errors import UsageError

if TYPE_CHECKING:
    from s3mount.doctor.examination import Subject
    from s3mount.doctor.report import ReportRow

_ABOUT: Final = """\
Look for what keeps a mount from working, without mounting.

Checks this machine (FUSE, and the mount point if one is named), then the way to BUCKET (names,
proxy, TLS, clock), credentials, region, what is allowed and how fast the store is. Each line is ok,
warning, failure or not tried, with what to do. Ends with the command that would mount. Nothing
secret is shown, so the output can be pasted into a report.

Takes the options of s3mount. Exit status 1 if a check failed.
"""
_FOUND_OUT: Final = ("region", "addressing-style", "path-style")
_NO_COMMAND: Final = "No command would mount this yet: mend the failures above, and run it again."
_STYLES: Final = {"ok": "green", "warning": "yellow", "failure": "bold red", "not tried": "dim"}


def run(**given: Any) -> int:
    """Examine what *given*, click's values, mean; return the exit status. Raises UsageError."""
    from s3mount.doctor.examination import Examination  # noqa: PLC0415 - boto3, for this one only
    from s3mount.doctor.report import exit_status  # noqa: PLC0415

    examination = Examination(_subject(given))
    rows = []
    show = (lambda _: None) if given["is_json"] else _drawer() if is_terminal() else _write
    for row in examination.rows():
        show(row)
        rows.append(row)
    if given["is_json"]:
        checks = [row.as_json() for row in rows]
        write_json({"checks": checks, "command": examination.command})
    elif examination.command is not None:
        write_line("")
        write_line(examination.command)
    elif given["bucket"] or given["config"]:
        write_line("")
        write_line(_NO_COMMAND)
    return exit_status(rows)


def _subject(given: Mapping[str, Any]) -> "Subject":
    from s3mount.doctor.examination import Subject  # noqa: PLC0415

    file = read_config_file(given["config"]) if given["config"] else ConfigFile("")
    location = given["bucket"] or file.bucket
    mountpoint = given["mountpoint"] or file.mountpoint
    flags = flag_values(given)
    arguments = MountArguments(
        location or "bucket", mountpoint or _usual_mountpoint(location), (*file.values, *flags)
    )
    config = build_config(arguments)
    if config.store.is_account:
        raise UsageError(
            "BUCKET: s3:// is every bucket of the account; doctor examines one of them: "
            "name it, as in s3mountctl doctor BUCKET"
        )
    return Subject(
        config,
        has_bucket=location is not None,
        has_mountpoint=mountpoint is not None,
        has_speed=not given["no_speed"],
        options=(*_config_words(given["config"]), *_words(flags)),
    )


def _usual_mountpoint(location: str | None) -> str:
    """Return a mount point for the command that is suggested."""
    bucket = (location or "").removeprefix("s3://")
    name = bucket.rpartition("accesspoint")[2].strip(":/") if bucket[:4] == "arn:" else bucket
    return f"/mnt/{re.split('[/:]', name)[0] or 'bucket'}"


def _config_words(path: str | None) -> tuple[str, ...]:
    return ("--config", path) if path else ()


def _words(values: Iterable[OptionValue]) -> Iterator[str]:
    """Yield *values* as words of a command line, without those that are found out."""
    for _, option, value in values:
        if option.name in _FOUND_OUT:
            continue
        yield option.flag
        if isinstance(value, tuple | frozenset):
            yield ",".join(sorted(map(str, value)))
        elif not option.is_flag:
            yield option.type.show(value)


def _write(row: "ReportRow") -> None:
    for line in _lines(row):
        write_line(line)


def _lines(row: "ReportRow") -> Iterator[str]:
    finding = row.finding
    yield f"{finding.outcome:<9}  {row.name:<14}  {finding.text}"
    if finding.remedy:
        yield f"{'':<27}-> {finding.remedy}"


def _drawer() -> Any:
    from rich.text import Text  # noqa: PLC0415 - not for pipes

    out = console()

    def draw(row: "ReportRow") -> None:
        first, *others = _lines(row)
        text = Text(first)
        text.stylize(_STYLES[row.finding.outcome], 0, 9)
        text.stylize("bold", 11, 25)
        out.print(text, soft_wrap=True)
        for line in others:
            out.print(Text(line, "cyan"), soft_wrap=True)

    return draw


command: Final = OptionCommand(
    "doctor",
    params=[
        click.Argument(["bucket"], required=False, metavar="[BUCKET[/PREFIX]]"),
        *option_flags(),
        click.Option(
            ["mountpoint", "--mountpoint"],
            metavar="DIRECTORY",
            help="Check this mount point, too.",
            type=CompletedText(kind="dir"),
        ),
        click.Option(
            ["no_speed", "--no-speed"],
            is_flag=True,
            help="Do not measure; else some 160 MiB at most are read, for 7 seconds at most.",
        ),
        click.Option(["is_json", "--json"], is_flag=True, help="Print the report as JSON."),
    ],
    help=_ABOUT,
    epilog=EPILOG,
    callback=run,
)

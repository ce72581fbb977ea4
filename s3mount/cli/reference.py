"""Generator of docs/options.md: `python -m s3mount.cli.reference >docs/options.md`.

A test compares the file with its output.
"""

import sys
from collections.abc import Iterable
from itertools import groupby
from typing import Final

from s3mount.cli.option_types import OPTIONS
from s3mount.cli.options import OPTION_TABLE, Option

_HEAD: Final = """\
# Options

Written by `python -m s3mount.cli.reference` from the table in `s3mount/cli/options.py`.

    s3mount BUCKET[/PREFIX] MOUNTPOINT [OPTIONS]
    s3mount --config /etc/s3mount/photos.toml
    mount -t s3mount BUCKET[/PREFIX] MOUNTPOINT -o WORD[,WORD...]

`BUCKET[/PREFIX]` may be written `s3://BUCKET/PREFIX`. An access point is named by its ARN.

Each option has one name, in three places: `--metadata-ttl 5m` on the command line,
`metadata-ttl = "5m"` (or `metadata_ttl`) in a configuration file, `metadata_ttl=5m` in `/etc/fstab`
and after `-o`. The command line wins over the file.

Sizes are in bytes, or have a suffix: KiB, MiB, GiB or TiB. Durations are in seconds, or have a
suffix: s, m or h. Credentials come from boto3's chain: environment, `~/.aws`, SSO, web identity,
container and machine roles. No option, key or URL takes them.

A configuration file is TOML, without tables. It has two more keys, `bucket` and `mountpoint`:

    bucket = "photos/2024"
    mountpoint = "/mnt/photos"
    region = "eu-central-1"
    allow-other = true
    memory-limit = "512MiB"
"""
EXIT_STATUS: Final = (
    ("0", "the mount answers; in the foreground: it was unmounted"),
    ("1", "mounting failed; one line on stderr says why"),
    ("2", "an argument or a configuration file is wrong; the line names it"),
    ("130", "interrupted"),
    ("141", "nobody reads stdout any more"),
)
SIGNALS: Final = (
    ("SIGTERM, SIGINT", "unmount and exit; a second one: at once"),
    ("SIGHUP", "invalidate all cached metadata"),
    ("SIGUSR1", "log statistics"),
)


def reference() -> str:
    """Return the page, in Markdown."""
    groups = [
        f"## {group}\n\n" + "".join(_entry(option) for option in options)
        for group, options in groupby(OPTION_TABLE, key=lambda option: option.group)
    ]
    tables = [
        _table("Exit status", ("status", "meaning"), EXIT_STATUS),
        _table("Signals", ("signal", "effect"), SIGNALS),
    ]
    return "\n".join([_HEAD, *groups, *tables])


def _table(title: str, head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {left} | {right} |" for left, right in (head, *rows)]
    lines.insert(1, "|---|---|")
    return f"## {title}\n\n" + "".join(f"{line}\n" for line in lines)


def _entry(option: Option) -> str:
    flags = f"`-{option.short}`, `{option.flag}`" if option.short else f"`{option.flag}`"
    value = "" if option.is_flag else f" *{option.type.metavar}*".replace("|", "* or *")
    default = option.default_shown()
    repeats = " May also be a list in a configuration file." if option.type is OPTIONS else ""
    return f"- {flags}{value}: {option.help}{repeats}{f' Default: {default}.' if default else ''}\n"


if __name__ == "__main__":
    sys.stdout.write(reference())

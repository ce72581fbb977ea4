"""docs/options.md, written from the table of settings: `python -m s3mount.cli.reference >docs/options.md`.

A test compares the file with what this writes.
"""

import sys
from itertools import groupby
from typing import Final

from s3mount.cli.options import OPTION_TABLE, OPTIONS, Option

_HEAD: Final = """\
# Options

Written by `python -m s3mount.cli.reference` from the table in `s3mount/cli/options.py`.

    s3mount BUCKET[/PREFIX] MOUNTPOINT [OPTIONS]
    s3mount --config /etc/s3mount/photos.toml
    mount -t s3mount BUCKET[/PREFIX] MOUNTPOINT -o WORD[,WORD...]

`BUCKET[/PREFIX]` may be written `s3://BUCKET/PREFIX`, and an access point by its ARN.

Each setting has one name, in three places: `--metadata-ttl 5m` on the command line, `metadata-ttl = "5m"` (or `metadata_ttl`) in a
configuration file, `metadata_ttl=5m` in `/etc/fstab` and after `-o`. The command line wins over the file.

Sizes are bytes, or take KiB, MiB and GiB. Durations are seconds, or take s, m and h. Credentials come from boto3's chain (environment,
`~/.aws`, SSO, web identity, container and machine roles); no option, key or URL takes them.

A configuration file is TOML, without tables, and has two keys more, `bucket` and `mountpoint`:

    bucket = "photos/2024"
    mountpoint = "/mnt/photos"
    region = "eu-central-1"
    allow-other = true
    memory-limit = "512MiB"
"""
_TAIL: Final = """\
## Exit status

0: mounted, or, in the foreground, unmounted by whoever it was. 1: it could not be done; one line on stderr says why. 2: something
was written wrongly; the line names it. 130: interrupted.

## Signals

SIGTERM, SIGINT: unmount and end; again: at once. SIGHUP: forget what is known of the bucket. SIGUSR1: log statistics.
"""


def reference() -> str:
    """The page, in Markdown."""
    groups = [
        f"## {group}\n\n" + "".join(_entry(setting) for setting in settings)
        for group, settings in groupby(OPTION_TABLE, key=lambda setting: setting.group)
    ]
    return "\n".join([_HEAD, *groups, _TAIL])


def _entry(setting: Option) -> str:
    flags = f"`-{setting.short}`, `{setting.flag}`" if setting.short else f"`{setting.flag}`"
    value = "" if setting.is_flag else f" *{setting.kind.metavar}*".replace("|", "* or *")
    default = setting.default_shown()
    repeats = " May also be a list in a configuration file." if setting.kind is OPTIONS else ""
    return (
        f"- {flags}{value}: {setting.help}{repeats}{f' Default: {default}.' if default else ''}\n"
    )


if __name__ == "__main__":
    sys.stdout.write(reference())

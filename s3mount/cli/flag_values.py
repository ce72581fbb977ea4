"""Arguments of a mount out of the words of a command line: its flags' values, and its file's."""

from collections.abc import Mapping
from typing import Any

from s3mount.cli.build_config import MountArguments
from s3mount.cli.config_file import ConfigFile, read_config_file
from s3mount.cli.mount_options import parse_mount_options
from s3mount.cli.option_types import OPTIONS, REPEATABLE
from s3mount.cli.option_value import OptionValue, parse_value
from s3mount.cli.options import OPTION_TABLE


def mount_arguments(given: Mapping[str, Any]) -> MountArguments:
    """Return the arguments of a mount, those of its file among them. Raises UsageError."""
    file = read_config_file(given["config"]) if given["config"] else ConfigFile("")
    location, mountpoint = _places(given["bucket"], given["mountpoint"], file)
    return MountArguments(location, mountpoint, (*file.values, *flag_values(given)))


def flag_values(given: Mapping[str, Any]) -> list[OptionValue]:
    """Parse a parser's values (thus Any): a bool, a str, or a tuple of str if the flag may repeat.

    Raises UsageError.
    """
    values: list[OptionValue] = []
    for option in OPTION_TABLE:
        raw = given[option.key]
        if option.type is OPTIONS:
            values += [each for text in raw for each in parse_mount_options(text, "-o")]
        elif option.type in REPEATABLE:
            values += [parse_value(option.flag, option, text) for text in raw]
        elif raw is not None and raw is not False:
            values.append(parse_value(option.flag, option, raw))
    return values


def _places(
    bucket: str | None, mountpoint: str | None, file: ConfigFile
) -> tuple[str | None, str | None]:
    """A single argument is the mount point if the file has only the bucket; else the bucket."""
    if bucket and not mountpoint and file.bucket and not file.mountpoint:
        return file.bucket, bucket
    return bucket or file.bucket, mountpoint or file.mountpoint

"""The table of settings: one row for each thing that a mount can be told.

Flags, keys of a configuration file, `-o` options, `--help` and docs/options.md are all derived from it, and defaults from
`s3mount.config`: to change one thing, change one row here or one default there.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from types import MappingProxyType
from typing import Final

from s3mount.cli.values import (
    parse_bucket_owner,
    parse_count,
    parse_duration,
    parse_endpoint,
    parse_existing_file,
    parse_group,
    parse_lifetime,
    parse_mode,
    parse_name,
    parse_path,
    parse_prefetch,
    parse_region,
    parse_size,
    parse_user,
    show_duration,
    show_mode,
    show_size,
    suggestion,
)
from s3mount.config import BlockConfig, Config, LogConfig, MountConfig, StoreConfig, TreeConfig


@dataclass(frozen=True, slots=True)
class OptionType:
    """How a setting is written: *parse* takes text, raises ValueError; *show* is its inverse."""

    metavar: str
    parse: Callable[[str], object]
    show: Callable[..., str] = str


def _parse_options(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _parse_truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def choice(*names: str) -> OptionType:
    """One of *names*."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"{text!r} is not one of {', '.join(names)}{suggestion(text, names)}")
        return text

    return OptionType("|".join(names), parse)


FLAG: Final = OptionType("", _parse_truth)
URL: Final = OptionType("URL", parse_endpoint)
REGION: Final = OptionType("TEXT", parse_region)
PROFILE: Final = OptionType("TEXT", parse_name)
ACCOUNT: Final = OptionType("DIGITS", parse_bucket_owner)
PATH: Final = OptionType("FILE", parse_path)
EXISTING: Final = OptionType("FILE", parse_existing_file)
SIZE: Final = OptionType("SIZE", parse_size, show_size)
DURATION: Final = OptionType("SECONDS", parse_duration, show_duration)
LIFETIME: Final = OptionType("SECONDS", parse_lifetime, show_duration)
COUNT: Final = OptionType("N", parse_count)
MODE: Final = OptionType("MODE", parse_mode, show_mode)
USER: Final = OptionType("USER", parse_user)
GROUP: Final = OptionType("GROUP", parse_group)
LEVEL: Final = replace(choice("debug", "info", "warning", "error"), metavar="LEVEL")
OPTIONS: Final = OptionType("WORD[,WORD...]", _parse_options)
PREFETCH: Final = OptionType("NAME[,NAME...]", parse_prefetch)
REPEATABLE: Final = frozenset((OPTIONS, PREFETCH))

Section = type[StoreConfig | TreeConfig | BlockConfig | MountConfig | LogConfig | Config]


@dataclass(frozen=True, slots=True)
class Option:
    """One row: its name on the command line (config files take underscores as well), and the field it fills.

    *inverts*: the flag says the opposite of its field. *short* is a one-letter flag. *default* is shown where
    the field's own default does not tell.
    """

    group: str
    name: str
    section: Section
    field: str
    kind: OptionType
    help: str
    short: str | None = None
    inverts: bool = False
    default: str | None = None

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def key(self) -> str:
        """The name with underscores, as mount options and Python have it."""
        return self.name.replace("-", "_")

    @property
    def is_flag(self) -> bool:
        return self.kind is FLAG

    def default_shown(self) -> str | None:
        """The default as a user would write it; None where there is none worth telling."""
        if self.default is not None or self.is_flag:
            return self.default
        value = next(field.default for field in fields(self.section) if field.name == self.field)
        return None if value in (None, MISSING, (), frozenset()) else self.kind.show(value)


_STORE: Final = "Reaching the bucket"
_MOUNT: Final = "The mount"
_TREE: Final = "What is shown, and for how long"
_BYTES: Final = "Reading"
_LOG: Final = "Process and log"

OPTION_TABLE: Final[tuple[Option, ...]] = (
    Option(
        _STORE,
        "endpoint-url",
        StoreConfig,
        "endpoint_url",
        URL,
        "Where the S3 API is, if not at AWS.",
    ),
    Option(
        _STORE,
        "region",
        StoreConfig,
        "region",
        REGION,
        "Region of the bucket.",
        default="found by asking the bucket",
    ),
    Option(
        _STORE,
        "profile",
        StoreConfig,
        "profile",
        PROFILE,
        "Profile of ~/.aws/config to take credentials from.",
    ),
    Option(
        _STORE,
        "no-sign-request",
        StoreConfig,
        "sign_requests",
        FLAG,
        "Ask anonymously, without credentials: for public buckets.",
        inverts=True,
    ),
    Option(
        _STORE,
        "path-style",
        StoreConfig,
        "path_style",
        FLAG,
        "Name the bucket in the path of URLs, not in the host.",
    ),
    Option(
        _STORE,
        "requester-pays",
        StoreConfig,
        "requester_pays",
        FLAG,
        "Agree to pay for the requests, which requester-pays buckets demand.",
    ),
    Option(
        _STORE,
        "expected-bucket-owner",
        StoreConfig,
        "expected_bucket_owner",
        ACCOUNT,
        "Number of the account that must own the bucket; fail if another does.",
    ),
    Option(
        _STORE,
        "ca-bundle",
        StoreConfig,
        "ca_bundle",
        EXISTING,
        "Certificates (PEM) to trust instead of the usual.",
    ),
    Option(
        _STORE,
        "no-verify-ssl",
        StoreConfig,
        "verify_ssl",
        FLAG,
        "Do not check the server's certificate. Anyone in between can read and change what you see.",
        inverts=True,
    ),
    Option(
        _STORE,
        "max-connections",
        StoreConfig,
        "max_connections",
        COUNT,
        "Most requests at the same time.",
    ),
    Option(
        _STORE,
        "timeout",
        StoreConfig,
        "timeout",
        DURATION,
        "What a single read or lookup may take in all, retries included.",
    ),
    Option(
        _STORE,
        "transport",
        StoreConfig,
        "transport",
        choice("lean", "boto3"),
        "How requests travel: built and sent by s3mount itself where it can, or all by boto3.",
    ),
    Option(
        _MOUNT,
        "allow-other",
        MountConfig,
        "allow_other",
        FLAG,
        "Let every user in, not only the one who mounts.",
    ),
    Option(_MOUNT, "allow-root", MountConfig, "allow_root", FLAG, "Let root in, too."),
    Option(
        _MOUNT,
        "run-as",
        MountConfig,
        "run_as",
        OptionType("USER", parse_name),
        "Mount as root, then serve as USER with no capabilities left. Credentials are then sought as USER.",
    ),
    Option(
        _MOUNT,
        "fuse-options",
        MountConfig,
        "fuse_options",
        OPTIONS,
        "Options as in fstab: noexec, fsname=NAME, auto_unmount, or any of these; may repeat.",
        short="o",
    ),
    Option(
        _TREE,
        "uid",
        TreeConfig,
        "uid",
        USER,
        "Owner of all files.",
        default="who mounts, or the user of --run-as",
    ),
    Option(
        _TREE,
        "gid",
        TreeConfig,
        "gid",
        GROUP,
        "Group of all files.",
        default="that of who mounts, or of --run-as",
    ),
    Option(
        _TREE,
        "dir-mode",
        TreeConfig,
        "dir_mode",
        MODE,
        "Permission bits of directories, in octal.",
        default="0555, with --allow-root 0500",
    ),
    Option(
        _TREE,
        "file-mode",
        TreeConfig,
        "file_mode",
        MODE,
        "Permission bits of files, in octal.",
        default="0444, with --allow-root 0400",
    ),
    Option(
        _TREE,
        "metadata-ttl",
        TreeConfig,
        "metadata_ttl",
        LIFETIME,
        'How long listings and attributes hold. 0: every open asks; "indefinite": nothing is asked twice.',
    ),
    Option(
        _TREE,
        "negative-ttl",
        TreeConfig,
        "negative_ttl",
        LIFETIME,
        "How long a name that was not found stays so.",
        default="as --metadata-ttl",
    ),
    Option(
        _TREE,
        "stale-while-revalidate",
        TreeConfig,
        "stale_while_revalidate",
        DURATION,
        "Answer at once from a listing that expired less than this ago, while it is renewed; 0 is off.",
    ),
    Option(
        _TREE,
        "metadata-limit",
        TreeConfig,
        "metadata_limit",
        SIZE,
        "Memory for names and attributes, over all directories; a file takes some 200 bytes. Larger directories are listed anew.",
    ),
    Option(
        _BYTES,
        "part-size",
        BlockConfig,
        "part_size",
        SIZE,
        "What one request asks for while streaming.",
    ),
    Option(
        _BYTES,
        "memory-limit",
        BlockConfig,
        "memory_limit",
        SIZE,
        "Memory for bytes read and read ahead.",
    ),
    Option(
        _BYTES,
        "no-prefetch",
        Config,
        "no_prefetch",
        PREFETCH,
        "Send no requests of these kinds before a reader needs them: walks, siblings, listings, "
        "parallel-listing, readahead (sequential reads then take more and smaller ones), or all; may repeat.",
    ),
    Option(
        _LOG,
        "foreground",
        Config,
        "foreground",
        FLAG,
        "Stay in front, and log to stderr, instead of going to the background.",
        short="f",
    ),
    Option(
        _LOG,
        "log-level",
        LogConfig,
        "level",
        LEVEL,
        "The least that is logged: debug, info, warning or error.",
    ),
    Option(
        _LOG,
        "log-file",
        LogConfig,
        "file",
        PATH,
        "File to append the log to.",
        default="stderr in the foreground, syslog in the background",
    ),
    Option(_LOG, "log-format", LogConfig, "format", choice("text", "json"), "How log lines look."),
)

BY_NAME: Final[Mapping[str, Option]] = MappingProxyType(
    {setting.name: setting for setting in OPTION_TABLE}
)


def canonical(name: str) -> str:
    """The name of a setting as the table spells it: keys may have underscores, and `o` is short for fuse-options."""
    return "fuse-options" if name == "o" else name.replace("_", "-")

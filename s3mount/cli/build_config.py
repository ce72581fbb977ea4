"""Construction of the Config from option values: the command line wins over the file, and the file
over the defaults.

Pure, except for user look-ups. Combinations that cannot work are refused, by the names as written.
"""

import math
import os
import pwd
from collections.abc import Iterable, Mapping
from typing import Any, Final

from s3mount.cli.local_values import absolute
from s3mount.cli.option_value import OptionValue
from s3mount.cli.options import OPTION_TABLE, Section
from s3mount.cli.quantities import show_size
from s3mount.cli.store_values import parse_location
from s3mount.config import (
    INDEFINITE,
    MIB,
    BlockConfig,
    Config,
    DiskConfig,
    LogConfig,
    MountConfig,
    PriceConfig,
    StoreConfig,
    TreeConfig,
)
from s3mount.errors import UsageError
from s3mount.frozen_dataclass import dataclass

PART_MIN: Final = 128 << 10  # below it, requests cost more than the bytes they bring
PART_MAX: Final = 1024 * MIB
CONNECTIONS_MAX: Final = 1024  # a usual RLIMIT_NOFILE
DISK_MIN: Final = 16 * MIB  # two segments, of which one can be written
PAGE_SIZE_MAX: Final = 10_000  # rows; `s3.limits` bounds what is read of a page


@dataclass(frozen=True, slots=True)
class MountArguments:
    """Arguments of a mount: the bucket, the mount point, and the values of options."""

    location: str | None
    mountpoint: str | None
    values: tuple[OptionValue, ...]


def build_config(arguments: MountArguments) -> Config:
    """Build the Config. Raises UsageError.

    Later values win; FUSE options and --no-prefetch add up.
    """
    if not arguments.location or not arguments.mountpoint:
        missing = "BUCKET" if not arguments.location else "MOUNTPOINT"
        raise UsageError(
            f"{missing} is missing: s3mount BUCKET[/PREFIX] MOUNTPOINT, "
            "or --config FILE that names both"
        )
    by_name = _merged(arguments.values)
    _check_combinations(by_name)
    sections = _by_section(by_name)
    try:
        bucket, prefix = parse_location(arguments.location)
    except ValueError as exc:
        raise UsageError(f"BUCKET: {exc}") from exc
    config = Config(
        store=StoreConfig(bucket=bucket, prefix=prefix, **sections[StoreConfig]),
        tree=TreeConfig(
            **_owner(by_name), **(_modes(by_name) | _ttl(by_name) | sections[TreeConfig])
        ),
        mount=MountConfig(
            mountpoint=_absolute(arguments.mountpoint),
            source=arguments.location if bucket else "s3://",
            **sections[MountConfig],
        ),
        blocks=BlockConfig(**sections[BlockConfig]),
        disk=DiskConfig(**sections[DiskConfig]) if "cache-dir" in by_name else None,
        prices=PriceConfig(**sections[PriceConfig]),
        log=LogConfig(**sections[LogConfig]),
        **sections[Config],
    )
    _check_buckets(config.store, by_name)
    _check_symlinks(config, by_name)
    _check_disk(config, by_name)
    _check_stale(config, by_name)
    _check_bounds(config, by_name)
    return config


def _merged(values: Iterable[OptionValue]) -> dict[str, OptionValue]:
    by_name: dict[str, OptionValue] = {}
    for each in values:
        name = each.option.name
        earlier = by_name.get(name)
        match earlier.value if earlier else None, each.value:
            case tuple(before), tuple(more):
                by_name[name] = each._replace(value=before + more)
            case frozenset(before), frozenset(more):
                by_name[name] = each._replace(value=before | more)
            case _:
                by_name[name] = each
    return by_name


def _by_section(by_name: Mapping[str, OptionValue]) -> dict[Section, dict[str, Any]]:
    """Return keyword arguments by section; Any, since only the table knows the type of a field."""
    sections: dict[Section, dict[str, Any]] = {option.section: {} for option in OPTION_TABLE}
    for each in by_name.values():
        if each.option.name not in ("uid", "gid"):
            sections[each.option.section][each.option.field] = each.value
    return sections


def _owner(by_name: Mapping[str, OptionValue]) -> dict[str, Any]:
    """Return uid and gid: as given, else those of the user who serves."""
    uid, gid = _server(by_name.get("run-as"))
    given = {name: by_name[name].value for name in ("uid", "gid") if name in by_name}
    return {"uid": uid, "gid": gid} | given


def _modes(by_name: Mapping[str, OptionValue]) -> dict[str, Any]:
    """Return the modes for --allow-root: libfuse refuses others, but sees no cached attributes."""
    return {"dir_mode": 0o500, "file_mode": 0o400} if _is_on(by_name, "allow-root") else {}


def _ttl(by_name: Mapping[str, OptionValue]) -> dict[str, Any]:
    """Return the TTL for --at: what was then does not change any more."""
    return {"metadata_ttl": INDEFINITE} if "at" in by_name else {}


def _server(run_as: OptionValue | None) -> tuple[int, int]:
    if run_as is None:
        return os.getuid(), os.getgid()
    try:
        account = pwd.getpwnam(str(run_as.value))
    except KeyError:
        raise UsageError(f"{run_as.where}: there is no user {run_as.value!r}") from None
    if account.pw_uid == 0:
        raise UsageError(
            f"{run_as.where}: {run_as.value!r} is root: name a user with fewer privileges"
        )
    return account.pw_uid, account.pw_gid


def _absolute(mountpoint: str) -> str:
    """Make it absolute, but do not resolve it: a dead mount cannot be, and is reported later."""
    try:
        return absolute(mountpoint)
    except ValueError as exc:
        raise UsageError(f"MOUNTPOINT: {exc}") from exc
    except OSError as exc:
        raise UsageError(
            f"MOUNTPOINT: the current directory is gone ({exc.strerror}): write an absolute path"
        ) from exc


def _check_symlinks(config: Config, by_name: Mapping[str, OptionValue]) -> None:
    if not config.store.symlinks:
        return
    if "nosymfollow" in config.mount.fuse_options:
        raise UsageError(
            f"{by_name['symlinks'].where} and {by_name['fuse-options'].where} contradict each "
            "other: nosymfollow would follow no link; leave the links out"
        )
    if not config.store.posix_metadata:
        raise UsageError(
            f"{by_name['symlinks'].where}: a link is shown with its owner and mtime: "
            "add --posix-metadata"
        )


def _check_buckets(store: StoreConfig, by_name: Mapping[str, OptionValue]) -> None:
    if store.buckets and not store.is_account:
        raise UsageError(
            f"{by_name['buckets'].where}: it chooses among all buckets of the account: "
            "write s3:// in place of the bucket"
        )


def _check_disk(config: Config, by_name: Mapping[str, OptionValue]) -> None:
    disk = config.disk
    for name in ("cache-size", "cache-free-space"):
        if disk is None and name in by_name:
            raise UsageError(f"{by_name[name].where}: there is no disk cache without --cache-dir")
    if disk is None:
        return
    if disk.folder.is_relative_to(config.mount.mountpoint):
        raise UsageError(
            f"{by_name['cache-dir'].where}: it is in the mount point, which the mount covers; "
            "name a directory elsewhere"
        )
    if disk.size < DISK_MIN:
        raise UsageError(
            f"{by_name['cache-size'].where}: {show_size(disk.size)} is too small for a disk cache: "
            f"give it {show_size(DISK_MIN)} or more"
        )


def _check_stale(config: Config, by_name: Mapping[str, OptionValue]) -> None:
    """Refuse an age at which nothing has expired; with a disk cache, it lets a mount start."""
    tree = config.tree
    age, ttl = tree.serve_stale, tree.metadata_ttl
    shortest = ttl if tree.negative_ttl is None else min(ttl, tree.negative_ttl)
    if config.disk is None and 0 < age <= shortest and ttl < math.inf:
        raise UsageError(
            f"{by_name['serve-stale'].where}: {age:g} s is an age at which nothing has "
            f"expired: give it more than --metadata-ttl, which is {ttl:g} s"
        )


_CONTRADICTIONS: Final = (
    ("allow-other", "allow-root", "--allow-other includes root"),
    ("no-sign-request", "profile", "a request that is not signed needs no profile"),
    ("no-sign-request", "requester-pays", "only a signed request can be paid for"),
    ("no-verify-ssl", "ca-bundle", "without verification, no certificate is looked at"),
    ("no-verify-ssl", "sse-c-key-file", "anyone in between could read the key; use --ca-bundle"),
)


def _check_combinations(by_name: Mapping[str, OptionValue]) -> None:
    for one, other, reason in _CONTRADICTIONS:
        if _is_on(by_name, one) and _is_on(by_name, other):
            raise UsageError(
                f"{by_name[one].where} and {by_name[other].where} contradict each other: {reason}"
            )
    style = by_name.get("addressing-style")
    if style is not None and style.value != "path" and _is_on(by_name, "path-style"):
        raise UsageError(
            f"{by_name['path-style'].where} and {style.where} contradict each other: "
            f"{style.value!r} is not 'path'"
        )


def _is_on(by_name: Mapping[str, OptionValue], name: str) -> bool:
    each = by_name.get(name)
    return each is not None and (not each.option.is_flag or each.value is not each.option.inverts)


def _check_bounds(config: Config, by_name: Mapping[str, OptionValue]) -> None:
    part, memory = config.blocks.part_size, config.blocks.memory_limit
    too_small = (
        f"{show_size(memory)} holds less than two parts: "
        f"give it {show_size(2 * part)} or more, or a smaller --part-size"
    )
    part_bounds = f"it must be {show_size(PART_MIN)} to {show_size(PART_MAX)}"
    connections = config.store.max_connections
    style = "path-style" if _is_on(by_name, "path-style") else "addressing-style"
    is_path_of_access_point = config.store.style == "path" and config.store.bucket.startswith(
        "arn:"
    )
    bounds = (
        (PART_MIN <= part <= PART_MAX, "part-size", part_bounds),
        (memory >= 2 * part, "memory-limit", too_small),
        (
            1 <= connections <= CONNECTIONS_MAX,
            "max-connections",
            f"it must be 1 to {CONNECTIONS_MAX}",
        ),
        (
            1 <= config.store.list_page_size <= PAGE_SIZE_MAX,
            "list-page-size",
            f"it must be 1 to {PAGE_SIZE_MAX}",
        ),
        (config.store.timeout > 0, "timeout", "it must be more than 0"),
        (config.store.connect_timeout != 0, "connect-timeout", "it must be more than 0"),
        (config.store.idle_timeout != 0, "idle-timeout", "it must be more than 0"),
        (config.tree.metadata_limit > 0, "metadata-limit", "it must be more than 0"),
        (not is_path_of_access_point, style, "an access point cannot be named in a path"),
    )
    for holds, name, demand in bounds:
        if not holds:
            where = by_name[name].where if name in by_name else f"--{name}"
            raise UsageError(f"{where}: {demand}")

"""One frozen Config from what was spelled: defaults below, the file above them, the command line on top.

Pure, except that it looks up who asks. Combinations that cannot work are refused here, by the names that were written.
"""

import os
import pwd
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from s3mount.cli.option_value import OptionValue
from s3mount.cli.options import OPTION_TABLE, Section
from s3mount.cli.values import absolute, parse_location, show_size
from s3mount.config import MIB, BlockConfig, Config, LogConfig, MountConfig, StoreConfig, TreeConfig
from s3mount.errors import UsageError

PART_MIN: Final = 128 << 10  # below it, requests cost more than the bytes they bring
PART_MAX: Final = 1024 * MIB
CONNECTIONS_MAX: Final = 1024  # a usual RLIMIT_NOFILE


@dataclass(frozen=True, slots=True)
class MountArguments:
    """What is to be mounted, and where, with the places where that was written."""

    location: str | None
    mountpoint: str | None
    settings: tuple[OptionValue, ...]


def make_config(request: MountArguments) -> Config:
    """Raises UsageError. Later settings win over earlier ones; FUSE options and --no-prefetch add up."""
    if not request.location or not request.mountpoint:
        missing = "BUCKET" if not request.location else "MOUNTPOINT"
        raise UsageError(
            f"{missing} is missing: s3mount BUCKET[/PREFIX] MOUNTPOINT, or --config FILE that names both"
        )
    by_name = _merged(request.settings)
    _check_combinations(by_name)
    sections = _by_section(by_name)
    try:
        bucket, prefix = parse_location(request.location)
    except ValueError as exc:
        raise UsageError(f"BUCKET: {exc}") from exc
    config = Config(
        store=StoreConfig(bucket=bucket, prefix=prefix, **sections[StoreConfig]),
        tree=TreeConfig(**_owner(by_name), **(_modes(by_name) | sections[TreeConfig])),
        mount=MountConfig(mountpoint=_absolute(request.mountpoint), **sections[MountConfig]),
        blocks=BlockConfig(**sections[BlockConfig]),
        log=LogConfig(**sections[LogConfig]),
        **sections[Config],
    )
    _check_bounds(config, by_name)
    return config


def _merged(settings: Iterable[OptionValue]) -> dict[str, OptionValue]:
    by_name: dict[str, OptionValue] = {}
    for each in settings:
        name = each.setting.name
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
    """Keyword arguments for each part of a Config; Any, since the table knows what each field takes and mypy cannot."""
    sections: dict[Section, dict[str, Any]] = {setting.section: {} for setting in OPTION_TABLE}
    for each in by_name.values():
        if each.setting.name not in ("uid", "gid"):
            sections[each.setting.section][each.setting.field] = each.value
    return sections


def _owner(by_name: Mapping[str, OptionValue]) -> dict[str, Any]:
    """The uid and gid: as told, else those of whoever serves."""
    uid, gid = _server(by_name.get("run-as"))
    told = {name: by_name[name].value for name in ("uid", "gid") if name in by_name}
    return {"uid": uid, "gid": gid} | told


def _modes(by_name: Mapping[str, OptionValue]) -> dict[str, Any]:
    """The modes that --allow-root needs: libfuse turns others away, but the kernel does not ask it for attributes that it holds."""
    return {"dir_mode": 0o500, "file_mode": 0o400} if _is_on(by_name, "allow-root") else {}


def _server(run_as: OptionValue | None) -> tuple[int, int]:
    if run_as is None:
        return os.getuid(), os.getgid()
    try:
        account = pwd.getpwnam(str(run_as.value))
    except KeyError:
        raise UsageError(f"{run_as.where}: there is no user {run_as.value!r}") from None
    if account.pw_uid == 0:
        raise UsageError(f"{run_as.where}: {run_as.value!r} is root: name a user who may do less")
    return account.pw_uid, account.pw_gid


def _absolute(mountpoint: str) -> str:
    """Not resolved: a dead mount cannot be, and the check of the mount point says so better."""
    try:
        return absolute(mountpoint)
    except ValueError as exc:
        raise UsageError(f"MOUNTPOINT: {exc}") from exc
    except OSError as exc:
        raise UsageError(
            f"MOUNTPOINT: the current directory is gone ({exc.strerror}): write an absolute path"
        ) from exc


_CONTRADICTIONS: Final = (
    ("allow-other", "allow-root", "--allow-other lets root in already"),
    ("no-sign-request", "profile", "a request that is not signed needs no profile"),
    ("no-sign-request", "requester-pays", "only a signed request can be paid for"),
    ("no-verify-ssl", "ca-bundle", "without verification nothing is trusted, or all"),
)


def _check_combinations(by_name: Mapping[str, OptionValue]) -> None:
    for one, other, reason in _CONTRADICTIONS:
        if _is_on(by_name, one) and _is_on(by_name, other):
            raise UsageError(
                f"{by_name[one].where} and {by_name[other].where} contradict each other: {reason}"
            )


def _is_on(by_name: Mapping[str, OptionValue], name: str) -> bool:
    each = by_name.get(name)
    return each is not None and (not each.setting.is_flag or each.value is not each.setting.inverts)


def _check_bounds(config: Config, by_name: Mapping[str, OptionValue]) -> None:
    part, memory = config.blocks.part_size, config.blocks.memory_limit
    where = {
        setting.name: by_name[setting.name].where if setting.name in by_name else setting.flag
        for setting in OPTION_TABLE
    }
    bounds = (
        (
            PART_MIN <= part <= PART_MAX,
            "part-size",
            f"it must be {show_size(PART_MIN)} to {show_size(PART_MAX)}",
        ),
        (
            memory >= 2 * part,
            "memory-limit",
            f"{show_size(memory)} holds less than two parts: give it {show_size(2 * part)} or more, or a smaller --part-size",
        ),
        (
            1 <= config.store.max_connections <= CONNECTIONS_MAX,
            "max-connections",
            f"it must be 1 to {CONNECTIONS_MAX}",
        ),
        (config.store.timeout > 0, "timeout", "it must be more than 0"),
        (config.tree.metadata_limit > 0, "metadata-limit", "it must be more than 0"),
        (
            not (config.store.path_style and config.store.bucket.startswith("arn:")),
            "path-style",
            "an access point cannot be named in a path",
        ),
    )
    for holds, name, demand in bounds:
        if not holds:
            raise UsageError(f"{where[name]}: {demand}")

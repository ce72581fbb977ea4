"""Compared mounts: each a command in the foreground, with equal metadata lifetimes and defaults.

Knows how each is configured, never what is done with it.
"""

import shlex
import sys
from collections.abc import Callable

from benchmarks.servers import ACCESS_KEY, REGION, SECRET_KEY
from benchmarks.system import System, Target


def _s3mount(*options: str) -> Callable[[Target], list[str]]:
    def arguments(to: Target) -> list[str]:
        where = [
            to.bucket,
            str(to.mountpoint),
            "--endpoint-url",
            to.url,
            "--path-style",
            "--foreground",
        ]
        return [*where, "--metadata-ttl", str(to.ttl), *options]

    return arguments


def _rclone(*options: str) -> Callable[[Target], list[str]]:
    def arguments(to: Target) -> list[str]:
        store = [
            "--s3-provider",
            "Other",
            "--s3-env-auth",
            "--s3-endpoint",
            to.url,
            "--s3-region",
            REGION,
        ]
        # --use-server-modtime: without it each file costs a HEAD, which no other mount sends
        lifetimes = [
            "--dir-cache-time",
            f"{to.ttl}s",
            "--attr-timeout",
            f"{to.ttl}s",
            "--use-server-modtime",
        ]
        return [
            "mount",
            f":s3:{to.bucket}",
            str(to.mountpoint),
            "--read-only",
            *store,
            *lifetimes,
            *options,
        ]

    return arguments


def _s3fs(to: Target) -> list[str]:
    password = to.scratch / "s3fs-password"
    password.touch(mode=0o600)
    password.write_text(f"{ACCESS_KEY}:{SECRET_KEY}\n")
    options = (
        f"ro,url={to.url},use_path_request_style,passwd_file={password},"
        f"stat_cache_expire={to.ttl},retries=3"
    )
    return [to.bucket, str(to.mountpoint), "-f", "-o", options]


def _mount_s3(to: Target) -> list[str]:
    store = ["--read-only", "--endpoint-url", to.url, "--force-path-style", "--region", REGION]
    return [to.bucket, str(to.mountpoint), "-f", *store, "--metadata-ttl", str(to.ttl)]


def _goofys(*options: str) -> Callable[[Target], list[str]]:
    def arguments(to: Target) -> list[str]:
        lifetimes = ["--stat-cache-ttl", f"{to.ttl}s", *options]
        return [
            "-f",
            "-o",
            "ro",
            "--endpoint",
            to.url,
            "--region",
            REGION,
            *lifetimes,
            to.bucket,
            str(to.mountpoint),
        ]

    return arguments


def _on_disk(
    arguments: Callable[[Target], list[str]], options: Callable[[str], list[str]]
) -> Callable[[Target], list[str]]:
    """Return *arguments*, and the *options* of a disk cache in a directory."""
    return lambda to: [*options(str(to.cache)), *arguments(to)]


def _on_disk_last(
    arguments: Callable[[Target], list[str]], options: Callable[[str], list[str]]
) -> Callable[[Target], list[str]]:
    """Return the same, for a program that takes options behind its other arguments."""
    return lambda to: [*arguments(to), *options(str(to.cache))]


def _bare(to: Target) -> list[str]:
    return [to.bucket, str(to.mountpoint), "--endpoint-url", to.url]


_THIS = (sys.executable, "-m", "s3mount")
_SYSTEMS = (
    System("s3mount", _THIS, _s3mount()),
    System("s3mount-boto3", _THIS, _s3mount("--transport", "boto3")),
    System("rclone", ("rclone",), _rclone(), "version"),
    System(
        "rclone-16",
        ("rclone",),
        _rclone("--vfs-read-chunk-size=4M", "--vfs-read-chunk-streams=16"),
        "version",
    ),
    System("s3fs", ("s3fs",), _s3fs),
    System("mount-s3", ("mount-s3",), _mount_s3),
    System("goofys", ("goofys",), _goofys("--type-cache-ttl", "60s")),
    System("geesefs", ("geesefs",), _goofys("--list-type", "2")),
)
# the same with their disk caches, all of 4 GiB where that can be said
_DISK_SYSTEMS = (
    System(
        "s3mount-disk",
        _THIS,
        _on_disk(_s3mount(), lambda cache: [f"--cache-dir={cache}", "--cache-size=4GiB"]),
    ),
    System(
        "rclone-disk",
        ("rclone",),
        _on_disk_last(
            _rclone(),
            lambda cache: [
                f"--cache-dir={cache}",
                "--vfs-cache-mode=full",
                "--vfs-cache-max-size=4G",
            ],
        ),
        "version",
    ),
    System(
        "s3fs-disk", ("s3fs",), _on_disk_last(_s3fs, lambda cache: ["-o", f"use_cache={cache}"])
    ),
    System(
        "geesefs-disk",
        ("geesefs",),
        _on_disk(_goofys("--list-type", "2"), lambda cache: [f"--cache={cache}"]),
    ),
)


def systems(floor: str | None) -> dict[str, System]:
    """Return every system by its name; *floor* is the command of a bare mount."""
    known = {system.name: system for system in (*_SYSTEMS, *_DISK_SYSTEMS)}
    return (
        known
        if floor is None
        else known | {"floor": System("floor", tuple(shlex.split(floor)), _bare)}
    )


LOCAL_MOUNT = System(
    "local mount",
    (sys.executable, "-m", "benchmarks.local_mount"),
    lambda to: [str(to.scratch / "local"), str(to.mountpoint)],
)

"""Configuration of one mount: a frozen Config, built by `cli/` and read by the rest.

Knows values only, not where they came from (flag, TOML file, default).
"""

import math
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from s3mount.frozen_dataclass import dataclass

MIB = 1 << 20
GIB = 1 << 30
AddressingStyle = Literal["auto", "path", "virtual"]
LogLevel = Literal["debug", "info", "warning", "error"]
INDEFINITE = math.inf  # a TTL that never expires


class Prefetch(StrEnum):
    """Kinds of request that are sent before a reader needs them; `--no-prefetch` turns each off."""

    WALKS = "walks"  # scans of subtrees
    SIBLINGS = "siblings"  # files that are opened in order: small ones, and where large ones begin
    RANDOM_ORDER = "random-order"  # small files that are opened once each, at random
    LISTINGS = "listings"  # listings of directories in which lookups miss; pages ahead of a reader
    PARALLEL_LISTING = "parallel-listing"  # of a huge flat directory, from guessed names on
    READAHEAD = "readahead"  # blocks ahead of a sequential reader; without it, more requests in all


class EndpointVariant(StrEnum):
    """Variants of AWS's endpoints, which have hosts of their own."""

    DUALSTACK = "dualstack"  # IPv6 beside IPv4
    FIPS = "fips"  # with validated cryptography
    ACCELERATE = "accelerate"  # by the nearest edge location


class Symlinks(StrEnum):
    """Programs whose symbolic links are shown as such; see docs/posix-metadata.md."""

    RCLONE = "rclone"
    S3FS = "s3fs"
    GCSFUSE = "gcsfuse"
    GEESEFS = "geesefs"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Access to the bucket, or to all buckets of the account. None leaves it to boto3's chain."""

    bucket: str  # "": every bucket of the account that *buckets* chooses
    prefix: str = ""  # "" or ends with "/"
    buckets: tuple[str, ...] = ()  # names and patterns of buckets; none chooses all
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    sign_requests: bool = True
    addressing_style: AddressingStyle = "auto"
    path_style: bool = False  # short for addressing_style="path"
    endpoint_variants: frozenset[EndpointVariant] = frozenset()
    follow_redirects: bool = False
    list_version: Literal["auto", "1", "2"] = "auto"
    fetch_owner: bool = False  # whether listings tell the owners of objects
    list_page_size: int = 1000  # rows
    requester_pays: bool = False
    expected_bucket_owner: str | None = None
    sse_c_key_files: tuple[Path, ...] = ()
    sse_c_allow_http: bool = False
    ca_bundle: Path | None = None
    verify_ssl: bool = True
    max_connections: int = 96
    timeout: float = 60.0  # seconds, for one read or lookup in all
    connect_timeout: float | None = None  # seconds; None: a default that depends on *timeout*
    idle_timeout: float | None = None  # seconds; None: half of *timeout*
    start_timeout: float = 15.0  # seconds in which a mount that starts retries what may pass
    transport: Literal["native", "boto3"] = "native"
    verify_checksums: bool = True
    versions: bool = False  # versions are files in a directory beside their objects
    at_ns: int | None = None  # since 1970: show the bucket as it was then
    show_hidden: bool = False  # keys that no path names: under escaped names
    posix_metadata: bool = False
    symlinks: frozenset[Symlinks] = frozenset()  # needs *posix_metadata*

    @property
    def is_account(self) -> bool:
        """Whether it is every bucket of the account, as top directories."""
        return not self.bucket

    @property
    def style(self) -> AddressingStyle:
        """Where URLs name the bucket; auto leaves the choice to boto3's chain."""
        return "path" if self.path_style else self.addressing_style


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeConfig:
    """Attributes of files, and the TTLs of metadata in seconds."""

    uid: int
    gid: int
    dir_mode: int = 0o555
    file_mode: int = 0o444
    # permission bits that no file and directory, no file, no directory has, whatever its mode
    umask: int = 0
    fmask: int = 0
    dmask: int = 0
    metadata_ttl: float = 60.0
    negative_ttl: float | None = None  # None: as metadata_ttl
    stale_while_revalidate: float = 0.0
    serve_stale: float = 0.0  # of expired metadata, while the store cannot be reached
    metadata_limit: int = 256 * MIB  # bytes, over all directories
    has_xattrs: bool = False  # whether files have extended attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockConfig:
    """Sizes of fetches and of the block cache, in bytes."""

    part_size: int = 8 * MIB
    memory_limit: int = 256 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskConfig:
    """Directory of the disk cache, and its limits in bytes."""

    folder: Path  # absolute
    size: int = 10 * GIB
    free_space: int = GIB  # of its file system, which the cache leaves to others


@dataclass(frozen=True, slots=True, kw_only=True)
class MountConfig:
    """Mount point, users and FUSE options."""

    mountpoint: str  # absolute, or /dev/fd/N: a FUSE descriptor that a parent has mounted
    source: str = ""  # the bucket and prefix as they were written, for the mount table
    allow_other: bool = False
    allow_root: bool = False
    run_as: str | None = None
    has_control: bool = True  # whether it listens on a control socket
    fuse_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceConfig:
    """Prices of the store, in a currency of the user's: for 1,000 requests, and for a GiB.

    The defaults are `bill.LIST_PRICES`.
    """

    get_per_1000: float = 0.0004
    list_per_1000: float = 0.005
    transfer_per_gb: float = 0.09


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """Level, destination and format of the log."""

    level: LogLevel = "info"
    file: Path | None = None
    format: Literal["text", "json"] = "text"


@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """Address of the metrics: *host*, an IP address, and *port*; or the *path* of a Unix socket."""

    host: str = ""
    port: int = 0  # 0: one that is free, which the log names
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration of one mount."""

    store: StoreConfig
    tree: TreeConfig
    mount: MountConfig
    blocks: BlockConfig = field(default_factory=BlockConfig)
    disk: DiskConfig | None = None  # None: blocks are in memory only
    prices: PriceConfig = field(default_factory=PriceConfig)
    log: LogConfig = field(default_factory=LogConfig)
    metrics: MetricsAddress | None = None
    foreground: bool = False
    no_prefetch: frozenset[Prefetch] = frozenset()

"""The table of options: one row for each thing that a user can configure.

Flags, keys of a configuration file, `-o` options, `--help` and docs/options.md are derived from
it, and defaults from `s3mount.config`. To change an option, change its row here or its default
there.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import Final

from s3mount.cli.option_types import (
    ACCOUNT,
    ADDRESSING,
    BUCKETS,
    COUNT,
    DURATION,
    EXISTING_FILE,
    FLAG,
    FOLDER,
    FORMAT,
    GROUP,
    KEY_FILES,
    LEVEL,
    LIFETIME,
    LIST_VERSION,
    MASK,
    METRICS,
    MODE,
    MOMENT,
    OPTIONS,
    PATH,
    PREFETCH,
    PRICE,
    PROFILE,
    REGION,
    SIZE,
    SYMLINKS,
    TRANSPORT,
    URL,
    USER,
    USER_NAME,
    VARIANTS,
    OptionType,
)
from s3mount.config import (
    BlockConfig,
    Config,
    DiskConfig,
    LogConfig,
    MountConfig,
    PriceConfig,
    StoreConfig,
    TreeConfig,
)
from s3mount.frozen_dataclass import dataclass

Section = type[
    StoreConfig
    | TreeConfig
    | BlockConfig
    | DiskConfig
    | MountConfig
    | PriceConfig
    | LogConfig
    | Config
]


@dataclass(frozen=True, slots=True)
class Option:
    """One row: its name on the command line, and the field of *section* that it sets.

    Configuration files accept underscores in names as well. *inverts*: the flag means the opposite
    of its field. *short* is a one-letter flag. *default* is shown instead of the field's own
    default.
    """

    group: str
    name: str
    section: Section
    field: str
    type: OptionType
    help: str
    short: str | None = None
    inverts: bool = False
    default: str | None = None

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def key(self) -> str:
        """The name with underscores, as in mount options and in Python."""
        return self.name.replace("-", "_")

    @property
    def is_flag(self) -> bool:
        return self.type is FLAG

    def default_shown(self) -> str | None:
        """Return the default as a user would write it; None if there is none to show."""
        if self.default is not None or self.is_flag:
            return self.default
        value = next(field.default for field in fields(self.section) if field.name == self.field)
        return None if value in (None, MISSING, (), frozenset()) else self.type.show(value)


_STORE: Final = "Access to the bucket"
_MOUNT: Final = "The mount"
_TREE: Final = "Files and metadata"
_BYTES: Final = "Reading"
_DISK: Final = "Cache on disk"
_PRICES: Final = "Prices, for the bill in the status"
_LOG: Final = "Process and log"

# fmt: off
OPTION_TABLE: Final[tuple[Option, ...]] = (
    Option(_STORE, "endpoint-url", StoreConfig, "endpoint_url", URL,
           "URL of the S3 API, unless it is at AWS."),
    Option(_STORE, "buckets", StoreConfig, "buckets", BUCKETS,
           "Buckets that a mount of s3:// shows: names, and patterns as in data-*; may repeat. "
           "Names alone need no permission to list the buckets."),
    Option(_STORE, "region", StoreConfig, "region", REGION,
           "Region of the bucket.", default="found by a request to the bucket"),
    Option(_STORE, "profile", StoreConfig, "profile", PROFILE,
           "Profile of ~/.aws/config to take credentials from."),
    Option(_STORE, "no-sign-request", StoreConfig, "sign_requests", FLAG,
           "Send requests without credentials: for public buckets.", inverts=True),
    Option(_STORE, "addressing-style", StoreConfig, "addressing_style", ADDRESSING,
           "Where URLs name the bucket: path, or virtual: in the host, as some stores demand. "
           "auto: as the profile says, else in the host at AWS, and in the path elsewhere."),
    Option(_STORE, "path-style", StoreConfig, "path_style", FLAG,
           "Short for --addressing-style path."),
    Option(_STORE, "endpoint-variant", StoreConfig, "endpoint_variants", VARIANTS,
           "Use AWS's endpoints with IPv6 (dualstack), with validated cryptography (fips), or at "
           "the edge (accelerate). May be repeated.",
           default="as AWS_USE_DUALSTACK_ENDPOINT, AWS_USE_FIPS_ENDPOINT or the profile says"),
    Option(_STORE, "follow-redirects", StoreConfig, "follow_redirects", FLAG,
           "Follow redirects of the store to other hosts, up to 3, without a signature. "
           "A store could aim the mount at any of them."),
    Option(_STORE, "list-version", StoreConfig, "list_version", LIST_VERSION,
           "Version of the listing API: 1 for stores that page by marker, 2, or as found out."),
    Option(_STORE, "fetch-owner", StoreConfig, "fetch_owner", FLAG,
           "Request the owner of each object with listings: an attribute, see docs/attributes.md."),
    Option(_STORE, "list-page-size", StoreConfig, "list_page_size", COUNT,
           "Names that a listing requests at once: fewer for stores that refuse so many, up to "
           "10000 for stores that send more."),
    Option(_STORE, "requester-pays", StoreConfig, "requester_pays", FLAG,
           "Agree to pay for the requests, as requester-pays buckets demand."),
    Option(_STORE, "expected-bucket-owner", StoreConfig, "expected_bucket_owner", ACCOUNT,
           "Number of the account that must own the bucket; fail if another does."),
    Option(_STORE, "sse-c-key-file", StoreConfig, "sse_c_key_files", KEY_FILES,
           "Key of objects that are encrypted with a customer key (SSE-C): 32 bytes or base64 of "
           "them, of mode 0600. May be repeated. It goes over HTTPS only; see docs/sse-c.md."),
    Option(_STORE, "sse-c-allow-http", StoreConfig, "sse_c_allow_http", FLAG,
           "Send the keys of --sse-c-key-file over plain HTTP, to loopback addresses only: for "
           "tests."),
    Option(_STORE, "ca-bundle", StoreConfig, "ca_bundle", EXISTING_FILE,
           "Certificates (PEM) to trust instead of the system's."),
    Option(_STORE, "no-verify-ssl", StoreConfig, "verify_ssl", FLAG,
           "Do not verify the server's certificate. Anyone in between can read and change data.",
           inverts=True),
    Option(_STORE, "max-connections", StoreConfig, "max_connections", COUNT,
           "Maximum number of requests at the same time."),
    Option(_STORE, "timeout", StoreConfig, "timeout", DURATION,
           "Time limit of a single read or lookup, retries included."),
    Option(_STORE, "connect-timeout", StoreConfig, "connect_timeout", DURATION,
           "Time limit of a name look-up and of a TCP connection; the request is then retried.",
           default="10, and at most half of --timeout"),
    Option(_STORE, "idle-timeout", StoreConfig, "idle_timeout", DURATION,
           "How long a response may be silent before the request is sent again. "
           "The header of a response must be complete by then.",
           default="half of --timeout"),
    Option(_STORE, "start-timeout", StoreConfig, "start_timeout", DURATION,
           "How long a mount that starts retries failures that may pass (no network yet, 503). "
           "A request that is in flight then may take its --timeout."),
    Option(_STORE, "transport", StoreConfig, "transport", TRANSPORT,
           "What sends requests: s3mount itself if it can, or always boto3."),
    Option(_MOUNT, "allow-other", MountConfig, "allow_other", FLAG,
           "Let all users access the mount, not only the one who mounts."),
    Option(_MOUNT, "allow-root", MountConfig, "allow_root", FLAG,
           "Let root access the mount, too."),
    Option(_MOUNT, "run-as", MountConfig, "run_as", USER_NAME,
           "Mount as root, then serve as USER, with USER's credentials and without capabilities."),
    Option(_MOUNT, "no-control", MountConfig, "has_control", FLAG,
           "Make no control socket: s3mountctl does not find the mount.", inverts=True),
    Option(_MOUNT, "fuse-options", MountConfig, "fuse_options", OPTIONS,
           "Options as in fstab: noexec, fsname=NAME, auto_unmount, or any of these; may repeat.",
           short="o"),
    Option(_TREE, "uid", TreeConfig, "uid", USER,
           "Owner of all files.", default="the user who mounts, or that of --run-as"),
    Option(_TREE, "gid", TreeConfig, "gid", GROUP,
           "Group of all files.", default="the group of that user"),
    Option(_TREE, "dir-mode", TreeConfig, "dir_mode", MODE,
           "Permission bits of directories, in octal.", default="0555, with --allow-root 0500"),
    Option(_TREE, "file-mode", TreeConfig, "file_mode", MODE,
           "Permission bits of files, in octal.", default="0444, with --allow-root 0400"),
    Option(_TREE, "umask", TreeConfig, "umask", MASK,
           "Permission bits to take from all modes, in octal, as in 0027."),
    Option(_TREE, "fmask", TreeConfig, "fmask", MASK,
           "Permission bits to take from the mode of files."),
    Option(_TREE, "dmask", TreeConfig, "dmask", MASK,
           "Permission bits to take from the mode of directories."),
    Option(_TREE, "posix-metadata", StoreConfig, "posix_metadata", FLAG,
           "Show mode, owner, group and mtime of files as rclone, s3fs and others keep them in the "
           "metadata of objects, once a response has brought it; see docs/posix-metadata.md."),
    Option(_TREE, "symlinks", StoreConfig, "symlinks", SYMLINKS,
           "Show symbolic links as these programs keep them: rclone (NAME.rclonelink), s3fs, "
           "gcsfuse, geesefs. All but rclone take a HEAD for each small file that is looked at; "
           "needs --posix-metadata. May be repeated."),
    Option(_TREE, "metadata-ttl", TreeConfig, "metadata_ttl", LIFETIME,
           "How long listings and attributes are cached. "
           '0: each open revalidates; "indefinite": they never expire.',
           default="60, with --at indefinite"),
    Option(_TREE, "negative-ttl", TreeConfig, "negative_ttl", LIFETIME,
           "How long it is cached that a name does not exist.", default="as --metadata-ttl"),
    Option(_TREE, "stale-while-revalidate", TreeConfig, "stale_while_revalidate", DURATION,
           "Serve a listing that expired less than this ago, while it is renewed; 0 is off."),
    Option(_TREE, "metadata-limit", TreeConfig, "metadata_limit", SIZE,
           "Memory for names and attributes, over all directories; a file takes some 200 bytes. "
           "Larger directories are listed again."),
    Option(_TREE, "at", StoreConfig, "at_ns", MOMENT,
           "Show the bucket as it was at TIME, deleted objects included; it must keep versions. "
           "TIME is 2026-11-26T14:00:00Z, 2026-11-26 14:00 (local time), yesterday 14:00, "
           "2 days ago, or now."),
    Option(_TREE, "versions", StoreConfig, "versions", FLAG,
           "Show the versions of NAME as .versions/NAME@ID beside it, deleted objects' too; "
           "the directory .versions is not listed."),
    Option(_TREE, "show-hidden", StoreConfig, "show_hidden", FLAG,
           "Show each key that no path can name, under a name that begins with %file=, %dir= or "
           "%long=; see docs/semantics.md."),
    Option(_TREE, "xattrs", TreeConfig, "has_xattrs", FLAG,
           "Show what S3 knows of an object as extended attributes (user.s3.etag and others, see "
           "docs/attributes.md). What a listing does not tell takes a HEAD for each file."),
    Option(_BYTES, "part-size", BlockConfig, "part_size", SIZE,
           "Size of one request of a sequential read."),
    Option(_BYTES, "memory-limit", BlockConfig, "memory_limit", SIZE,
           "Memory for cached and prefetched bytes."),
    Option(_BYTES, "no-verify-checksums", StoreConfig, "verify_checksums", FLAG,
           "Do not check objects that are read whole by their checksums, nor by ETags that are "
           "MD5s.", inverts=True),
    Option(_BYTES, "no-prefetch", Config, "no_prefetch", PREFETCH,
           "Send no requests of these kinds before a reader needs them: walks, siblings, "
           "random-order, listings, parallel-listing, readahead (sequential reads then take more "
           "and smaller requests), or all. May be repeated."),
    Option(_DISK, "cache-dir", DiskConfig, "folder", FOLDER,
           "Keep what is read in this directory too, over restarts; several mounts may share it. "
           "It is made private (0700), for the user who serves; see docs/disk-cache.md."),
    Option(_DISK, "cache-size", DiskConfig, "size", SIZE,
           "Maximum size of the cache on disk. What was least recently used goes first."),
    Option(_DISK, "cache-free-space", DiskConfig, "free_space", SIZE,
           "Space of its file system that the cache leaves free; it shrinks to leave it."),
    Option(_DISK, "serve-stale", TreeConfig, "serve_stale", DURATION,
           "While the store cannot be reached, serve listings and files that are known and at "
           "most this old; 0 is off."),
    Option(_PRICES, "price-get-per-1000", PriceConfig, "get_per_1000", PRICE,
           "Price of 1,000 GET or HEAD requests."),
    Option(_PRICES, "price-list-per-1000", PriceConfig, "list_per_1000", PRICE,
           "Price of 1,000 LIST requests."),
    Option(_PRICES, "price-transfer-per-gb", PriceConfig, "transfer_per_gb", PRICE,
           "Price of a GiB that is transferred; 0 within a region of AWS. "
           "The defaults are AWS's list prices, see docs/bill.md."),
    Option(_LOG, "foreground", Config, "foreground", FLAG,
           "Stay in the foreground, and log to stderr.", short="f"),
    Option(_LOG, "log-level", LogConfig, "level", LEVEL,
           "Lowest level that is logged: debug, info, warning or error."),
    Option(_LOG, "log-file", LogConfig, "file", PATH,
           "File to append the log to.",
           default="stderr in the foreground, syslog in the background"),
    Option(_LOG, "log-format", LogConfig, "format", FORMAT, "Format of log lines."),
    Option(_LOG, "metrics", Config, "metrics", METRICS,
           "Serve metrics for Prometheus at PORT on the loopback interface, at ADDRESS:PORT, or at "
           "unix:PATH; see docs/metrics.md."),
)
# fmt: on

BY_NAME: Final[Mapping[str, Option]] = MappingProxyType(
    {option.name: option for option in OPTION_TABLE}
)


def canonical(name: str) -> str:
    """Return the name as in the table: keys may have underscores, and `o` is fuse-options."""
    return "fuse-options" if name == "o" else name.replace("_", "-")

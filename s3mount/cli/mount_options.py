"""Parser of `-o`, as in fstab and mount(8): FUSE's options, and s3mount's own by name. Pure.

Every word is parsed, or ignored because it is for another program or changes nothing here, or
named in a `UsageError`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from s3mount.cli.option_value import OptionValue, parse_value, refuse_secret
from s3mount.cli.options import BY_NAME, canonical
from s3mount.cli.words import has_control_characters, suggestion
from s3mount.config import EndpointVariant, Prefetch, Symlinks
from s3mount.daemon.mounting.options import PLAIN_OPTIONS, VALUED_OPTIONS
from s3mount.errors import UsageError

# For mount(8), systemd and the kernel; without meaning on a read-only network mount. mount(8)
# writes rw by default, so it cannot be told from a wish: writing fails with EROFS.
_IGNORED: Final = frozenset(
    [
        "auto",
        "noauto",
        "user",
        "nouser",
        "users",
        "owner",
        "noowner",
        "group",
        "nogroup",
        "nofail",
        "_netdev",
        "defaults",
        "rw",
        "sync",
        "async",
        "dirsync",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "lazytime",
        "nolazytime",
        "silent",
        "loud",
        "iversion",
        "noiversion",
        "mand",
        "nomand",
        "seclabel",  # as the mount table shows it
        "netdev",
        "netmount",
    ]
)
# Of libfuse 2 and 3: how a mount caches, reads, locks and numbers files. Each is so here already,
# or makes no difference to a reader. Mounting over a directory with files is always permitted.
_IGNORED_OF_FUSE: Final = frozenset(
    [
        "nonempty",
        "big_writes",
        "large_read",
        "kernel_cache",
        "auto_cache",
        "noauto_cache",
        "direct_io",
        "async_read",
        "sync_read",
        "async_dio",
        "atomic_o_trunc",
        "hard_remove",
        "use_ino",
        "readdir_ino",
        "nopath",
        "intr",
        "no_remote_lock",
        "no_remote_flock",
        "no_remote_posix_lock",
        "splice_read",
        "splice_write",
        "splice_move",
        "no_splice_read",
        "no_splice_write",
        "no_splice_move",
        "clone_fd",
        "read_only",
        "read-only",
    ]
)
_IGNORED_WITH_VALUE: Final = re.compile(
    r"(?:(?:x-|X-|comment=|user=|uhelper=|helper=).*"
    # attributes of an inode never change; the kernel's own figures; as the mount table shows them
    r"|(?:ac_)?attr_timeout=[\d.]+|(?:max_write|max_readahead|max_background|max_idle_threads|"
    r"congestion_threshold|blksize|user_id|group_id|rootmode|fd)=\d+)",
    re.DOTALL | re.ASCII,
)
# libfuse's names of s3mount's options
_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {"entry_timeout": "metadata-ttl", "negative_timeout": "negative-ttl"}
)
# what other programs that mount buckets call s3mount's options, for the error
# values that a comma splits off from the value before them
_SPLIT_OFF: Final = {
    "no_prefetch": (*Prefetch, "all"),
    "endpoint_variant": tuple(EndpointVariant),
    "symlinks": tuple(Symlinks),
}
_NEAR: Final[Mapping[str, str]] = MappingProxyType(
    {
        "url": "endpoint_url",
        "host": "endpoint_url",
        "endpoint": "endpoint_url",
        "use_path_request_style": "path_style",
        "force_path_style": "path_style",
        "use_path_style": "path_style",
        "public_bucket": "no_sign_request",
        "stat_cache_expire": "metadata_ttl",
        "stat_cache_ttl": "metadata_ttl",
        "type_cache_ttl": "metadata_ttl",
        "dir_cache_time": "metadata_ttl",
        "mp_umask": "umask",
        "debug": "log_level=debug",
        "dbglevel": "log_level=debug",
        "logfile": "log_file",
        "cache": "cache_dir",
        "use_cache": "cache_dir",
        "ensure_diskfree": "cache_free_space",
        "vfs_cache_max_size": "cache_size",
        "vfs_cache_min_free_space": "cache_free_space",
    }
)
_NOT_HERE: Final = frozenset({"foreground", "o", "fuse-options"})
_WORD: Final = re.compile(r'([^,="\\]+=)"([^"]*)"(?=,|\Z)|((?:\\.|[^,\\])+)', re.DOTALL)


def parse_mount_options(text: str, where: str) -> Iterable[OptionValue]:
    """Yield the values in *text*, the argument of `-o`. UsageErrors name *where*."""
    for word in _split(text):
        name, has_value, value = word.partition("=")
        if word in _IGNORED or word in _IGNORED_OF_FUSE or _IGNORED_WITH_VALUE.fullmatch(word):
            continue
        refuse_secret(where, name)
        option = _ALIASES.get(name, canonical(name))
        if word in PLAIN_OPTIONS or (name in VALUED_OPTIONS and value):
            checked = (_checked(where, name, word),)
            yield OptionValue(f"{where} {name}", BY_NAME["fuse-options"], checked)
        elif option in BY_NAME and option not in _NOT_HERE:
            raw = value if has_value else _flag_set(where, option)
            yield parse_value(f"{where} {name}", BY_NAME[option], raw)
        else:
            raise UsageError(_unknown(where, name, has_value=bool(has_value)))


def _split(text: str) -> Iterator[str]:
    r"""Split at commas; `\,` is a comma within a value, and so is one in `name="a,b"`.

    Dashes before a name, as on a command line, are dropped.
    """
    for name, quoted, plain in _WORD.findall(text):
        word = name + quoted if name else re.sub(r"\\([\\,])", r"\1", plain)
        if word := word.lstrip("-"):
            yield word


def _flag_set(where: str, name: str) -> bool:
    """Return the value of a flag without one. Raises UsageError for other options."""
    option = BY_NAME[name]
    if not option.is_flag:
        metavar = option.type.metavar.partition("[")[0]  # a comma would end the word
        raise UsageError(f"{where} {option.key}: it needs a value, as in {option.key}={metavar}")
    return True


def _checked(where: str, name: str, word: str) -> str:
    if name == "max_read" and not re.fullmatch(r"max_read=\d{4,9}", word, re.ASCII):
        raise UsageError(f"{where} max_read: write a number of bytes, as in max_read=131072")
    if name == "subtype" and not re.fullmatch(r"subtype=[\w.-]{1,64}", word, re.ASCII):
        raise UsageError(
            f"{where} subtype: write letters, digits, dots and dashes, as in subtype=s3mount"
        )
    if has_control_characters(word):
        raise UsageError(f"{where} {name}: it contains control characters")
    return word


def _unknown(where: str, name: str, *, has_value: bool) -> str:
    if name == "remount":
        return f"{where} remount: a mount cannot be changed; unmount it and mount again"
    if name in PLAIN_OPTIONS | VALUED_OPTIONS:
        return f"{where} {name}: {'it takes no value' if has_value else 'it needs a value'}"
    for option, words in _SPLIT_OFF.items():
        if name in words:
            return f"{where} {name!r}: there is no such option; for several, repeat {option}=NAME"
    if name in _NEAR:
        return f"{where} {name!r}: there is no such option; did you mean {_NEAR[name]}?"
    if name == "iam_role":
        return f"{where} iam_role: leave it out: the machine's role is found without an option"
    known = {*PLAIN_OPTIONS, *VALUED_OPTIONS, *_IGNORED, *_IGNORED_OF_FUSE}
    known |= set(BY_NAME) - _NOT_HERE
    names = {other.replace("-", "_") for other in known}
    return f"{where} {name!r}: there is no such option{suggestion(name.replace('-', '_'), names)}"

"""Parser of `-o`, as in fstab and mount(8): FUSE's options, and s3mount's own by name. Pure.

Every word is parsed, or ignored because it is for another program, or named in a `UsageError`.
"""

import re
from collections.abc import Iterable
from typing import Final

from s3mount.cli.option_value import OptionValue, parse_value, refuse_secret
from s3mount.cli.options import BY_NAME, canonical
from s3mount.cli.values import has_control_characters, suggestion
from s3mount.config import Prefetch
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
    ]
)
_IGNORED_WITH_VALUE: Final = re.compile(r"(?:x-|X-|comment=|user=|uhelper=|helper=).*", re.DOTALL)
_NOT_HERE: Final = frozenset({"foreground", "o", "fuse-options"})


def parse_mount_options(text: str, where: str) -> Iterable[OptionValue]:
    """Yield the values in *text*, the argument of `-o`. UsageErrors name *where*."""
    for word in _split(text):
        name, has_value, value = word.partition("=")
        if word in _IGNORED or _IGNORED_WITH_VALUE.fullmatch(word) or not word:
            continue
        refuse_secret(where, name)
        option = canonical(name)
        if word in PLAIN_OPTIONS or (name in VALUED_OPTIONS and value):
            checked = (_checked(where, name, word),)
            yield OptionValue(f"{where} {name}", BY_NAME["fuse-options"], checked)
        elif option in BY_NAME and option not in _NOT_HERE:
            raw = value if has_value else _flag_set(where, option)
            yield parse_value(f"{where} {name}", BY_NAME[option], raw)
        else:
            raise UsageError(_unknown(where, name, has_value=bool(has_value)))


def _split(text: str) -> list[str]:
    r"""Split at commas; `\,` is a comma within a value."""
    return [
        re.sub(r"\\([\\,])", r"\1", part)
        for part in re.findall(r"(?:\\.|[^,\\])+", text, re.DOTALL)
    ]


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
    if name in (*Prefetch, "all"):  # split off from no_prefetch=NAME,NAME
        return (
            f"{where} {name!r}: there is no such option; for several kinds, repeat no_prefetch=NAME"
        )
    known = {*PLAIN_OPTIONS, *VALUED_OPTIONS, *_IGNORED, *(set(BY_NAME) - _NOT_HERE)}
    names = {other.replace("-", "_") for other in known}
    return f"{where} {name!r}: there is no such option{suggestion(name.replace('-', '_'), names)}"

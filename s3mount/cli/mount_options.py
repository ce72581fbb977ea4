"""`-o`, as in fstab and mount(8): FUSE's options, s3mount's own by name, and words that are for others.

Pure. Every word is either understood, or dropped knowingly, or named in a `UsageError`.
"""

import re
from collections.abc import Iterable
from typing import Final

from s3mount.cli.option_value import OptionValue, refuse_secret, spelled
from s3mount.cli.options import BY_NAME, canonical
from s3mount.cli.values import has_control_characters, suggestion
from s3mount.daemon.mounting.options import PLAIN_OPTIONS, VALUED_OPTIONS
from s3mount.errors import UsageError

# For mount(8), systemd and the kernel's bookkeeping; without meaning on a read-only network mount. rw is what mount(8) writes
# where nothing is said, so it cannot be told from a wish: writing answers EROFS.
# fmt: off
_FOR_OTHERS: Final = frozenset({
    "auto", "noauto", "user", "nouser", "users", "owner", "noowner", "group", "nogroup", "nofail", "_netdev", "defaults", "rw",
    "sync", "async", "dirsync", "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime",
    "nostrictatime", "lazytime", "nolazytime", "silent", "loud",
})
# fmt: on
_FOR_OTHERS_WITH_VALUE: Final = re.compile(
    r"(?:x-|X-|comment=|user=|uhelper=|helper=).*", re.DOTALL
)
_NOT_HERE: Final = frozenset({"foreground", "o", "fuse-options"})


def parse_mount_options(text: str, where: str) -> Iterable[OptionValue]:
    """The settings that *text*, as after `-o`, spells; *where* is named in the UsageErrors."""
    for option in _split(text):
        name, has_value, value = option.partition("=")
        if option in _FOR_OTHERS or _FOR_OTHERS_WITH_VALUE.fullmatch(option) or not option:
            continue
        refuse_secret(where, name)
        setting = canonical(name)
        if option in PLAIN_OPTIONS or (name in VALUED_OPTIONS and value):
            yield OptionValue(
                f"{where} {name}", BY_NAME["fuse-options"], (_checked(where, name, option),)
            )
        elif setting in BY_NAME and setting not in _NOT_HERE:
            yield spelled(
                f"{where} {name}", BY_NAME[setting], value if has_value else _bare(where, setting)
            )
        else:
            raise UsageError(_unknown(where, name, has_value=bool(has_value)))


def _split(text: str) -> list[str]:
    r"""At commas; `\,` is a comma within a value."""
    return [
        re.sub(r"\\([\\,])", r"\1", part)
        for part in re.findall(r"(?:\\.|[^,\\])+", text, re.DOTALL)
    ]


def _bare(where: str, name: str) -> bool:
    """What a name without a value says: a flag is set."""
    setting = BY_NAME[name]
    if not setting.is_flag:
        raise UsageError(
            f"{where} {setting.key}: it needs a value, as in {setting.key}={setting.kind.metavar}"
        )
    return True


def _checked(where: str, name: str, option: str) -> str:
    if name == "max_read" and not re.fullmatch(r"max_read=\d{4,9}", option, re.ASCII):
        raise UsageError(f"{where} max_read: write a number of bytes, as in max_read=131072")
    if name == "subtype" and not re.fullmatch(r"subtype=[\w.-]{1,64}", option, re.ASCII):
        raise UsageError(
            f"{where} subtype: write letters, digits, dots and dashes, as in subtype=s3mount"
        )
    if has_control_characters(option):
        raise UsageError(f"{where} {name}: it has control characters in it")
    return option


def _unknown(where: str, name: str, *, has_value: bool) -> str:
    if name == "remount":
        return f"{where} remount: a mount cannot be changed while it stands; unmount it and mount again"
    if name in PLAIN_OPTIONS | VALUED_OPTIONS:
        return f"{where} {name}: {'it takes no value' if has_value else 'it needs a value'}"
    known = {*PLAIN_OPTIONS, *VALUED_OPTIONS, *_FOR_OTHERS, *(set(BY_NAME) - _NOT_HERE)}
    names = {other.replace("-", "_") for other in known}
    return f"{where} {name!r}: there is no such option{suggestion(name.replace('-', '_'), names)}"

"""Mount options for the kernel and for fusermount3. Pure: mounts nothing."""

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from s3mount.config import MountConfig
from s3mount.frozen_dataclass import dataclass

# <linux/mount.h>, where MOUNT_ATTR_* have the same values
MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8

_SET: Final[Mapping[str, int]] = MappingProxyType(
    {"ro": MS_RDONLY, "nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC}
)
# a bucket has no devices and no set-user-id files: mount(8) and mount.fuse3 add `dev,suid` unasked.
# It has no links either, but with --symlinks, which nosymfollow contradicts.
_WITHOUT_EFFECT: Final = ("suid", "dev", "default_permissions", "symfollow", "nosymfollow")
PLAIN_OPTIONS: Final = frozenset({*_SET, "exec", "auto_unmount", *_WITHOUT_EFFECT})
# of SELinux, see "FILESYSTEM-INDEPENDENT MOUNT OPTIONS" of mount(8)
CONTEXTS: Final = ("context", "fscontext", "defcontext", "rootcontext")
VALUED_OPTIONS: Final = frozenset({"fsname", "subtype", "max_read", *CONTEXTS})
_VALUE_MAX: Final = 255  # bytes that fsconfig(2) takes of a string; a prefix may have 1,024


@dataclass(frozen=True, slots=True)
class MountRequest:
    """The arguments of mount(2), less the descriptor and the owner.

    *contexts* are SELinux's, by name. *is_auto_unmounted*: the mount is removed when its server
    dies, for whatever reason.
    """

    mountpoint: str
    source: str
    subtype: str = "s3mount"
    flags: int = MS_RDONLY | MS_NOSUID | MS_NODEV
    is_open_to_others: bool = False
    max_read: int | None = None
    is_auto_unmounted: bool = False
    contexts: tuple[tuple[str, str], ...] = ()

    @property
    def fstype(self) -> str:
        return f"fuse.{self.subtype}"

    def kernel_options(self, *, fuse_fd: int, uid: int, gid: int) -> dict[str, str | None]:
        """Return the options of fsconfig(2): names, read-only, and the data of mount(2) one by one.

        A long source is cut.
        """
        options: dict[str, str | None] = {
            "source": cut_source(self.source),
            "subtype": self.subtype,
            "ro": None,
            **dict(self.contexts),
        }
        for option in self.kernel_data(fuse_fd=fuse_fd, uid=uid, gid=gid).split(","):
            name, has_value, value = option.partition("=")
            options[name] = value if has_value else None
        return options

    def kernel_data(self, *, fuse_fd: int, uid: int, gid: int) -> str:
        """Return the data of mount(2), see fuse.rst of the kernel. rootmode: a directory."""
        return ",".join(
            (f"fd={fuse_fd},rootmode=40000,user_id={uid},group_id={gid}", *self._fuse_data())
        )

    def fusermount_options(self) -> str:
        """Return the -o of fusermount3, which adds the descriptor and the owner itself."""
        flags = [name for name, bit in _SET.items() if self.flags & bit]
        unmount = ["auto_unmount"] if self.is_auto_unmounted else []
        names = [f"fsname={_escaped(self.source)}", f"subtype={_escaped(self.subtype)}"]
        return ",".join([*flags, *self._fuse_data(), *unmount, *names])

    def _fuse_data(self) -> list[str]:
        """Return FUSE's options. The kernel checks modes, so that --file-mode holds for others."""
        others = ["allow_other"] if self.is_open_to_others else []
        return [
            "default_permissions",
            *others,
            *([f"max_read={self.max_read}"] if self.max_read else []),
        ]


def mount_request(config: MountConfig, source: str, *, has_selinux: bool = False) -> MountRequest:
    """Return the request for *config*; *source* is what `df` shows, unless fsname is given.

    Without SELinux, contexts are left out, as mount(8) does: the kernel would refuse them.
    """
    valued = dict(option.split("=", 1) for option in config.fuse_options if "=" in option)
    contexts = [(name, valued[name]) for name in CONTEXTS if has_selinux and name in valued]
    return MountRequest(
        mountpoint=config.mountpoint,
        source=valued.get("fsname", source),
        subtype=valued.get("subtype", "s3mount"),
        flags=_flags(config.fuse_options),
        # allow_root is allow_other to the kernel: libfuse then refuses all but root and the owner
        is_open_to_others=config.allow_other or config.allow_root,
        max_read=int(valued["max_read"]) if "max_read" in valued else None,
        is_auto_unmounted="auto_unmount" in config.fuse_options or config.run_as is not None,
        contexts=tuple(contexts),
    )


def cut_source(source: str) -> str:
    """Return *source* as the kernel has room for it."""
    return os.fsdecode(os.fsencode(source)[:_VALUE_MAX])


def is_same_source(request: MountRequest, shown: str) -> bool:
    """Whether *shown*, of the mount table, names what *request* mounts, in any spelling.

    A source that was cut names nothing for certain.
    """
    is_cut = cut_source(request.source) != request.source
    return not is_cut and _unspelled(shown) == _unspelled(request.source)


def session_options(config: MountConfig) -> set[str]:
    """Return the options of `pyfuse3.init`; the others went to the kernel with the mount."""
    return {"allow_root"} if config.allow_root else set()


def _unspelled(source: str) -> str:
    """One of the spellings `bucket/prefix`, `bucket/prefix/`, `s3://bucket/prefix`, for all."""
    return source.removeprefix("s3://").removesuffix("/")


def _flags(options: Sequence[str]) -> int:
    """The last of exec and noexec counts, as in fstab; the mount is always read-only."""
    last = next((option for option in reversed(options) if option in ("exec", "noexec")), "exec")
    return MS_RDONLY | MS_NOSUID | MS_NODEV | _SET.get(last, 0)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(",", "\\,")

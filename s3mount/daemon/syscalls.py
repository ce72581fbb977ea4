"""System calls that Python does not wrap: fsopen(2), umount2(2), prctl(2), capset(2) and others.

Knows how to call, never when. Failures are `OSError`s with the errno, as of Python's own calls.
"""

import ctypes
import os
import sys
from collections.abc import Collection, Mapping
from typing import Final

MNT_FORCE: Final = 1  # <sys/mount.h>
MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8

# <asm-generic/unistd.h>: newer calls have one number on all architectures but Alpha, and no name
# in older C libraries
_MOVE_MOUNT: Final = 429
_FSOPEN: Final = 430
_FSCONFIG: Final = 431
_FSMOUNT: Final = 432

# <linux/mount.h>
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_CMD_CREATE: Final = 6
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x04
_MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40

# <linux/stat.h>
_AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_DONT_SYNC: Final = 0x4000
_STATX_MNT_ID_UNIQUE: Final = 0x4000

# <linux/fs.h>
_RENAME_NOREPLACE: Final = 1

# <linux/capability.h>
CAP_DAC_READ_SEARCH: Final = 2
CAP_SETPCAP: Final = 8
CAP_SYS_ADMIN: Final = 21
_CAPABILITY_VERSION_3: Final = 0x20080522

# <linux/prctl.h>
_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NAME: Final = 15
_PR_SET_SECUREBITS: Final = 28
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_GET_NO_NEW_PRIVS: Final = 39
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_SECBITS_NOROOT_LOCKED: Final = 0b11  # <linux/securebits.h>

_libc: Final = ctypes.CDLL(None, use_errno=True)


def new_mount(fstype: str, options: Mapping[str, str | None], flags: int) -> int:
    """Return an O_PATH descriptor of a new mount, which ends with it unless `move_mount` follows.

    *options* are those of the file system, None for a flag; *flags* are MOUNT_ATTR_*.
    """
    context = _descriptor(_FSOPEN, os.fsencode(fstype), _FSOPEN_CLOEXEC)
    try:
        for key, value in options.items():
            _configure(context, key, value)
        _check(_libc.syscall(*_words(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, 0, 0, 0)))
        return _descriptor(_FSMOUNT, context, _FSMOUNT_CLOEXEC, flags)
    finally:
        os.close(context)


def move_mount(mount: int, directory: int) -> None:
    """Attach the *mount* of `new_mount` to *directory*, both descriptors: no path is looked up."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    empty = ctypes.c_char_p(b"")
    _check(
        _libc.syscall(*_words(_MOVE_MOUNT, mount), empty, *_words(directory), empty, *_words(flags))
    )


def unmount(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), target)


def unique_mount_id(descriptor: int) -> int | None:
    """Return the mount id that is never reused, unlike that of the mount table.

    None before Linux 6.8.
    """
    found = (ctypes.c_uint64 * 32)()  # struct statx: 256 bytes
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC  # without a call of the file system
    if _libc.statx(descriptor, b"", flags, _STATX_MNT_ID_UNIQUE, found) != 0:
        return None
    mask = found[0] & 0xFFFFFFFF if sys.byteorder == "little" else found[0] >> 32
    return found[18] if mask & _STATX_MNT_ID_UNIQUE else None


def rename_exclusive(folder: int, old: str, new: str) -> None:
    """Rename *old* to *new* in the directory *folder*. Raises FileExistsError, and OSError."""
    names = os.fsencode(old), os.fsencode(new)
    _check(_libc.renameat2(folder, names[0], folder, names[1], _RENAME_NOREPLACE), new)


def forbid_new_privileges() -> None:
    """No set-user-id program or file capability gives this process or its children privileges."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def has_new_privileges() -> bool:
    """Whether a program could still gain privileges."""
    return bool(_libc.prctl(_PR_GET_NO_NEW_PRIVS, *_words(0, 0, 0, 0)) != 1)


def forbid_root_capabilities() -> None:
    """No program gets capabilities by being root's; without effect unless CAP_SETPCAP is held."""
    if has_capability(CAP_SETPCAP):
        _prctl(_PR_SET_SECUREBITS, _SECBITS_NOROOT_LOCKED)


def forbid_dumps() -> None:
    """Only root can read this process's memory and /proc files, trace it, or get a core of it.

    The kernel resets this at each change of credentials, see fs.suid_dumpable: call it again after
    one.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def is_dumpable() -> bool:
    return bool(_libc.prctl(_PR_GET_DUMPABLE, *_words(0, 0, 0, 0)) != 0)


def name_process(name: str) -> None:
    """Set the name that ps(1) shows; 15 bytes of it."""
    buffer = ctypes.create_string_buffer(os.fsencode(name))
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer))


def capabilities(which: str = "CapEff") -> int:
    """Return one of the capability sets in /proc/self/status, with a bit for each capability."""
    with open("/proc/self/status", "rb") as status:  # noqa: PTH123 - a path of the kernel's
        line = next(line for line in status if line.startswith(which.encode() + b":"))
    return int(line.split()[1], 16)


def has_capability(capability: int) -> bool:
    return bool(capabilities() >> capability & 1)


def retain_capabilities(kept: Collection[int]) -> None:
    """Drop all capabilities of this thread but *kept*, in all of its sets."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    mask = sum(1 << capability for capability in kept) & capabilities("CapPrm")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    # twice effective, permitted, inheritable: for capabilities 0 to 31, and the others
    sets = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _check(_libc.capset(header, sets))


def bound_capabilities(kept: Collection[int]) -> None:
    """Limit the capabilities of programs to *kept*; without effect unless CAP_SETPCAP is held."""
    if not has_capability(CAP_SETPCAP):
        return
    for capability in range(64):  # until the first that this kernel does not have
        if _libc.prctl(_PR_CAPBSET_READ, *_words(capability, 0, 0, 0)) < 0:
            return
        if capability not in kept:
            _prctl(_PR_CAPBSET_DROP, capability)


def _configure(context: int, key: str, value: str | None) -> None:
    command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
    text = ctypes.c_char_p(None if value is None else os.fsencode(value))
    _check(
        _libc.syscall(
            *_words(_FSCONFIG, context, command), ctypes.c_char_p(key.encode()), text, *_words(0)
        )
    )


def _descriptor(number: int, *arguments: int | bytes) -> int:
    """Call a system call that returns a descriptor."""
    sent = [
        ctypes.c_char_p(each) if isinstance(each, bytes) else ctypes.c_ulong(each)
        for each in arguments
    ]
    result: int = _libc.syscall(*_words(number), *sent)
    _check(min(result, 0))
    return result


def _prctl(option: int, *arguments: int) -> None:
    _check(_libc.prctl(option, *_words(*arguments, *[0] * (4 - len(arguments)))))


def _words(*numbers: int) -> tuple[ctypes.c_ulong, ...]:
    """Convert for variadic calls, which read long words; ctypes would pass ints."""
    return tuple(ctypes.c_ulong(number) for number in numbers)


def _check(result: int, path: str | None = None) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)

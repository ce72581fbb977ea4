"""The few system calls that Python has no name for: mount(2), umount2(2), prctl(2), capset(2).

Knows how to call, never when. Failures are `OSError`s with the errno, as Python's own calls raise them.
"""

import ctypes
import os
from collections.abc import Collection
from typing import Final

MNT_DETACH: Final = 2  # <sys/mount.h>
UMOUNT_NOFOLLOW: Final = 8

# <linux/capability.h>
CAP_DAC_READ_SEARCH: Final = 2
CAP_SETPCAP: Final = 8
CAP_SYS_ADMIN: Final = 21
_CAPABILITY_VERSION_3: Final = 0x20080522

# <linux/prctl.h>
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NAME: Final = 15
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_libc: Final = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, fstype: str, flags: int, data: str) -> None:
    encoded = [os.fsencode(text) for text in (source, target, fstype)]
    _check(_libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(data)), target)


def unmount(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), target)


def forbid_new_privileges() -> None:
    """No set-user-id program, and no file capability, gives this process or its children anything any more."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def name_process(name: str) -> None:
    """What ps(1) shows as the command's name; 15 bytes of it."""
    buffer = ctypes.create_string_buffer(os.fsencode(name))
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer))


def capabilities(which: str = "CapEff") -> int:
    """One of the capability sets of this process, as in /proc/self/status: a bit for each capability."""
    with open("/proc/self/status", "rb") as status:  # noqa: PTH123 - a path of the kernel's
        line = next(line for line in status if line.startswith(which.encode() + b":"))
    return int(line.split()[1], 16)


def has_capability(capability: int) -> bool:
    return bool(capabilities() >> capability & 1)


def retain_capabilities(kept: Collection[int]) -> None:
    """Give up all capabilities but *kept*, as far as they are had: permitted, effective, inheritable and ambient ones, of this thread."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    mask = sum(1 << capability for capability in kept) & capabilities("CapPrm")
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    # twice effective, permitted, inheritable: for capabilities 0 to 31, and the others
    sets = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _check(_libc.capset(header, sets))


def bound_capabilities(kept: Collection[int]) -> None:
    """Let no program that is run from here on have more than *kept*; without effect where that is not ours to say."""
    if not has_capability(CAP_SETPCAP):
        return
    for capability in range(64):  # to the first number that this kernel has no capability for
        if _libc.prctl(_PR_CAPBSET_READ, *_words(capability, 0, 0, 0)) < 0:
            return
        if capability not in kept:
            _prctl(_PR_CAPBSET_DROP, capability)


def _prctl(option: int, *arguments: int) -> None:
    _check(_libc.prctl(option, *_words(*arguments, *[0] * (4 - len(arguments)))))


def _words(*numbers: int) -> tuple[ctypes.c_ulong, ...]:
    """For prctl, which is variadic and reads long words, where ctypes would pass ints."""
    return tuple(ctypes.c_ulong(number) for number in numbers)


def _check(result: int, path: str | None = None) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)

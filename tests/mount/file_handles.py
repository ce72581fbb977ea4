"""File handles as NFS keeps them: name_to_handle_at(2) and open_by_handle_at(2). Needs root."""

import ctypes
import os
from pathlib import Path

HANDLE_MAX = 128  # MAX_HANDLE_SZ
AT_FDCWD = -100
MS_REMOUNT, MS_RDONLY_NOSUID_NODEV = 32, 7
LIBC = ctypes.CDLL(None, use_errno=True)


class Handle(ctypes.Structure):
    """The file_handle of open_by_handle_at(2)."""

    _fields_ = (
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * HANDLE_MAX),
    )


def handle_of(path: Path) -> Handle:
    handle, mount_id = Handle(HANDLE_MAX), ctypes.c_int()
    name = os.fsencode(path)
    if LIBC.name_to_handle_at(
        AT_FDCWD, name, ctypes.byref(handle), ctypes.byref(mount_id), ctypes.c_int(0)
    ):
        raise OSError(ctypes.get_errno(), "name_to_handle_at")
    return handle


def open_handle(mount: Path, handle: Handle, flags: int = os.O_RDONLY) -> int:
    root = os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
    try:
        descriptor: int = LIBC.open_by_handle_at(root, ctypes.byref(handle), flags)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "open_by_handle_at")
        return descriptor
    finally:
        os.close(root)


def read_handle(mount: Path, handle: Handle) -> bytes:
    descriptor = open_handle(mount, handle)
    try:
        return os.read(descriptor, 1000)
    finally:
        os.close(descriptor)


def list_handle(mount: Path, handle: Handle) -> list[str]:
    descriptor = open_handle(mount, handle, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return sorted(os.listdir(descriptor))
    finally:
        os.close(descriptor)


def shrink_dentries(mount: Path) -> None:
    """Have the kernel forget all unused names of the file system at *mount*; FORGETs follow.

    A remount does so first, and touches no other file system.
    """
    flags = ctypes.c_ulong(MS_REMOUNT | MS_RDONLY_NOSUID_NODEV)
    if LIBC.mount(None, os.fsencode(mount), None, flags, None):
        raise OSError(ctypes.get_errno(), "mount")

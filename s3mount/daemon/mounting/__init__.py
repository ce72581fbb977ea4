"""Mounting and unmounting, safely on paths that other users may change.

Read: mounter (the interface); kernel_mounter, fusermount_mounter and passed_descriptor, the three
ways to mount; helper_process, which keeps the privilege; mount_point, options, unmounting,
stale_mounts; mount_table below them.

Invariants: what was checked is what is mounted on, by descriptor and not by path. Only the mount
that this process made is unmounted.
"""

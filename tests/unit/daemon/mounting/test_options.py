"""Mount options as the kernel and fusermount3 are told them."""

import os

import pytest

from s3mount.config import MountConfig
from s3mount.daemon.mounting.options import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MountRequest,
    mount_request,
    session_options,
)


def request_of(*options: str) -> MountRequest:
    return mount_request(MountConfig(mountpoint="/m", fuse_options=options), "s3://b")


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ((), MS_RDONLY | MS_NOSUID | MS_NODEV),
        (("noexec",), MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC),
        (("noexec", "exec"), MS_RDONLY | MS_NOSUID | MS_NODEV),
        (("suid", "dev", "noexec", "rw"), MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC),
    ],
)
def test_the_last_word_on_execution_counts_and_the_rest_stays(
    options: tuple[str, ...], flags: int
) -> None:
    assert request_of(*options).flags == flags


def test_the_kernel_is_told_descriptor_owner_and_options() -> None:
    data = request_of("max_read=4096").kernel_data(fuse_fd=5, uid=1, gid=2)

    assert data == "fd=5,rootmode=40000,user_id=1,group_id=2,default_permissions,max_read=4096"


def test_a_long_prefix_is_cut_where_the_kernel_would_refuse_it() -> None:
    """With fsconfig(2), root could not mount a prefix of some 240 bytes or more: "the kernel refused the mount options"."""
    request = mount_request(MountConfig(mountpoint="/m"), "s3://b/" + "é" * 512)

    source = request.kernel_options(fuse_fd=5, uid=1, gid=2)["source"]

    assert source is not None
    assert os.fsencode(source) == ("s3://b/" + "é" * 124).encode()


def test_fusermount_is_told_names_with_their_commas_escaped() -> None:
    options = request_of("fsname=a,b\\c", "auto_unmount").fusermount_options()

    assert (
        options
        == "ro,nosuid,nodev,default_permissions,auto_unmount,fsname=a\\,b\\\\c,subtype=s3mount"
    )


def test_allow_root_is_allow_other_to_the_kernel_and_kept_by_the_session() -> None:
    config = MountConfig(mountpoint="/m", allow_root=True)

    assert mount_request(config, "s").is_open_to_others
    assert session_options(config) == {"allow_root"}


def test_run_as_never_leaves_a_dead_mount() -> None:
    assert mount_request(MountConfig(mountpoint="/m", run_as="nobody"), "s").is_auto_unmounted

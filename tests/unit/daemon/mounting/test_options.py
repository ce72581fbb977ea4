"""Mount options for the kernel and for fusermount3."""

import os

import pytest

from s3mount.config import MountConfig
from s3mount.daemon.mounting.options import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MountRequest,
    cut_source,
    is_same_source,
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
def test_the_last_of_exec_and_noexec_counts(options: tuple[str, ...], flags: int) -> None:
    assert request_of(*options).flags == flags


def test_the_kernel_gets_descriptor_owner_and_options() -> None:
    data = request_of("max_read=4096").kernel_data(fuse_fd=5, uid=1, gid=2)

    assert data == "fd=5,rootmode=40000,user_id=1,group_id=2,default_permissions,max_read=4096"


def test_a_source_too_long_for_the_kernel_is_cut() -> None:
    """With fsconfig(2), root could not mount a prefix of some 240 bytes or more."""
    request = mount_request(MountConfig(mountpoint="/m"), "s3://b/" + "é" * 512)

    source = request.kernel_options(fuse_fd=5, uid=1, gid=2)["source"]

    assert source is not None
    assert os.fsencode(source) == ("s3://b/" + "é" * 124).encode()


def test_fusermount_gets_names_with_escaped_commas() -> None:
    options = request_of("fsname=a,b\\c", "auto_unmount").fusermount_options()

    assert (
        options
        == "ro,nosuid,nodev,default_permissions,auto_unmount,fsname=a\\,b\\\\c,subtype=s3mount"
    )


def test_allow_root_is_allow_other_for_the_kernel_and_enforced_by_the_session() -> None:
    config = MountConfig(mountpoint="/m", allow_root=True)

    assert mount_request(config, "s").is_open_to_others
    assert session_options(config) == {"allow_root"}


def test_run_as_never_leaves_a_dead_mount() -> None:
    assert mount_request(MountConfig(mountpoint="/m", run_as="nobody"), "s").is_auto_unmounted


CONTEXTS = ("context=a:b:c:s0:c1,c2", "rootcontext=d:e:f:s0")


def test_the_kernel_gets_the_contexts_of_selinux() -> None:
    config = MountConfig(mountpoint="/m", fuse_options=CONTEXTS)

    options = mount_request(config, "b", has_selinux=True).kernel_options(fuse_fd=5, uid=1, gid=2)

    assert (options["context"], options["rootcontext"]) == ("a:b:c:s0:c1,c2", "d:e:f:s0")


def test_without_selinux_contexts_are_left_out() -> None:
    """The kernel would refuse them as unknown; mount(8) leaves them out, too."""
    assert request_of(*CONTEXTS) == request_of()


@pytest.mark.parametrize("source", ["b/p", "b/p/", "s3://b/p", "s3://b/p/"])
@pytest.mark.parametrize("shown", ["b/p", "b/p/", "s3://b/p", "s3://b/p/"])
def test_all_spellings_of_a_source_are_the_same(source: str, shown: str) -> None:
    assert is_same_source(mount_request(MountConfig(mountpoint="/m"), source), shown)


@pytest.mark.parametrize("shown", ["b", "b/p//", "b/P", "s3://b/p/q", "c/p", ""])
def test_another_source_is_another(shown: str) -> None:
    assert not is_same_source(mount_request(MountConfig(mountpoint="/m"), "b/p"), shown)


def test_a_source_that_was_cut_is_never_taken_for_the_same() -> None:
    request = mount_request(MountConfig(mountpoint="/m"), "b/" + "p" * 300)

    assert not is_same_source(request, cut_source(request.source))
